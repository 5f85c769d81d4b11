"""Facts of sending transactions that hold on every chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import (
    NATIVE,
    BroadcastOutcome,
    SpendKind,
)
from core.errors import Reason
from tests.conformance.harness import (
    BLOCKS_TO_FINAL,
    ChainHarness,
    doubled,
    payments_at,
    refusal,
    wallet,
)

# ---- sending --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_token", [False, True])
def test_a_spend_lands_as_built_and_its_fee_is_what_the_sender_lost(
    is_token: bool, harness: ChainHarness
) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    asset = harness.token if is_token else NATIVE
    harness.fund(alice.address, 5_000, harness.token)
    before = chain.balance_of(alice.address, NATIVE, chain.head())
    signed = alice.signed(bob, 4_000, asset)
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    pending = chain.tx_status(signed.tx_id)
    assert (pending.known, pending.block) == (True, None)
    harness.mine()
    status = chain.tx_status(signed.tx_id)
    assert (status.block, status.succeeded) == (chain.head(), True)
    assert status.effect_amount == 4_000
    after = chain.balance_of(alice.address, NATIVE, chain.head())
    assert before - after == status.fee + (0 if is_token else 4_000)
    assert 0 < status.fee <= chain.fee_rate().max_rate * harness.units
    (payment,) = payments_at(chain, chain.head().height, bob)
    assert (payment.tx_id, payment.amount, payment.from_address) == (
        signed.tx_id,
        4_000,
        alice.address,
    )


def test_money_sent_to_oneself_is_no_payment(harness: ChainHarness) -> None:
    alice, chain = wallet(harness), harness.chain
    harness.fund(alice.address, 50, harness.token)
    for nonce, asset in enumerate((NATIVE, harness.token)):
        chain.broadcast(alice.signed(alice.address, 5, asset, nonce=nonce).raw)
    harness.mine()
    assert chain.used_nonces(alice.address, chain.head()) == 2
    assert payments_at(chain, chain.head().height, alice.address) == []
    assert chain.balance_of(alice.address, harness.token, chain.head()) == 50


def test_our_failed_spend_pays_nobody_and_costs_a_fee(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    before = chain.balance_of(alice.address, NATIVE, chain.head())
    signed = alice.signed(bob, 1, harness.token)  # owns none of it
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine()
    status = chain.tx_status(signed.tx_id)
    assert (status.block, status.succeeded, status.effect_amount) == (chain.head(), False, 0)
    assert status.fee == before - chain.balance_of(alice.address, NATIVE, chain.head()) > 0
    assert payments_at(chain, chain.head().height, bob) == []
    assert chain.used_nonces(alice.address, chain.head()) == 1


def test_the_same_bytes_again_are_already_known(harness: ChainHarness) -> None:
    alice, chain = wallet(harness), harness.chain
    signed = alice.signed(harness.outsider("bob"), 5)
    outcomes = [chain.broadcast(signed.raw).outcome for _ in range(3)]
    assert outcomes == [
        BroadcastOutcome.ACCEPTED,
        BroadcastOutcome.ALREADY_KNOWN,
        BroadcastOutcome.ALREADY_KNOWN,
    ]
    harness.mine()
    assert chain.broadcast(signed.raw).outcome is not BroadcastOutcome.ACCEPTED
    harness.mine()
    assert chain.balance_of(harness.outsider("bob"), NATIVE, chain.head()) == 5


def test_bytes_no_node_can_take_are_never_accepted(harness: ChainHarness) -> None:
    alice, poor, bob = wallet(harness), wallet(harness, "poor", coins=0), harness.outsider("bob")
    raw = alice.signed(bob, 5).raw
    unpaid = poor.signed(bob, 5).raw
    too_much = alice.signed(bob, harness.coin).raw
    for bad in (b"", b"\0", raw[:-1], bytes(len(raw)), unpaid, too_much):
        outcome = harness.chain.broadcast(bad).outcome
        assert outcome in {BroadcastOutcome.REJECTED, BroadcastOutcome.UNKNOWN}
    harness.mine()
    assert harness.chain.balance_of(bob, NATIVE, harness.chain.head()) == 0
    assert harness.chain.used_nonces(alice.address, harness.chain.head()) == 0


def test_a_refusal_that_another_state_would_lift_is_unknown(harness: ChainHarness) -> None:
    poor, chain, bob = wallet(harness, "poor", coins=0), harness.chain, harness.outsider("bob")
    unpaid = poor.signed(bob, 5)
    assert chain.broadcast(unpaid.raw).outcome is BroadcastOutcome.UNKNOWN
    harness.fund(poor.address, harness.coin)
    assert chain.broadcast(unpaid.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine()
    rival = poor.signed(bob, 6)
    assert chain.broadcast(rival.raw).outcome is BroadcastOutcome.UNKNOWN
    harness.reorg(1)
    assert chain.broadcast(rival.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 6


def test_an_underpriced_replacement_is_not_accepted(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    rate = doubled(chain.fee_rate())
    first = alice.signed(bob, 5, rate=rate)
    assert chain.broadcast(first.raw).outcome is BroadcastOutcome.ACCEPTED
    same_price = alice.signed(bob, 6, rate=rate)
    lower = alice.signed(bob, 6, rate=replace(rate, max_rate=rate.max_rate - 1))
    for cheap in (same_price, lower):
        assert chain.broadcast(cheap.raw).outcome is not BroadcastOutcome.ACCEPTED
    harness.mine()
    assert chain.tx_status(first.tx_id).block == chain.head()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 5


def test_a_bumped_replacement_excludes_the_former(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    rate = chain.fee_rate()
    bumped = chain.bump(rate, current=rate)
    assert bumped.max_rate > rate.max_rate
    assert bumped.tip_rate >= rate.tip_rate
    higher = doubled(bumped)
    assert chain.bump(higher, current=rate) == higher
    beyond = replace(rate, max_rate=10**30)
    assert refusal(lambda: chain.bump(rate, current=beyond)) is Reason.FEE_ABOVE_CAP
    first, second = alice.signed(bob, 5, rate=rate), alice.signed(bob, 5, rate=bumped)
    assert first.tx_id != second.tx_id
    assert chain.broadcast(first.raw).outcome is BroadcastOutcome.ACCEPTED
    assert chain.broadcast(second.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine(2)
    assert chain.tx_status(second.tx_id).block is not None
    assert chain.tx_status(first.tx_id).block is None
    assert chain.broadcast(first.raw).outcome is not BroadcastOutcome.ACCEPTED
    harness.mine()
    assert chain.tx_status(first.tx_id).block is None
    assert chain.balance_of(bob, NATIVE, chain.head()) == 5
    assert chain.used_nonces(alice.address, chain.head()) == 1


def test_a_cancellation_spends_the_nonce_and_moves_nothing(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    rate = chain.fee_rate()
    spend = alice.signed(bob, 5, rate=rate)
    chain.broadcast(spend.raw)
    intent = alice.intent(alice.address, 0, kind=SpendKind.CANCELLATION)
    unsigned = alice.unsigned(intent, rate=chain.bump(rate, current=rate))
    cancellation = chain.assemble(unsigned, alice.sign(unsigned.digest))
    before = chain.balance_of(alice.address, NATIVE, chain.head())
    assert chain.broadcast(cancellation.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine()
    status = chain.tx_status(cancellation.tx_id)
    assert (status.block, status.succeeded) == (chain.head(), True)
    assert chain.balance_of(alice.address, NATIVE, chain.head()) == before - status.fee
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    assert payments_at(chain, chain.head().height, alice.address, bob) == []


def test_a_nonce_gap_waits_until_it_is_filled(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    second, first = alice.signed(bob, 2, nonce=1), alice.signed(bob, 1, nonce=0)
    assert chain.broadcast(second.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine()
    assert chain.tx_status(second.tx_id).block is None
    assert chain.used_nonces(alice.address, chain.head()) == 0
    assert chain.broadcast(first.raw).outcome is BroadcastOutcome.ACCEPTED
    harness.mine(2)
    assert chain.used_nonces(alice.address, chain.head()) == 2
    assert chain.balance_of(bob, NATIVE, chain.head()) == 3


def test_nonces_are_counted_in_the_state_of_exactly_the_block_asked_for(
    harness: ChainHarness,
) -> None:
    alice, chain = wallet(harness), harness.chain
    harness.mine(BLOCKS_TO_FINAL + 1)
    before = chain.head()
    chain.broadcast(alice.signed(harness.outsider("bob"), 5).raw)
    assert chain.used_nonces(alice.address, before) == 0
    harness.mine()
    landed, final = chain.head(), chain.final_head()
    assert final is not None
    used = [chain.used_nonces(alice.address, ref) for ref in (final, before, landed)]
    assert used == [0, 0, 1]
    harness.mine(BLOCKS_TO_FINAL)
    assert chain.final_head() == landed
    assert chain.used_nonces(alice.address, landed) == 1


def test_a_spend_that_was_reorganised_out_lands_again_by_the_same_bytes(
    harness: ChainHarness,
) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    signed = alice.signed(bob, 5)
    chain.broadcast(signed.raw)
    harness.mine()
    assert chain.tx_status(signed.tx_id).block == chain.head()
    harness.reorg(1)
    assert chain.tx_status(signed.tx_id).block is None
    assert chain.used_nonces(alice.address, chain.head()) == 0
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    assert chain.broadcast(signed.raw).outcome in {
        BroadcastOutcome.ACCEPTED,
        BroadcastOutcome.ALREADY_KNOWN,
    }
    harness.mine()
    assert chain.tx_status(signed.tx_id).block == chain.head()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 5


def test_a_transaction_nobody_sent_is_unknown(harness: ChainHarness) -> None:
    alice = wallet(harness)
    unsent = alice.signed(harness.outsider("bob"), 5)
    status = harness.chain.tx_status(unsent.tx_id)
    assert (status.known, status.block, status.succeeded) == (False, None, False)


def test_two_keys_never_make_the_same_transaction(harness: ChainHarness) -> None:
    alice, bob = wallet(harness, coins=0), wallet(harness, "bob", coins=0)
    to = harness.outsider("carol")
    assert alice.signed(to, 5).tx_id != bob.signed(to, 5).tx_id
    assert alice.signed(to, 5) == alice.signed(to, 5)
