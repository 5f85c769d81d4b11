"""What compute may cost, and what nodes' answers to sent bytes mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import BroadcastOutcome, BroadcastResult, FeeRate, SpendKind
from chains.rpc import RpcError
from chains.solana.address import encode58
from chains.solana.broadcast import WORDS, plan_combined, plan_outcome
from chains.solana.fees import plan_bump, plan_rate, plan_units, price_of
from core.errors import Reason, Refused, Unavailable
from tests.support.solana import MINT_TEXT, PARAMS, intent_of

ACCEPTED, KNOWN = BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN
REJECTED, UNKNOWN = BroadcastOutcome.REJECTED, BroadcastOutcome.UNKNOWN
TX_ID = encode58(bytes(range(1, 65)))


def _told(*prices: object) -> list[dict[str, object]]:
    return [{"slot": slot, "prioritizationFee": price} for slot, price in enumerate(prices)]


@pytest.mark.parametrize(
    ("answer", "price"),
    [
        ([], 0),
        (_told(5), 5),
        (_told(1, 2, 3, 4), 4),
        (_told(*[0] * 80, *[9_000] * 20), 0),
        (_told(*[0] * 70, *[9_000] * 30), 9_000),
        (_told(-1), None),
        (_told(1.5), None),
        (_told(True), None),
        (_told("7"), None),
        (_told(2**64), None),
        (_told(*range(151)), None),
        ([{}], None),
        ({}, None),
        (None, None),
        (RpcError(-32_005, "Node is unhealthy"), None),
    ],
)
def test_the_price_is_what_three_quarters_of_the_slots_took_at_most(
    answer: object, price: int | None
) -> None:
    assert price_of(answer) == price


@pytest.mark.parametrize(
    ("prices", "rate"),
    [
        ([], 1),
        ([None], 1),
        ([0], 1),
        ([1], 1),
        ([1_001], 2),
        ([7_000], 7),
        ([7_000, 9_000, 2**63], 9),
        ([2**64 - 1], 1_000),
        ([None, 5_000], 5),
    ],
)
def test_N06_the_rate_stays_within_floor_and_cap(prices: list[int | None], rate: int) -> None:
    assert plan_rate(prices, PARAMS) == FeeRate(rate, rate)


@given(st.integers(0, 800), st.integers(0, 800))
def test_a_replacement_is_an_eighth_dearer_and_the_guard_takes_it(rate: int, current: int) -> None:
    bumped = plan_bump(FeeRate(rate, rate), FeeRate(current, current), PARAMS).max_rate

    assert bumped >= rate
    assert bumped * 8 >= current * 9
    assert bumped >= current + max(1, current // 16)


def test_a_replacement_above_the_cap_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        plan_bump(FeeRate(1, 1), FeeRate(1_000, 1_000), PARAMS)
    assert refused.value.reason is Reason.FEE_ABOVE_CAP


@pytest.mark.parametrize(
    ("asset", "used", "units"),
    [
        ("native", 0, 2),
        ("native", 600, 2),
        ("native", 10_000, 14),
        (MINT_TEXT, 555, 92),
        (MINT_TEXT, 30_000, 92),
        (MINT_TEXT, 200_000, 251),
    ],
)
def test_units_are_those_of_the_worst_case_or_a_quarter_above_what_was_used(
    asset: str, used: int, units: int
) -> None:
    assert plan_units(intent_of(asset_key=asset), used, PARAMS) == units


@pytest.mark.parametrize("used", [1_400_000, 2**64 - 1])
def test_an_absurd_use_of_compute_is_unavailable(used: int) -> None:
    with pytest.raises(Unavailable, match="units_out_of_range"):
        plan_units(intent_of(), used, PARAMS)


def test_a_cancellation_needs_no_more_than_a_plain_payment() -> None:
    assert plan_units(intent_of(kind=SpendKind.CANCELLATION), 0, PARAMS) == 2


@pytest.mark.parametrize(("words", "outcome"), WORDS)
def test_W11_every_known_phrase_has_its_outcome(words: str, outcome: BroadcastOutcome) -> None:
    message = f"Transaction refused: {words.upper()}, sorry"
    assert plan_outcome(RpcError(-32_002, message), TX_ID).outcome is outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (TX_ID, ACCEPTED),
        (TX_ID.lower(), UNKNOWN),
        (encode58(bytes(64)), UNKNOWN),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ({}, UNKNOWN),
        (True, UNKNOWN),
        (RpcError(-32_002, ""), UNKNOWN),
        (RpcError(-32_003, "words nobody has heard"), UNKNOWN),
        # Words that overlap: the careful reading wins.
        (RpcError(-32_002, "Blockhash not found: failed to sanitize"), UNKNOWN),
        (RpcError(-32_002, "insufficient funds; signature failure"), UNKNOWN),
    ],
)
def test_W11_any_other_answer_is_unknown(answer: object, outcome: BroadcastOutcome) -> None:
    assert plan_outcome(answer, TX_ID).outcome is outcome


@given(st.lists(st.sampled_from(list(BroadcastOutcome)), max_size=4))
def test_W11_rejected_needs_every_node(outcomes: list[BroadcastOutcome]) -> None:
    combined = plan_combined([BroadcastResult(outcome) for outcome in outcomes]).outcome
    assert (combined is REJECTED) == (bool(outcomes) and set(outcomes) == {REJECTED})
    if ACCEPTED in outcomes:
        assert combined is ACCEPTED
    elif KNOWN in outcomes:
        assert combined is KNOWN
