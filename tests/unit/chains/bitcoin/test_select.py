"""Choosing coins: whatever can be paid is paid, dust stays, exact solutions are the best ones."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from chains.base import Coin
from chains.bitcoin import select as selecting
from chains.bitcoin.build import change_least
from chains.bitcoin.params import COIN
from chains.bitcoin.select import (
    DUST_COIN_MAX,
    INPUTS_MAX,
    USUAL_RATE,
    Candidate,
    Need,
    branch_and_bound,
    select,
    worth_spending,
)
from chains.bitcoin.sizes import (
    KEY_HASH_INPUT,
    TAPROOT_INPUT,
    dust_limit,
    frame_weight,
    input_weight,
    output_weight,
    virtual_size,
)
from core.errors import Refused

SCRIPT = b"\x00\x14" + bytes(20)


def candidates_of(amounts: list[int], *, weight: int = KEY_HASH_INPUT) -> list[Candidate]:
    """Return coins of these amounts."""
    return [Candidate(Coin(f"{n:064x}:0", "me", held), weight) for n, held in enumerate(amounts)]


def need_of(amount: int, rate: int) -> Need:
    """Return what one payment and its change need."""
    return Need(
        amount=amount,
        weight=frame_weight(1, 2) + output_weight(SCRIPT),
        change_weight=output_weight(SCRIPT),
        change_least=change_least(SCRIPT),
        spend_weight=KEY_HASH_INPUT,
        rate=rate,
    )


def every_choice(useful: list[Candidate]) -> list[tuple[Candidate, ...]]:
    """Return all sets of some coins: the naive twin's way."""
    sizes = range(1, len(useful) + 1)
    return list(chain.from_iterable(combinations(useful, size) for size in sizes))


def reached(chosen: tuple[Candidate, ...], need: Need) -> int:
    """Return what some coins add beyond the target; negative when they do not reach it."""
    return sum(one.effective(need.rate) for one in chosen) - need.target


small_sets = st.lists(
    st.one_of(st.integers(300, 3_000), st.integers(3_000, 200_000)), min_size=1, max_size=9
)


@given(amounts=small_sets, wanted=st.integers(300, 400_000), rate=st.integers(1, 30))
def test_whatever_can_be_paid_is_paid_and_nothing_else(
    amounts: list[int], wanted: int, rate: int
) -> None:
    need, coins = need_of(wanted, rate), candidates_of(amounts)
    useful = worth_spending(coins, rate)
    can = any(reached(one, need) >= 0 for one in every_choice(useful))
    try:
        chosen = select(coins, need)
    except Refused as refused:
        event(refused.reason)
        assert not can
        return
    assert can
    assert reached(chosen, need) >= 0
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(useful)
    assert all(one.coin.amount > DUST_COIN_MAX for one in chosen)
    # The fee at the rate fits, to the last rounded byte.
    size = virtual_size([SCRIPT] * len(chosen), [SCRIPT])
    assert sum(one.coin.amount for one in chosen) >= wanted + rate * size
    event("changeless" if reached(chosen, need) < need.window else "change")


@given(amounts=small_sets, wanted=st.integers(300, 400_000), rate=st.integers(1, 30))
def test_branch_and_bound_finds_the_least_waste_of_all_exact_choices(
    amounts: list[int], wanted: int, rate: int
) -> None:
    need = need_of(wanted, rate)
    useful = worth_spending(candidates_of(amounts), rate)
    exact = [one for one in every_choice(useful) if 0 <= reached(one, need) < need.window]
    found = branch_and_bound(useful, need)
    assert (found is None) == (not exact)
    if found is not None:
        assert need.waste(found) == min(map(need.waste, exact))
        assert 0 <= reached(found, need) < need.window
        event("found")


@given(amounts=small_sets, wanted=st.integers(300, 400_000), rate=st.integers(1, 30))
def test_the_choice_is_the_same_in_every_order(amounts: list[int], wanted: int, rate: int) -> None:
    need, coins = need_of(wanted, rate), candidates_of(amounts)
    try:
        chosen = select(coins, need)
    except Refused:
        return
    assert select(coins[::-1], need) == chosen


def test_an_exact_coin_is_taken_alone_and_needs_no_change() -> None:
    need = need_of(100_000, 10)
    exact = 100_000 + 10 * virtual_size([SCRIPT], [SCRIPT]) + 3
    chosen = select(candidates_of([5 * COIN, exact, 90_000, 70_000]), need)
    assert [one.coin.amount for one in chosen] == [exact]


def test_at_a_low_rate_coins_are_gathered_and_at_a_high_one_spared() -> None:
    amounts = [40_000] * 10 + [250_000]
    low = select(candidates_of(amounts), need_of(200_000, USUAL_RATE - 4))
    high = select(candidates_of(amounts), need_of(200_000, 50))
    assert len(high) == 1
    assert len(low) > 1


def test_dust_is_never_spent_beside_others() -> None:
    dust = [DUST_COIN_MAX] * 200
    chosen = select(candidates_of([*dust, 100_000]), need_of(50_000, 1))
    assert [one.coin.amount for one in chosen] == [100_000]
    with pytest.raises(Refused):
        select(candidates_of([*dust, 50_000]), need_of(50_000, 1))
    assert worth_spending(candidates_of([DUST_COIN_MAX, DUST_COIN_MAX + 1]), 1)[0].coin.amount == (
        DUST_COIN_MAX + 1
    )


def test_a_coin_that_costs_more_than_it_holds_stays() -> None:
    (kept,) = worth_spending(candidates_of([68 * 20, 68 * 20 + 1]), 20)
    assert kept.coin.amount == 68 * 20 + 1


def test_tries_and_inputs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    equal = candidates_of([1_000 + n * 7 for n in range(2_000)])
    need = need_of(sum(one.coin.amount for one in equal[:400]), 1)
    assert len(select(equal, need)) <= INPUTS_MAX
    much = need_of(sum(one.coin.amount for one in equal), 1)
    with pytest.raises(Refused):
        select(equal, much)
    monkeypatch.setattr(selecting, "TRIES_MAX", 1)
    assert select(equal, need)


def test_weights_are_those_of_the_standards() -> None:
    assert (KEY_HASH_INPUT, TAPROOT_INPUT) == (4 * 68, 230)
    assert virtual_size([SCRIPT], [SCRIPT, SCRIPT]) == 141
    taproot = b"\x51\x20" + bytes(32)
    assert virtual_size([taproot], [taproot, taproot]) == -(-(42 + 230 + 2 * 172) // 4)
    assert input_weight(taproot) == TAPROOT_INPUT
    with pytest.raises(Refused):
        input_weight(b"\x00\x20" + bytes(32))
    assert virtual_size([SCRIPT] * 253, [SCRIPT]) - virtual_size([SCRIPT] * 252, [SCRIPT]) == 70
    assert (dust_limit(SCRIPT), dust_limit(taproot)) == (294, 330)
