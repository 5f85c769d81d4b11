"""Facts of nonces that hold on every chain whose senders count their transactions."""

from __future__ import annotations

import pytest

from chains.base import NATIVE, BroadcastOutcome
from core.errors import Unavailable
from tests.conformance.harness import (
    BLOCKS_TO_FINAL,
    ChainHarness,
    Slot,
    invented,
    payments_at,
    wallet,
)


def test_a_nonce_gap_waits_until_it_is_filled(nonce_harness: ChainHarness) -> None:
    alice, chain = wallet(nonce_harness), nonce_harness.chain
    bob = nonce_harness.outsider("bob")
    second, first = alice.signed(bob, 2, slot=Slot(1)), alice.signed(bob, 1, slot=Slot(0))
    assert chain.broadcast(second.raw).outcome is BroadcastOutcome.ACCEPTED
    nonce_harness.mine()
    assert chain.tx_status(second.tx_id).block is None
    assert chain.used_nonces(alice.address, chain.head()) == 0
    assert chain.broadcast(first.raw).outcome is BroadcastOutcome.ACCEPTED
    nonce_harness.mine(2)
    assert chain.used_nonces(alice.address, chain.head()) == 2
    assert chain.balance_of(bob, NATIVE, chain.head()) == 3


def test_nonces_are_counted_in_the_state_of_exactly_the_block_asked_for(
    nonce_harness: ChainHarness,
) -> None:
    alice, chain = wallet(nonce_harness), nonce_harness.chain
    nonce_harness.mine(BLOCKS_TO_FINAL + 1)
    before = chain.head()
    chain.broadcast(alice.signed(nonce_harness.outsider("bob"), 5).raw)
    assert chain.used_nonces(alice.address, before) == 0
    nonce_harness.mine()
    landed, final = chain.head(), chain.final_head()
    assert final is not None
    used = [chain.used_nonces(alice.address, ref) for ref in (final, before, landed)]
    assert used == [0, 0, 1]
    nonce_harness.mine(BLOCKS_TO_FINAL)
    assert chain.final_head() == landed
    assert chain.used_nonces(alice.address, landed) == 1


def test_every_kind_of_end_uses_up_one_nonce(nonce_harness: ChainHarness) -> None:
    """Two versions of a spend, and money sent to oneself, which is no payment."""
    alice, chain = wallet(nonce_harness), nonce_harness.chain
    bob, rate = nonce_harness.outsider("bob"), chain.fee_rate()
    for each in (rate, chain.bump(rate, current=rate)):
        chain.broadcast(alice.signed(bob, 5, slot=Slot(0), rate=each).raw)
    nonce_harness.mine(2)
    assert chain.used_nonces(alice.address, chain.head()) == 1
    chain.broadcast(alice.signed(alice.address, 5, slot=Slot(1)).raw)
    nonce_harness.mine()
    assert chain.used_nonces(alice.address, chain.head()) == 2
    assert payments_at(chain, chain.head().height, alice.address) == []
    nonce_harness.reorg(1)
    assert chain.used_nonces(alice.address, chain.head()) == 1


def test_a_spend_that_nothing_pays_for_is_unknown_until_something_does(
    nonce_harness: ChainHarness,
) -> None:
    poor, chain = wallet(nonce_harness, "poor", coins=0), nonce_harness.chain
    bob = nonce_harness.outsider("bob")
    unpaid = poor.signed(bob, 5)
    assert chain.broadcast(unpaid.raw).outcome is BroadcastOutcome.UNKNOWN
    too_much = wallet(nonce_harness).signed(bob, nonce_harness.coin)
    assert chain.broadcast(too_much.raw).outcome is not BroadcastOutcome.ACCEPTED
    nonce_harness.mine()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    nonce_harness.fund(poor.address, nonce_harness.coin)
    assert chain.broadcast(unpaid.raw).outcome is BroadcastOutcome.ACCEPTED
    nonce_harness.mine()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 5


def test_nonces_after_a_block_that_is_not_on_the_chain_are_unavailable(
    nonce_harness: ChainHarness,
) -> None:
    bob, chain = nonce_harness.outsider("bob"), nonce_harness.connect()
    nonce_harness.mine(2)
    old = chain.head()
    with pytest.raises(Unavailable):
        chain.used_nonces(bob, invented(old))
    assert chain.used_nonces(bob, old) == 0
    nonce_harness.reorg(1)
    with pytest.raises(Unavailable):
        nonce_harness.connect().used_nonces(bob, old)
