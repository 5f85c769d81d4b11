"""Facts of sending transactions that hold on every chain."""

from __future__ import annotations

from dataclasses import replace

from chains.base import (
    NATIVE,
    BroadcastOutcome,
    SpendKind,
)
from core.errors import Reason
from tests.conformance.harness import (
    ChainHarness,
    TokenHarness,
    assets,
    doubled,
    is_taken,
    owner_of,
    payments_at,
    refusal,
    some,
    wallet,
)

# ---- sending --------------------------------------------------------------------------------


def test_a_spend_lands_as_built_and_its_fee_is_what_the_sender_lost(harness: ChainHarness) -> None:
    chain, bob = harness.chain, harness.outsider("bob")
    for asset in assets(harness):
        alice, amount = owner_of(harness, asset), some(harness, 40, asset)
        before = chain.balance_of(alice.address, NATIVE, chain.head())
        intent, rate = alice.intent(bob, amount, asset), chain.fee_rate()
        signed = alice.assembled(alice.unsigned(intent, rate=rate))
        most = rate.max_rate * harness.units + chain.fee_extra(intent)
        assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
        pending = chain.tx_status(signed.tx_id)
        assert (pending.known, pending.block) == (True, None)
        harness.mine()
        status = chain.tx_status(signed.tx_id)
        assert (status.block, status.succeeded) == (chain.head(), True)
        assert status.effect_amount == amount
        after = chain.balance_of(alice.address, NATIVE, chain.head())
        assert before - after == status.fee + (amount if asset == NATIVE else 0)
        assert 0 < status.fee <= most
        (payment,) = payments_at(chain, chain.head().height, bob)
        assert (payment.tx_id, payment.amount) == (signed.tx_id, amount)
        assert payment.from_address in {alice.address, None}


def test_money_sent_to_oneself_costs_its_fee_and_is_known_by_its_transaction(
    harness: ChainHarness,
) -> None:
    for asset in assets(harness):
        alice, chain = owner_of(harness, asset), harness.chain
        native, owned = (
            chain.balance_of(alice.address, key, chain.head()) for key in (NATIVE, asset)
        )
        signed = alice.signed(alice.address, some(harness, 5, asset), asset)
        chain.broadcast(signed.raw)
        harness.mine()
        status = chain.tx_status(signed.tx_id)
        assert (status.block, status.succeeded) == (chain.head(), True)
        lost = status.fee if asset == NATIVE else 0
        assert chain.balance_of(alice.address, asset, chain.head()) == owned - lost
        assert chain.balance_of(alice.address, NATIVE, chain.head()) == native - status.fee
        payments = payments_at(chain, chain.head().height, alice.address)
        if chain.traits.spends_coins:  # coins were made, and nobody else can have made them
            assert {payment.tx_id for payment in payments} == {signed.tx_id}
        else:
            assert payments == []


def test_our_failed_spend_pays_nobody_and_costs_a_fee(token_harness: TokenHarness) -> None:
    alice, chain, bob = wallet(token_harness), token_harness.chain, token_harness.outsider("bob")
    before = chain.balance_of(alice.address, NATIVE, chain.head())
    signed = alice.signed(bob, 1, token_harness.token)  # owns none of it
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    token_harness.mine()
    status = chain.tx_status(signed.tx_id)
    assert (status.block, status.succeeded, status.effect_amount) == (chain.head(), False, 0)
    assert status.fee == before - chain.balance_of(alice.address, NATIVE, chain.head()) > 0
    assert payments_at(chain, chain.head().height, bob) == []
    assert not is_taken(token_harness, chain.broadcast(signed.raw).outcome)
    token_harness.mine()
    assert chain.tx_status(signed.tx_id) == status


def test_the_same_bytes_again_are_already_known(harness: ChainHarness) -> None:
    alice, chain = wallet(harness), harness.chain
    signed = alice.signed(harness.outsider("bob"), some(harness, 5))
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    for _ in range(2):
        outcome = chain.broadcast(signed.raw).outcome
        assert outcome is BroadcastOutcome.ALREADY_KNOWN or chain.traits.uses_tickets
        assert not is_taken(harness, outcome)
    harness.mine()
    assert not is_taken(harness, chain.broadcast(signed.raw).outcome)
    harness.mine()
    paid = chain.balance_of(harness.outsider("bob"), NATIVE, chain.head())
    assert paid == some(harness, 5)


def test_bytes_no_node_can_take_are_never_accepted(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    owned = chain.balance_of(alice.address, NATIVE, chain.head())
    raw = alice.signed(bob, some(harness, 5)).raw
    assert raw
    spoiled = raw[: len(raw) // 2] + bytes((raw[len(raw) // 2] ^ 1,)) + raw[len(raw) // 2 + 1 :]
    for bad in (b"", b"\0", raw[:-1], bytes(len(raw)), spoiled):
        outcome = chain.broadcast(bad).outcome
        assert outcome in {BroadcastOutcome.REJECTED, BroadcastOutcome.UNKNOWN}
    harness.mine()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    assert chain.balance_of(alice.address, NATIVE, chain.head()) == owned


def test_a_refusal_that_another_branch_would_lift_is_unknown(
    waiting_harness: ChainHarness,
) -> None:
    alice, chain, bob = (
        wallet(waiting_harness),
        waiting_harness.chain,
        waiting_harness.outsider("b"),
    )
    slot, rate = waiting_harness.slot(alice.address), chain.fee_rate()
    first = alice.signed(bob, some(waiting_harness, 5), slot=slot, rate=rate)
    rival = alice.signed(bob, some(waiting_harness, 6), slot=slot, rate=doubled(rate))
    chain.broadcast(first.raw)
    waiting_harness.mine()
    assert chain.broadcast(rival.raw).outcome is BroadcastOutcome.UNKNOWN
    waiting_harness.reorg(1)
    assert chain.broadcast(rival.raw).outcome is BroadcastOutcome.ACCEPTED
    waiting_harness.mine()
    assert chain.balance_of(bob, NATIVE, chain.head()) == some(waiting_harness, 6)


def test_an_underpriced_replacement_is_not_accepted(waiting_harness: ChainHarness) -> None:
    alice, chain, bob = (
        wallet(waiting_harness),
        waiting_harness.chain,
        waiting_harness.outsider("b"),
    )
    rate, slot = doubled(chain.fee_rate()), waiting_harness.slot(alice.address)
    first = alice.signed(bob, some(waiting_harness, 5), slot=slot, rate=rate)
    assert chain.broadcast(first.raw).outcome is BroadcastOutcome.ACCEPTED
    six = some(waiting_harness, 6)
    same_price = alice.signed(bob, six, slot=slot, rate=rate)
    lower = alice.signed(bob, six, slot=slot, rate=replace(rate, max_rate=rate.max_rate - 1))
    for cheap in (same_price, lower):
        assert chain.broadcast(cheap.raw).outcome is not BroadcastOutcome.ACCEPTED
    waiting_harness.mine()
    assert chain.tx_status(first.tx_id).block == chain.head()
    assert chain.balance_of(bob, NATIVE, chain.head()) == some(waiting_harness, 5)


def test_a_bumped_rate_is_higher_and_stays_below_the_cap(harness: ChainHarness) -> None:
    chain = harness.chain
    rate = chain.fee_rate()
    bumped = chain.bump(rate, current=rate)
    assert bumped.max_rate > rate.max_rate
    assert bumped.tip_rate >= rate.tip_rate
    higher = doubled(bumped)
    assert chain.bump(higher, current=rate) == higher
    beyond = replace(rate, max_rate=10**30)
    assert refusal(lambda: chain.bump(rate, current=beyond)) is Reason.FEE_ABOVE_CAP


def test_of_two_versions_of_a_spend_exactly_one_lands(harness: ChainHarness) -> None:
    alice, chain, bob = wallet(harness), harness.chain, harness.outsider("bob")
    rate, slot, five = chain.fee_rate(), harness.slot(alice.address), some(harness, 5)
    bumped = chain.bump(rate, current=rate)
    versions = [alice.signed(bob, five, slot=slot, rate=each) for each in (rate, bumped)]
    assert versions[0].tx_id != versions[1].tx_id
    assert chain.broadcast(versions[0].raw).outcome is BroadcastOutcome.ACCEPTED
    chain.broadcast(versions[1].raw)
    harness.mine(2)
    statuses = [chain.tx_status(version.tx_id) for version in versions]
    assert [status.succeeded for status in statuses].count(True) == 1
    assert [status.block for status in statuses].count(None) == 1
    for version in versions:
        assert not is_taken(harness, chain.broadcast(version.raw).outcome)
    harness.mine()
    assert [chain.tx_status(version.tx_id) for version in versions] == statuses
    assert chain.balance_of(bob, NATIVE, chain.head()) == five


def test_a_bumped_replacement_excludes_the_former(waiting_harness: ChainHarness) -> None:
    alice, chain, bob = (
        wallet(waiting_harness),
        waiting_harness.chain,
        waiting_harness.outsider("b"),
    )
    rate, slot = chain.fee_rate(), waiting_harness.slot(alice.address)
    five = some(waiting_harness, 5)
    first = alice.signed(bob, five, slot=slot, rate=rate)
    second = alice.signed(bob, five, slot=slot, rate=chain.bump(rate, current=rate))
    assert chain.broadcast(first.raw).outcome is BroadcastOutcome.ACCEPTED
    assert chain.broadcast(second.raw).outcome is BroadcastOutcome.ACCEPTED
    waiting_harness.mine(2)
    assert chain.tx_status(second.tx_id).block is not None
    assert chain.tx_status(first.tx_id).block is None
    assert chain.broadcast(first.raw).outcome is not BroadcastOutcome.ACCEPTED
    waiting_harness.mine()
    assert chain.tx_status(first.tx_id).block is None
    assert chain.balance_of(bob, NATIVE, chain.head()) == five


def test_a_cancellation_uses_up_the_slot_and_moves_nothing(waiting_harness: ChainHarness) -> None:
    alice, chain, bob = (
        wallet(waiting_harness),
        waiting_harness.chain,
        waiting_harness.outsider("b"),
    )
    rate, slot = chain.fee_rate(), waiting_harness.slot(alice.address)
    spend = alice.signed(bob, some(waiting_harness, 5), slot=slot, rate=rate)
    chain.broadcast(spend.raw)
    intent = alice.intent(alice.address, 0, kind=SpendKind.CANCELLATION)
    bumped = chain.bump(rate, current=rate)
    cancellation = alice.assembled(alice.unsigned(intent, slot=slot, rate=bumped))
    before = chain.balance_of(alice.address, NATIVE, chain.head())
    assert chain.broadcast(cancellation.raw).outcome is BroadcastOutcome.ACCEPTED
    waiting_harness.mine()
    status = chain.tx_status(cancellation.tx_id)
    assert (status.block, status.succeeded) == (chain.head(), True)
    assert chain.balance_of(alice.address, NATIVE, chain.head()) == before - status.fee
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    assert payments_at(chain, chain.head().height, bob) == []
    assert chain.broadcast(spend.raw).outcome is not BroadcastOutcome.ACCEPTED


def test_a_spend_that_was_reorganised_out_lands_again_by_the_same_bytes(
    waiting_harness: ChainHarness,
) -> None:
    alice, chain, bob = (
        wallet(waiting_harness),
        waiting_harness.chain,
        waiting_harness.outsider("b"),
    )
    signed = alice.signed(bob, some(waiting_harness, 5))
    chain.broadcast(signed.raw)
    waiting_harness.mine()
    assert chain.tx_status(signed.tx_id).block == chain.head()
    waiting_harness.reorg(1)
    assert chain.tx_status(signed.tx_id).block is None
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    assert chain.broadcast(signed.raw).outcome in {
        BroadcastOutcome.ACCEPTED,
        BroadcastOutcome.ALREADY_KNOWN,
    }
    waiting_harness.mine()
    assert chain.tx_status(signed.tx_id).block == chain.head()
    assert chain.balance_of(bob, NATIVE, chain.head()) == some(waiting_harness, 5)


def test_a_transaction_nobody_sent_is_unknown(harness: ChainHarness) -> None:
    alice = wallet(harness)
    unsent = alice.signed(harness.outsider("bob"), some(harness, 5))
    status = harness.chain.tx_status(unsent.tx_id)
    assert (status.known, status.block, status.succeeded) == (False, None, False)
    harness.chain.broadcast(unsent.raw)
    assert harness.chain.tx_status(unsent.tx_id).known


def test_two_keys_never_make_the_same_transaction(harness: ChainHarness) -> None:
    alice, bob = wallet(harness), wallet(harness, "bob")
    to, five = harness.outsider("carol"), some(harness, 5)
    assert alice.signed(to, five).tx_id != bob.signed(to, five).tx_id
    slot = harness.slot(alice.address)
    assert alice.signed(to, five, slot=slot) == alice.signed(to, five, slot=slot)
