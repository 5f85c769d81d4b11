"""The fake world keeps the rules it is trusted for."""

from __future__ import annotations

import pytest

from chains.base import NATIVE, BroadcastOutcome, FeeRate
from chains.fake import FakeWorld, Output
from core.clock import SECOND_NS, ManualClock
from tests.unit.chains.fake.wallet import Wallet


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(finality_depth=3)


@pytest.fixture
def alice(world: FakeWorld) -> Wallet:
    wallet = Wallet(world)
    world.fund(wallet.address, 1_000_000)
    return wallet


def test_the_same_verbs_make_the_same_world() -> None:
    def run(amount: int) -> str:
        world = FakeWorld()
        world.pay(world.outsider("bob"), NATIVE, amount)
        world.mine(3)
        world.reorg(2)
        return world.digest()

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_blocks_are_linked_and_time_never_stands_still(world: FakeWorld) -> None:
    world.mine(5)
    for height in range(1, 6):
        block, parent = world.block(height), world.block(height - 1)
        assert block.parent_hash == parent.ref.hash
        assert block.time_s > parent.time_s


def test_block_time_follows_a_clock_that_was_handed_in() -> None:
    clock = ManualClock()
    world = FakeWorld(clock=clock)
    clock.advance(1_000 * SECOND_NS)
    world.mine()
    assert world.head.time_s == clock.now_ns() // SECOND_NS
    world.mine()
    assert world.head.time_s == clock.now_ns() // SECOND_NS + 1


def test_a_spend_moves_money_and_costs_its_fee(world: FakeWorld, alice: Wallet) -> None:
    bob = world.outsider("bob")
    signed = alice.signed(bob, 1_000)
    assert world.submit(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    world.mine(4)
    receipt = world.paid_out([signed.tx_id])[signed.tx_id]
    assert (receipt.succeeded, receipt.fee, receipt.effect_amount) == (True, 12 * 21, 1_000)
    assert world.balance(bob, NATIVE) == 1_000
    assert world.balance(alice.address, NATIVE) == 1_000_000 - 1_000 - 252
    assert world.final_fees_of([alice.address]) == {alice.address: 252}


def test_a_reverted_spend_pays_nobody_and_costs_its_fee(world: FakeWorld, alice: Wallet) -> None:
    bob = world.outsider("bob")
    world.refuse_transfers_to(bob)
    signed = alice.signed(bob, 1_000)
    world.submit(signed.raw)
    world.mine(4)
    receipt = world.paid_out([signed.tx_id])[signed.tx_id]
    assert (receipt.succeeded, receipt.fee, receipt.payments) == (False, 252, ())
    assert world.balance(bob, NATIVE) == 0
    assert world.balance(alice.address, NATIVE) == 1_000_000 - 252
    assert world.counts["failed"] == 1


def test_a_paused_or_missing_token_reverts(world: FakeWorld, alice: Wallet) -> None:
    token = world.add_token("TOK")
    world.fund(alice.address, 500, token)
    world.pause_token(token)
    first = alice.signed(world.outsider("bob"), 200, token)
    second = alice.signed(world.outsider("bob"), 501, token, nonce=1)
    third = alice.signed(world.outsider("bob"), 500, token, nonce=2)
    for signed in (first, second):
        world.submit(signed.raw)
    world.mine()
    world.pause_token(token, paused=False)
    world.submit(third.raw)
    world.mine(4)
    paid = world.paid_out([first.tx_id, second.tx_id, third.tx_id])
    assert [paid[s.tx_id].succeeded for s in (first, second, third)] == [False, False, True]
    assert world.balance(world.outsider("bob"), token) == 500


def test_an_odd_token_delivers_less_than_it_claims(world: FakeWorld, alice: Wallet) -> None:
    token = world.add_token("ODD", kept_ppm=10_000)
    world.fund(alice.address, 500, token)
    signed = alice.signed(world.outsider("bob"), 500, token)
    world.submit(signed.raw)
    world.mine(4)
    (payment,) = world.final_payments_to([world.outsider("bob")])
    assert (payment.amount, payment.claimed, payment.anomaly) == (495, 500, "delivered_less")
    assert world.balance(world.outsider("bob"), token) == 495


def test_a_nonce_gap_waits_until_it_is_filled(world: FakeWorld, alice: Wallet) -> None:
    bob = world.outsider("bob")
    second, first = alice.signed(bob, 2, nonce=1), alice.signed(bob, 1, nonce=0)
    world.submit(second.raw)
    world.mine(2)
    assert world.pending() == (second.tx_id,)
    world.submit(first.raw)
    world.mine()
    assert world.pending() == ()
    assert [landing.tx_id for landing in world.landings(alice.address)] == [
        first.tx_id,
        second.tx_id,
    ]


def test_only_a_bid_one_eighth_higher_replaces(world: FakeWorld, alice: Wallet) -> None:
    bob = world.outsider("bob")
    held = alice.signed(bob, 1, rate=FeeRate(16, 8))
    low = alice.signed(bob, 1, rate=FeeRate(17, 9))
    low_tip = alice.signed(bob, 1, rate=FeeRate(18, 8))
    bumped = alice.signed(bob, 1, rate=FeeRate(18, 9))
    world.submit(held.raw)
    assert world.submit(low.raw).detail == "replacement underpriced"
    assert world.submit(low_tip.raw).detail == "replacement underpriced"
    assert world.pending() == (held.tx_id,)
    assert world.submit(bumped.raw).outcome is BroadcastOutcome.ACCEPTED
    assert world.pending() == (bumped.tx_id,)
    world.mine()
    assert world.submit(held.raw).detail == "nonce too low"
    assert world.submit(bumped.raw).outcome is BroadcastOutcome.ALREADY_KNOWN


def test_a_node_refuses_what_cannot_be_paid_read_or_belongs_elsewhere(
    world: FakeWorld, alice: Wallet
) -> None:
    raw = alice.signed(world.outsider("bob"), 1).raw
    other = FakeWorld("fake-2")
    foreign = Wallet(other).signed(other.outsider("bob"), 1).raw
    high_s = raw[:-65] + raw[-65:-33] + b"\xff" * 32 + raw[-1:]
    for bad in (b"", raw[:-1], raw + b"\0", foreign, high_s, raw[:-1] + b"\x09"):
        assert world.submit(bad).outcome is BroadcastOutcome.REJECTED
    too_much = world.submit(alice.signed(world.outsider("bob"), 1_000_000).raw)
    assert (too_much.outcome, too_much.detail) == (BroadcastOutcome.UNKNOWN, "insufficient funds")
    assert world.pending() == ()


def test_a_rate_below_the_base_waits(world: FakeWorld, alice: Wallet) -> None:
    signed = alice.signed(world.outsider("bob"), 1, rate=FeeRate(20, 2))
    world.set_base_rate(21)
    world.submit(signed.raw)
    world.mine()
    assert world.included(signed.tx_id) is None
    world.set_base_rate(20)
    world.mine()
    included = world.included(signed.tx_id)
    assert included is not None
    assert included[1].fee == 20 * 21


def test_a_reorganisation_forgets_what_it_removes(world: FakeWorld, alice: Wallet) -> None:
    bob = world.outsider("bob")
    arrival = world.pay(bob, NATIVE, 7)
    spend = alice.signed(bob, 1)
    world.submit(spend.raw)
    world.mine()
    old = world.head.ref
    world.reorg(1)
    assert not world.has(old)
    assert not world.knows(arrival)
    assert not world.knows(spend.tx_id)
    assert world.balance(bob, NATIVE, final=False) == 0
    assert (world.counts["dropped_arrivals"], world.counts["dropped_spends"]) == (1, 1)
    assert world.submit(spend.raw).outcome is BroadcastOutcome.ACCEPTED
    world.mine(4)
    assert [landing.block == old for landing in world.landings(alice.address)] == [True, False]
    assert len(world.landings(alice.address, final=True)) == 1


def test_kept_transactions_are_mined_again_and_others_may_wait(world: FakeWorld) -> None:
    bob = world.outsider("bob")
    kept, waiting = world.pay(bob, NATIVE, 7), world.pay(bob, NATIVE, 8)
    world.mine()
    world.reorg(1, keep=lambda tx_id: tx_id == kept, to_pool=True)
    assert world.included(kept) is not None
    assert world.pending() == (waiting,)
    assert world.counts["dropped_arrivals"] == 0
    world.mine()
    assert world.balance(bob, NATIVE, final=False) == 15


def test_finality_follows_depth_and_stands_still_while_stalled(world: FakeWorld) -> None:
    world.mine(5)
    assert world.final.ref.height == 2
    world.stall_finality()
    world.mine(10)
    assert world.final.ref.height == 2
    world.resume_finality()
    assert world.final.ref.height == 12
    assert world.finalise().height == 15


def test_a_reorganisation_stops_at_finality_unless_told(world: FakeWorld) -> None:
    bob = world.outsider("bob")
    world.pay(bob, NATIVE, 7)
    world.mine(4)
    (final,) = world.final_payments_to([bob])
    with pytest.raises(ValueError, match="is final"):
        world.reorg(4)
    assert world.counts["reorgs"] == 0
    world.reorg(4, cross_finality=True)
    assert world.final_payments_to([bob]) == []
    assert world.reversed_payments_to([bob]) == [final]
    assert world.final.ref == world.block(2).ref
    assert world.counts["deep_reorgs"] == 1


def test_a_shorter_branch_lets_the_head_fall_back(world: FakeWorld) -> None:
    world.mine(3)
    assert world.reorg(3, replacement_blocks=1).height == 1


def test_late_bytes_are_forwarded_once_due(world: FakeWorld, alice: Wallet) -> None:
    signed = alice.signed(world.outsider("bob"), 1)
    world.submit_late(signed.raw, blocks=2)
    world.mine(2)
    assert not world.knows(signed.tx_id)
    world.mine()
    assert world.included(signed.tx_id) is not None
    assert world.counts["late_forwarded"] == 1


def test_one_arrival_may_hold_many_credits_and_silent_money(world: FakeWorld) -> None:
    bob, token = world.outsider("bob"), world.add_token("REB")
    world.pay_many(
        (
            Output(bob, NATIVE, 1, 1),
            Output(bob, NATIVE, 2, 2, silent=True),
            Output(bob, token, 9, 9, silent=True),
            Output(bob, NATIVE, 0, 4),
            Output(bob, NATIVE, 0, 0),
        )
    )
    world.mine(4)
    payments = world.final_payments_to([bob])
    assert [(p.position, p.amount, p.anomaly) for p in payments] == [
        ("0", 1, None),
        (f"balance:{bob}", 2, "unexplained_balance"),
        ("3", 0, "not_delivered"),
    ]
    assert (world.balance(bob, NATIVE), world.balance(bob, token)) == (3, 9)


def test_a_failed_arrival_is_on_chain_and_pays_nobody(world: FakeWorld) -> None:
    bob = world.outsider("bob")
    tx_id = world.pay(bob, NATIVE, 5, fails=True)
    world.mine(4)
    assert world.included(tx_id) is not None
    assert world.final_payments_to([bob]) == []
    assert world.balance(bob, NATIVE) == 0


def test_impossible_orders_to_the_world_are_refused(world: FakeWorld) -> None:
    bob = world.outsider("bob")
    with pytest.raises(ValueError, match="claimed"):
        world.pay(bob, NATIVE, 5, claimed=4)
    with pytest.raises(ValueError, match="no token"):
        world.pay(bob, bob, 5)
    with pytest.raises(ValueError, match="removes"):
        world.reorg(1)
    with pytest.raises(ValueError, match="no block"):
        world.finalise(1)


def test_listed_assets_name_the_native_coin_and_listed_tokens_only(world: FakeWorld) -> None:
    world.add_token("SHADY", listed=False)
    odd = world.add_token("ODD", kept_ppm=1)
    specs = world.listed_assets()
    assert [(spec.key, spec.odd) for spec in specs] == [(NATIVE, False), (odd, True)]
