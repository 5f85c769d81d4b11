"""The signer's own limits: exact sums of every 24 hours, for every authority, retries once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import NATIVE, FeeRate, SpendKind
from core.clock import DAY_NS
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.limits import WINDOW_NS, SlidingWindow, Sums
from custody.keys.roster import SpendLimit
from custody.keys.signers import KeyRef
from custody.keys.store import Shelf
from tests.unit.custody.keys.guardroom import CHAIN, HOT, Guardroom
from tests.unit.custody.keys.test_guard_at_once import disk

DEARER = FeeRate(26, 3)
WIDE = SpendLimit(CHAIN, NATIVE, 10**12, 10**12, 10**6, 10**9)


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    before = len(room.entries())
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert len(room.entries()) == before
    return refused.value.reason


def limited(room: Guardroom, **changes: Any) -> Guardroom:
    return room.with_roster(limits=(replace(WIDE, **changes),))


def paying(room: Guardroom, name: str, amount: int, *, nonce: int) -> SignRequest:
    intent = room.withdrawal(name, amount=amount)
    spend = room.spend_of(intent, f"sp_{name}")
    return SignRequest(spend, room.approved(intent), room.unsigned(spend, nonce=nonce), HOT)


def test_one_signature_is_limited_whatever_officers_say(room: Guardroom) -> None:
    room = limited(room, amount_max=999)
    assert refusal(room, paying(room, "wd_1", 1_000, nonce=0)) is Reason.SIGNER_LIMIT
    room.sign(paying(room, "wd_1", 999, nonce=0))


def test_one_fee_is_limited(room: Guardroom) -> None:
    """462 native units at the rate of the tests."""
    request = room.request()
    assert refusal(limited(room, fee_max=461), request) is Reason.SIGNER_LIMIT
    limited(room, fee_max=462).sign(request)


def test_the_window_counts_approvals_and_mandates_together(room: Guardroom) -> None:
    room = limited(room, window_max=3_000)
    room.sign(paying(room, "wd_1", 1_000, nonce=0))
    room.clock.advance(DAY_NS // 2)
    room.sign(room.sweep("sw_1", 1_500, index=1))
    assert refusal(room, paying(room, "wd_2", 501, nonce=1)) is Reason.SIGNER_LIMIT
    assert refusal(room, room.sweep("sw_2", 501, index=2)) is Reason.SIGNER_LIMIT
    room.clock.advance(DAY_NS // 2 - 1)
    assert refusal(room, paying(room, "wd_2", 501, nonce=1)) is Reason.SIGNER_LIMIT
    room.clock.advance(1)
    room.sign(paying(room, "wd_2", 1_500, nonce=1))
    assert refusal(room, room.sweep("sw_2", 1, index=2)) is Reason.SIGNER_LIMIT


def test_a_replacement_counts_once_and_with_its_higher_fee(room: Guardroom) -> None:
    room = limited(room, window_max=1_000, fee_window_max=600)
    room.sign(room.request())  # 1 000 and a fee of 462
    room.sign(room.request(rate=DEARER))  # 546
    assert refusal(room, room.request(rate=FeeRate(33, 4))) is Reason.SIGNER_LIMIT  # 693
    room.sign(room.request())  # the same again is no signature


def test_limits_are_seen_across_one_batch(room: Guardroom) -> None:
    room = limited(room, window_max=2_500)
    wanted = [paying(room, f"wd_{n}", 1_000, nonce=n) for n in range(4)]
    answers = sign_batch(room.guard, [wanted[0], wanted[1], wanted[0], wanted[2], wanted[3]])
    assert [type(answer) for answer in answers] == [bytes, bytes, bytes, Refused, Refused]
    assert answers[0] == answers[2]


def test_limits_are_counted_again_from_the_disk(room: Guardroom) -> None:
    storage = disk()
    room = limited(room.with_guard(shelf=Shelf(storage)), window_max=1_999)
    room.sign(paying(room, "wd_1", 1_000, nonce=0))
    storage.crash()
    again = room.with_guard(shelf=Shelf(storage))
    assert refusal(again, paying(room, "wd_2", 1_000, nonce=1)) is Reason.SIGNER_LIMIT
    again.sign(paying(room, "wd_2", 999, nonce=1))


def test_an_asset_without_a_limit_is_refused_where_others_have_one(room: Guardroom) -> None:
    token = room.sweep("sw_1", 5, index=1, asset_key=room.token)
    assert refusal(limited(room), token) is Reason.SIGNER_LIMIT
    elsewhere = (replace(WIDE, chain=ChainId("other")),)
    room.with_roster(limits=elsewhere).sign(token)  # a chain without limits is not limited


def test_a_cancellation_is_limited_by_its_fee(room: Guardroom) -> None:
    request = room.request()
    room.sign(request)
    cancel = room.cancellation(request.intent, rate=DEARER)
    assert cancel.unsigned.fee_max == 546
    assert refusal(limited(room, fee_max=545), cancel) is Reason.SIGNER_LIMIT
    assert refusal(limited(room, fee_window_max=1_007), cancel) is Reason.SIGNER_LIMIT
    limited(room, fee_window_max=1_008).sign(cancel)


def test_a_roster_older_than_one_that_was_in_use_signs_nothing(room: Guardroom) -> None:
    newer = room.with_roster(serial=3, previous=bytes(32))
    newer.sign(room.request("wd_1"))
    assert refusal(room, room.request("wd_2", nonce=1)) is Reason.ROSTER_MISMATCH
    storage = room.guard.shelf
    storage.close()  # also after a restart
    assert refusal(room, room.request("wd_2", nonce=1)) is Reason.ROSTER_MISMATCH
    newer.sign(room.request("wd_2", nonce=1))


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature as the naive twin remembers it."""

    time_ns: int
    group: str
    amount: int
    fee: int


def naive(rows: list[Signed], now_ns: int, group: str) -> tuple[Sums, Sums]:
    """Return (others, own) by looking at everything again."""
    inside = [row for row in rows if now_ns - WINDOW_NS < row.time_ns]
    most: dict[str, Sums] = {}
    for row in inside:
        before = most.get(row.group, Sums(0, 0))
        most[row.group] = Sums(max(before.amount, row.amount), max(before.fees, row.fee))
    own = most.pop(group, Sums(0, 0))
    return Sums(sum(s.amount for s in most.values()), sum(s.fees for s in most.values())), own


STEP = st.sampled_from([0, 1, 1_000, DAY_NS // 3, DAY_NS // 2, DAY_NS - 1, DAY_NS, DAY_NS + 1])
GROUP = st.sampled_from(["a", "b", "c", "d"])
ROWS = st.lists(st.tuples(STEP, GROUP, st.integers(0, 50), st.integers(0, 9)), max_size=40)


@given(ROWS, st.lists(st.tuples(st.integers(0, 2 * DAY_NS), GROUP), min_size=1, max_size=6))
def test_the_window_is_the_naive_sum_at_every_moment(
    added: list[tuple[int, str, int, int]], asked: list[tuple[int, str]]
) -> None:
    """Asked between additions, also for times before the last question."""
    window, rows, now = SlidingWindow(), list[Signed](), 10**18
    for step, group, amount, fee in added:
        now += step
        window.add(now, group, amount, fee)
        rows.append(Signed(now, group, amount, fee))
        for later, who in asked:
            others, own = naive(rows, now + later, who)
            assert (window.others(now + later, who), window.of(now + later, who)) == (others, own)


@given(ROWS, st.lists(st.tuples(st.integers(0, 2 * DAY_NS), GROUP), min_size=1, max_size=3))
def test_what_was_added_last_can_be_taken_back(
    added: list[tuple[int, str, int, int]], asked: list[tuple[int, str]]
) -> None:
    window, rows, now = SlidingWindow(), list[Signed](), 10**18
    for number, (step, group, amount, fee) in enumerate(added):
        now += step
        window.add(now, group, amount, fee)
        for later, who in asked:
            window.of(now + later, who)
        if number % 3:
            rows.append(Signed(now, group, amount, fee))
        else:
            window.remove_last()
        for later, who in asked:
            others, own = naive(rows, now + later, who)
            assert (window.others(now + later, who), window.of(now + later, who)) == (others, own)


def test_old_rows_are_forgotten_for_good_and_sums_stay_right() -> None:
    window = SlidingWindow()
    for number in range(5_000):
        window.add(number * DAY_NS // 100, f"spend {number}", 1, 2)
    now = 4_999 * DAY_NS // 100
    assert window.others(now, "") == Sums(100, 200)
    assert window.others(now + DAY_NS, "") == Sums(0, 0)
    assert window.others(now, "spend 4999") == Sums(99, 198)
    assert len(window._rows) < 2_000


def test_each_kind_of_spend_counts_under_the_same_limit(room: Guardroom) -> None:
    room = limited(room, window_max=1_500)
    sweep = room.sweep("sw_1", 1_000, index=1)
    room.sign(sweep)
    top_up = replace(
        sweep.intent,
        spend_id="tu_1",
        kind=SpendKind.TOP_UP,
        source=room.address("gas"),
        destination=room.address("deposits", 3),
        amount=501,
    )
    standing = room.standing(SpendKind.TOP_UP, KeyRef("deposits", 3))
    request = SignRequest(top_up, standing, room.unsigned(top_up), KeyRef("gas", 0))
    assert refusal(room, request) is Reason.SIGNER_LIMIT
