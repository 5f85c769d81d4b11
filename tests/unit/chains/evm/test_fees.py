"""Fees within bounds, and what a node's words about sent bytes mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import BroadcastOutcome, BroadcastResult, FeeRate
from chains.evm.broadcast import WORDS, plan_combined, plan_outcome
from chains.evm.fees import base_fee_of, plan_bump, plan_rate, plan_units
from chains.evm.params import GWEI, EvmParams
from chains.rpc import RpcError
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId

PARAMS = EvmParams(
    chain=ChainId("local"),
    chain_number=31_337,
    genesis_hash="0x" + "0" * 64,
    fee_floor=GWEI,
    fee_cap=300 * GWEI,
    tip=2 * GWEI,
    gas_cap=500_000,
    reorg_limit=128,
)
ACCEPTED, KNOWN, REJECTED, UNKNOWN = BroadcastOutcome
TX_ID = "0x" + "ab" * 32


@given(st.lists(st.none() | st.integers(0, 2**256 - 1), max_size=5))
def test_N06_the_rate_never_leaves_floor_and_cap(fees: list[int | None]) -> None:
    rate = plan_rate(fees, PARAMS)
    assert PARAMS.fee_floor <= rate.max_rate <= PARAMS.fee_cap
    assert 0 <= rate.tip_rate <= rate.max_rate


def test_one_lying_node_of_three_does_not_set_the_rate() -> None:
    honest = plan_rate([30 * GWEI, 31 * GWEI, 30 * GWEI], PARAMS)
    for lie in (0, None, 10**6 * GWEI):
        assert plan_rate([30 * GWEI, lie, 31 * GWEI], PARAMS).max_rate <= honest.max_rate + 2 * GWEI


@pytest.mark.parametrize(
    "history",
    [None, [], {}, "0x1", {"baseFeePerGas": None}, {"baseFeePerGas": [None]}, RpcError(1, "x")],
)
def test_N06_nonsense_is_no_base_fee(history: object) -> None:
    assert base_fee_of(history) is None


RATES = st.builds(
    lambda highest, share: FeeRate(highest, highest * share // 100),
    st.integers(1, 200 * GWEI),
    st.integers(0, 100),
)


@given(RATES, RATES)
def test_a_bump_rises_by_an_eighth_in_both_rates(rate: FeeRate, current: FeeRate) -> None:
    bumped = plan_bump(rate, current, PARAMS)
    assert bumped.max_rate * 8 >= current.max_rate * 9
    assert bumped.max_rate > current.max_rate
    assert bumped.tip_rate * 8 >= current.tip_rate * 9
    assert bumped.tip_rate > current.tip_rate
    assert bumped.tip_rate <= bumped.max_rate
    assert bumped.max_rate >= rate.max_rate


def test_a_bump_above_the_cap_is_refused() -> None:
    current = FeeRate(290 * GWEI, GWEI)
    with pytest.raises(Refused) as refusal:
        plan_bump(current, current, PARAMS)
    assert refusal.value.reason is Reason.FEE_ABOVE_CAP


@pytest.mark.parametrize(
    ("estimate", "units"), [(21_000, 21_000), (21_001, 26_252), (40_000, 50_000)]
)
def test_gas_has_a_margin_except_for_a_plain_transfer(estimate: int, units: int) -> None:
    assert plan_units(estimate, PARAMS) == units


@pytest.mark.parametrize("estimate", [0, 20_999, 400_001, 30_000_000, 2**64])
def test_an_absurd_estimate_is_unavailable(estimate: int) -> None:
    with pytest.raises(Unavailable):
        plan_units(estimate, PARAMS)


@pytest.mark.parametrize(("words", "outcome"), WORDS)
def test_W11_every_known_phrase_has_its_outcome(words: str, outcome: BroadcastOutcome) -> None:
    message = f"Transaction refused: {words.upper()}, sorry"
    assert plan_outcome(RpcError(-32_000, message), TX_ID).outcome is outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (TX_ID, ACCEPTED),
        (TX_ID.upper().replace("X", "x"), ACCEPTED),
        ("0x" + "cd" * 32, UNKNOWN),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ({}, UNKNOWN),
        (True, UNKNOWN),
        (RpcError(-32_000, ""), UNKNOWN),
        (RpcError(-32_000, "words nobody has heard"), UNKNOWN),
        # Words that overlap: the careful reading wins.
        (RpcError(-32_000, "nonce too low: rlp: whatever"), UNKNOWN),
        (RpcError(-32_000, "INTERNAL_ERROR: insufficient funds"), UNKNOWN),
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


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_number": 0},
        {"genesis_hash": "0x12"},
        {"genesis_hash": "0x" + "A" * 64},
        {"fee_floor": 0},
        {"fee_floor": 301 * GWEI},
        {"tip": 301 * GWEI},
        {"tip": -1},
        {"gas_cap": 20_999},
    ],
)
def test_senseless_parameters_stop_the_start(changes: dict[str, object]) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"chain_number|genesis_hash|fee_|tip|gas_cap"):
        replace(PARAMS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "main"), [(1, True), (137, True), (987_654, True)])
def test_only_named_test_networks_are_no_main_network(number: int, main: bool) -> None:
    from dataclasses import replace

    assert replace(PARAMS, chain_number=number).is_main_network is main
    assert not PARAMS.is_main_network
    assert not replace(PARAMS, chain_number=11_155_111).is_main_network
