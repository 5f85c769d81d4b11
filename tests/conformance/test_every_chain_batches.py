"""Facts of batches that hold on every chain that has them: each item for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chains.base import (
    NATIVE,
    BroadcastOutcome,
    Effect,
    FeeRate,
    ItemStatus,
    SpendIntent,
    SpendItem,
    SpendKind,
    TxStatus,
    UnsignedTx,
)
from core.errors import Reason, Refused
from tests.conformance.harness import (
    BLOCKS_TO_FINAL,
    ChainHarness,
    OddTokenHarness,
    Slot,
    Wallet,
    assets,
    doubled,
    payments_at,
    refusal,
    some,
    wallet,
)


def payer(harness: ChainHarness, name: str = "alice") -> Wallet:
    """Return a wallet that can make batches, with coins and tokens of every kind."""
    alice = wallet(harness, name)
    harness.enable_batches(name)
    for token in harness.tokens:
        harness.fund(alice.address, 1_000, token)
    return alice


def picky_payer(harness: OddTokenHarness) -> Wallet:
    """Return a wallet that can make batches of the picky token, too."""
    alice = payer(harness)
    harness.fund(alice.address, 1_000, harness.picky_token)
    return alice


def outsiders(harness: ChainHarness, *names: str) -> list[str]:
    return [harness.outsider(name) for name in names]


def sent(alice: Wallet, intent: SpendIntent, *, bumped: bool = False) -> str:
    """Build, sign and broadcast on the next slot as custody does; return the transaction's id."""
    chain, slot = alice.harness.chain, alice.harness.slot(alice.address)
    rate = doubled(chain.fee_rate()) if bumped else chain.fee_rate()
    signed = alice.assembled(built(alice, intent, slot=slot, rate=rate))
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    return signed.tx_id


def built(
    alice: Wallet,
    intent: SpendIntent,
    *,
    slot: Slot | None = None,
    rate: FeeRate | None = None,
    units: int | None = None,
) -> UnsignedTx:
    """Build a batch with the units that it needs."""
    chain, used = alice.harness.chain, slot or alice.harness.slot(alice.address)
    return chain.build(
        intent,
        nonce=used.nonce,
        rate=rate or chain.fee_rate(),
        units=units or chain.fee_units(intent, used.coins),
        coins=used.coins,
        ticket=used.ticket,
    )


def landed(alice: Wallet, intent: SpendIntent) -> TxStatus:
    """Send a batch and mine it."""
    tx_id = sent(alice, intent)
    alice.harness.mine()
    return alice.harness.chain.tx_status(tx_id)


def test_a_batch_reads_back_as_exactly_its_intent(batch_harness: ChainHarness) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    bob, carol = outsiders(batch_harness, "bob", "carol")
    for asset in assets(batch_harness):
        paid = [(to, some(batch_harness, n, asset)) for to, n in ((bob, 3), (carol, 4), (bob, 3))]
        intent, rate = alice.batch(*paid, asset_key=asset), chain.fee_rate()
        unsigned = built(alice, intent)
        decoded = chain.decode(unsigned.payload, sender=alice.address)
        assert [one for one in decoded.effects if one.destination != alice.address] == [
            Effect(asset, to, amount) for to, amount in paid
        ]
        # Where coins are spent all outputs are paid or none: no item fails alone.
        assert decoded.is_batch == (not chain.traits.spends_coins)
        assert decoded.network == intent.network
        assert (decoded.digest, decoded.fee_max) == (unsigned.digest, unsigned.fee_max)
        assert chain.rate_of(unsigned.payload).max_rate <= rate.max_rate
        plain = alice.unsigned(alice.intent(bob, some(batch_harness, 3, asset), asset))
        assert not chain.decode(plain.payload, sender=alice.address).is_batch
        for place in range(len(unsigned.payload)):
            mutant = bytearray(unsigned.payload)
            mutant[place] ^= 1
            try:
                other = chain.decode(bytes(mutant), sender=alice.address)
            except Refused:
                continue
            assert other != decoded or other.digest == decoded.digest, place


def test_a_batch_pays_everybody_once(batch_harness: ChainHarness) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    bob, carol = outsiders(batch_harness, "bob", "carol")
    for asset in assets(batch_harness):
        amounts = [some(batch_harness, n, asset) for n in (30, 40, 50)]
        before = chain.balance_of(alice.address, NATIVE, chain.head())
        paid = list(zip((bob, carol, bob), amounts, strict=True))
        intent = alice.batch(*paid, asset_key=asset)
        assert chain.payable_items(intent) == (True, True, True)
        status = landed(alice, intent)
        assert (status.succeeded, status.block) == (True, chain.head())
        assert status.items == tuple(ItemStatus(paid=True, amount=n) for n in amounts)
        assert status.effect_amount == sum(amounts)
        after = chain.balance_of(alice.address, NATIVE, chain.head())
        assert before - after == status.fee + (sum(amounts) if asset == NATIVE else 0)
        balances = [chain.balance_of(who, asset, chain.head()) for who in (bob, carol)]
        assert balances == [amounts[0] + amounts[2], amounts[1]]
        payments = payments_at(chain, chain.head().height, bob, carol)
        assert sorted(p.amount for p in payments) == amounts
        assert len({p.position for p in payments}) == 3
        assert {p.tx_id for p in payments} == {payments[0].tx_id}
        assert {p.from_address for p in payments} <= {alice.address, None}


def test_one_refused_recipient_fails_alone(odd_batch_harness: OddTokenHarness) -> None:
    alice, chain = picky_payer(odd_batch_harness), odd_batch_harness.chain
    bob, mallory, carol = outsiders(odd_batch_harness, "bob", "mallory", "carol")
    intent = alice.batch(
        (bob, 3), (mallory, 4), (carol, 5), asset_key=odd_batch_harness.picky_token
    )
    assert chain.payable_items(intent) == (True, True, True)
    odd_batch_harness.refuse(mallory)
    assert chain.payable_items(intent) == (True, False, True)
    status = landed(alice, intent)
    assert status.succeeded
    assert status.items == (ItemStatus(True, 3), ItemStatus(False, 0), ItemStatus(True, 5))
    assert status.effect_amount == 8
    assert chain.balance_of(mallory, odd_batch_harness.picky_token, chain.head()) == 0


def test_what_the_money_does_not_reach_for_fails_alone(odd_batch_harness: OddTokenHarness) -> None:
    alice, chain = picky_payer(odd_batch_harness), odd_batch_harness.chain
    bob, carol, dora = outsiders(odd_batch_harness, "bob", "carol", "dora")
    intent = alice.batch(
        (bob, 600), (carol, 600), (dora, 400), asset_key=odd_batch_harness.picky_token
    )
    assert chain.payable_items(intent) == (True, False, True)
    status = landed(alice, intent)
    assert [item.paid for item in status.items] == [True, False, True]
    assert chain.balance_of(alice.address, odd_batch_harness.picky_token, chain.head()) == 0


def test_the_units_of_a_batch_suffice_and_grow_with_its_items(batch_harness: ChainHarness) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    people = outsiders(batch_harness, *(f"person {n}" for n in range(8)))
    units = [
        chain.fee_units(
            alice.batch(
                *((who, some(batch_harness, 1, asset)) for who in people[:count]), asset_key=asset
            )
        )
        for asset in assets(batch_harness)
        for count in (1, 2, 4, 8)
    ]
    for at in range(0, len(units), 4):
        assert units[at] < units[at + 1] < units[at + 2] < units[at + 3]
    status = landed(alice, alice.batch(*((who, some(batch_harness, 1)) for who in people)))
    assert all(item.paid for item in status.items)
    assert len(status.items) == 8


def test_a_batch_and_its_replacement_or_cancellation_exclude_each_other(
    batch_harness: ChainHarness,
) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    bob, carol = outsiders(batch_harness, "bob", "carol")
    three, four = some(batch_harness, 3), some(batch_harness, 4)
    intent = alice.batch((bob, three), (carol, four))
    first, second = sent(alice, intent), sent(alice, intent, bumped=True)
    assert first != second
    batch_harness.mine(2)
    assert (chain.tx_status(first).block, chain.tx_status(second).succeeded) == (None, True)
    assert chain.balance_of(bob, NATIVE, chain.head()) == three
    third = sent(alice, intent)
    cancelling = alice.intent(alice.address, 0, kind=SpendKind.CANCELLATION)
    fourth = sent(alice, cancelling, bumped=True)
    batch_harness.mine(2)
    assert (chain.tx_status(third).block, chain.tx_status(fourth).succeeded) == (None, True)
    assert chain.tx_status(fourth).items == ()
    assert chain.balance_of(bob, NATIVE, chain.head()) == three


def test_a_batch_in_a_block_that_is_replaced_has_paid_nobody(batch_harness: ChainHarness) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    bob, carol = outsiders(batch_harness, "bob", "carol")
    tx_id = sent(alice, alice.batch((bob, some(batch_harness, 3)), (carol, some(batch_harness, 4))))
    batch_harness.mine()
    assert len(chain.tx_status(tx_id).items) == 2
    batch_harness.reorg(1)
    status = chain.tx_status(tx_id)
    assert (status.block, status.items, status.effect_amount) == (None, (), 0)
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    batch_harness.mine(BLOCKS_TO_FINAL)


BAD: dict[str, tuple[Callable[[SpendIntent], SpendIntent], Reason]] = {
    "no items": (lambda b: replace(b, items=()), Reason.INTENT_MISMATCH),
    "another sum": (lambda b: replace(b, amount=b.amount + 1), Reason.INTENT_MISMATCH),
    "a withdrawal twice": (
        lambda b: replace(b, items=(b.items[0], replace(b.items[1], cause_id="wd_0"))),
        Reason.INTENT_MISMATCH,
    ),
    "nothing": (
        lambda b: replace(
            b, amount=b.items[0].amount, items=(b.items[0], replace(b.items[1], amount=0))
        ),
        Reason.ZERO_AMOUNT,
    ),
    "to itself": (
        lambda b: replace(b, items=(b.items[0], replace(b.items[1], destination=b.source))),
        Reason.SAME_ACCOUNT,
    ),
    "sent to another": (
        lambda b: replace(b, destination=b.items[0].destination),
        Reason.INTENT_MISMATCH,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_batch_is_not_built(name: str, batch_harness: ChainHarness) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    change, reason = BAD[name]
    three = some(batch_harness, 3)
    honest = alice.batch(*((who, three) for who in outsiders(batch_harness, "bob", "carol")))
    units = chain.fee_units(honest)
    built(alice, honest, units=units)
    bad = change(honest)
    assert refusal(lambda: built(alice, bad, units=units)) is reason


def test_a_batch_to_a_forbidden_destination_is_not_built(batch_harness: ChainHarness) -> None:
    alice, chain = payer(batch_harness), batch_harness.chain
    three = some(batch_harness, 3)
    honest = alice.batch(*((who, three) for who in outsiders(batch_harness, "bob", "carol")))
    units = chain.fee_units(honest)
    forbidden = batch_harness.bad_addresses()["zero"][0]
    bad = replace(honest, items=(honest.items[0], SpendItem("wd_1", forbidden, three)))
    assert refusal(lambda: built(alice, bad, units=units)) is Reason.FORBIDDEN_DESTINATION
