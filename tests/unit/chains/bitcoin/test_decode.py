"""The decoder: what is seen from the bytes alone, each tampered payload beside its honest twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import NATIVE, Decoded, Effect
from chains.bitcoin import decode as decoding
from chains.bitcoin.address import script_of
from chains.bitcoin.params import COIN
from core.errors import Reason, Refused, Unavailable
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    HOT,
    LOCAL,
    OFFLINE,
    PARAMS,
    STRANGER,
    Draft,
    Wallet,
    address_of,
    check_by_library,
    coin_of,
    draft_of,
    funding,
    sign_all,
)
from tests.support.coin_node import CoinNode, chain_on
from tests.support.tampered_coins import CASES_OF_BYTES, Case, siphon, siphon_half

NODE = chain_on(CoinNode(height=200))


def decoded(draft: Draft) -> Decoded:
    """Return what a draft's payload does."""
    return NODE.decode(draft.payload(), sender=address_of(HOT))


def refusal(draft: Draft) -> Reason:
    """Return why a draft's payload is refused."""
    with pytest.raises(Refused) as refused:
        decoded(draft)
    return refused.value.reason


@pytest.mark.parametrize("case", CASES_OF_BYTES, ids=lambda case: case.name)
def test_a_tampered_payload_is_refused_and_its_twin_signs(case: Case) -> None:
    twin = case.twin()
    assert refusal(case.tamper(twin)) is case.reason
    unsigned = twin.unsigned()
    signed = NODE.assemble(unsigned, sign_all(unsigned, *[HOT] * len(twin.inputs)))
    check_by_library(unsigned.payload, signed.raw)


def test_every_case_of_the_corpus_has_its_own_name() -> None:
    names = {case.name for case in CASES_OF_BYTES}
    assert len(names) == len(CASES_OF_BYTES) >= 60


def test_a_payload_says_every_input_and_output() -> None:
    draft = Wallet().draft()
    said = decoded(draft)
    assert said.network == PARAMS.network
    assert said.effects == (
        Effect(NATIVE, STRANGER, 4 * COIN),
        Effect(NATIVE, address_of(CHANGE), COIN - FEE),
    )
    assert said.fee_max == FEE
    assert said.nonce == 0
    assert [one.amount for one in said.inputs] == [3 * COIN, 2 * COIN]
    assert {one.owner for one in said.inputs} == {address_of(HOT)}
    assert said.claims("anybody") == tuple(f"{one.tx_id}:{one.index}" for one in draft.inputs)
    assert said.digest == draft.unsigned().digest


def test_a_claimed_output_that_is_true_changes_nothing() -> None:
    draft = Wallet().draft()
    script = script_of(address_of(HOT), LOCAL)
    told = (3 * COIN).to_bytes(8, "little") + bytes((len(script),)) + script
    assert decoded(draft.with_input(0, output=told, scope=1)) == decoded(draft)


def test_the_two_halves_of_the_siphon_would_combine_and_neither_is_signed() -> None:
    """S08: 15 and 20 in; each half says of one coin so little that the sum is the same."""
    lies = [siphon_half(1, 500_000_001, with_proof=False), siphon_half(0, 1, with_proof=False)]
    halves = [lie(siphon()) for lie in lies]
    assert halves[0].transaction() == halves[1].transaction()
    assert [refusal(half) for half in halves] == [Reason.UNPROVEN_AMOUNT] * 2


def test_the_honest_transaction_of_both_coins_shows_the_whole_fee() -> None:
    coins = [coin_of(funding(address_of(HOT), n * COIN, salt=n)) for n in (15, 20)]
    assert decoded(draft_of(coins, (STRANGER, 34 * COIN + 99_990_000))).fee_max == FEE
    # What the siphon wants to be signed: 15 of 35 as fee.
    assert refusal(draft_of(coins, (STRANGER, 20 * COIN))) is Reason.FEE_ABOVE_CAP


@pytest.mark.parametrize(("height", "lock", "is_good"), [(200, 200, True), (200, 201, False)])
def test_a_lock_is_a_height_that_was_reached(height: int, lock: int, *, is_good: bool) -> None:
    chain = chain_on(CoinNode(height=height))
    payload = Wallet().draft().changed(locktime=lock).payload()
    if is_good:
        assert chain.decode(payload, sender=address_of(HOT)).fee_max == FEE
        return
    with pytest.raises(Refused) as refused:
        chain.decode(payload, sender=address_of(HOT))
    assert refused.value.reason is Reason.UNDECODABLE


def test_only_a_lock_needs_a_node() -> None:
    draft = Wallet().draft()
    assert OFFLINE.decode(draft.payload(), sender=address_of(HOT)) == decoded(draft)
    with pytest.raises(Unavailable):
        OFFLINE.decode(draft.changed(locktime=1).payload(), sender=address_of(HOT))


def test_a_lock_to_a_time_needs_no_node_to_be_refused() -> None:
    draft = Wallet().draft().changed(locktime=decoding.LOCK_IS_TIME)
    with pytest.raises(Refused, match="time"):
        OFFLINE.decode(draft.payload(), sender=address_of(HOT))


def test_the_sender_is_an_address_of_the_network() -> None:
    with pytest.raises(Refused) as refused:
        OFFLINE.decode(
            Wallet().draft().payload(), sender="bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
        )
    assert refused.value.reason is Reason.WRONG_NETWORK


def test_what_is_heavier_than_nodes_relay_is_refused() -> None:
    funded = funding(address_of(HOT), *[COIN] * 8, salt=9)
    draft = draft_of([coin_of(funded)], *[(STRANGER, 1_000)] * 3_300)
    assert refusal(draft) is Reason.TOO_LARGE


@given(paid=st.integers(1_000, COIN), kept=st.integers(1_000, COIN))
def test_the_fee_is_what_the_outputs_leave(paid: int, kept: int) -> None:
    coin = coin_of(funding(address_of(HOT), 2 * COIN + 20_000))
    draft = draft_of([coin], (STRANGER, 2 * COIN - kept), (address_of(CHANGE), kept))
    assert decoded(draft).fee_max == 20_000
    rate = decoding.rate_of(draft.payload())
    assert rate.max_rate == rate.tip_rate
    assert 0 <= rate.max_rate * decoding.read_spend(draft.payload()).size - 20_000 < 145


def test_the_cap_of_the_rate_is_exact() -> None:
    coin = coin_of(funding(address_of(HOT), COIN))
    size = decoding.read_spend(draft_of([coin], (STRANGER, COIN)).payload()).size
    most = PARAMS.fee_cap * size
    assert decoded(draft_of([coin], (STRANGER, COIN - most))).fee_max == most
    assert refusal(draft_of([coin], (STRANGER, COIN - most - 1))) is Reason.FEE_ABOVE_CAP


@pytest.mark.parametrize(
    ("script", "limit"),
    [
        (b"\x00\x14" + bytes(20), 294),
        (b"\x00\x20" + bytes(32), 330),
        (b"\x51\x20" + bytes(32), 330),
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 546),
        (b"\xa9\x14" + bytes(20) + b"\x87", 540),
    ],
)
def test_dust_is_what_nodes_call_dust(script: bytes, limit: int) -> None:
    assert decoding.dust_limit(script) == limit
