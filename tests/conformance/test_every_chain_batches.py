"""Facts of batches that hold on every chain that has them: each item for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chains.base import (
    NATIVE,
    BroadcastOutcome,
    Effect,
    ItemStatus,
    SpendIntent,
    SpendItem,
    SpendKind,
    TxStatus,
)
from core.errors import Reason, Refused
from tests.conformance.harness import (
    BLOCKS_TO_FINAL,
    ChainHarness,
    Wallet,
    doubled,
    payments_at,
    refusal,
    wallet,
)


def payer(harness: ChainHarness, name: str = "alice") -> Wallet:
    """Return a wallet that can make batches, with coins and picky tokens."""
    alice = wallet(harness, name)
    harness.enable_batches(alice.key)
    harness.fund(alice.address, 1_000, harness.picky_token)
    return alice


def outsiders(harness: ChainHarness, *names: str) -> list[str]:
    return [harness.outsider(name) for name in names]


def sent(alice: Wallet, intent: SpendIntent, *, bumped: bool = False) -> str:
    """Build, sign and broadcast on the next nonce as custody does; return the transaction's id."""
    chain = alice.harness.chain
    nonce = chain.used_nonces(alice.address, chain.head())
    rate = doubled(chain.fee_rate()) if bumped else chain.fee_rate()
    units = chain.fee_units(intent)
    unsigned = chain.build(intent, nonce=nonce, rate=rate, units=units)
    signed = chain.assemble(unsigned, alice.sign(unsigned.digest))
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    return signed.tx_id


def landed(alice: Wallet, intent: SpendIntent) -> TxStatus:
    """Send a batch and mine it."""
    tx_id = sent(alice, intent)
    alice.harness.mine()
    return alice.harness.chain.tx_status(tx_id)


@pytest.mark.parametrize("is_token", [False, True])
def test_a_batch_reads_back_as_exactly_its_intent(is_token: bool, harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    asset = harness.picky_token if is_token else NATIVE
    bob, carol = outsiders(harness, "bob", "carol")
    intent = alice.batch((bob, 3), (carol, 4), (bob, 3), asset_key=asset)
    rate, units = chain.fee_rate(), chain.fee_units(intent)
    unsigned = chain.build(intent, nonce=7, rate=rate, units=units)
    decoded = chain.decode(unsigned.payload, sender=alice.address)
    assert decoded.effects == tuple(
        Effect(asset, to, n) for to, n in ((bob, 3), (carol, 4), (bob, 3))
    )
    assert (decoded.is_batch, decoded.nonce, decoded.network) == (True, 7, intent.network)
    assert (decoded.digest, decoded.fee_max) == (unsigned.digest, units * rate.max_rate)
    assert (unsigned.fee_max, chain.rate_of(unsigned.payload)) == (decoded.fee_max, rate)
    single = alice.intent(bob, 3, asset)
    plain = chain.build(single, nonce=7, rate=rate, units=harness.units)
    assert not chain.decode(plain.payload, sender=alice.address).is_batch
    for place in range(len(unsigned.payload)):
        mutant = bytearray(unsigned.payload)
        mutant[place] ^= 1
        try:
            other = chain.decode(bytes(mutant), sender=alice.address)
        except Refused:
            continue
        assert other != decoded, place


@pytest.mark.parametrize("is_token", [False, True])
def test_a_batch_pays_everybody_once(is_token: bool, harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    asset = harness.picky_token if is_token else NATIVE
    bob, carol = outsiders(harness, "bob", "carol")
    before = chain.balance_of(alice.address, NATIVE, chain.head())
    intent = alice.batch((bob, 30), (carol, 40), (bob, 50), asset_key=asset)
    assert chain.payable_items(intent) == (True, True, True)
    status = landed(alice, intent)
    assert (status.succeeded, status.block) == (True, chain.head())
    assert status.items == tuple(ItemStatus(paid=True, amount=n) for n in (30, 40, 50))
    assert status.effect_amount == 120
    after = chain.balance_of(alice.address, NATIVE, chain.head())
    assert before - after == status.fee + (0 if is_token else 120)
    assert [chain.balance_of(who, asset, chain.head()) for who in (bob, carol)] == [80, 40]
    payments = payments_at(chain, chain.head().height, bob, carol)
    assert sorted(p.amount for p in payments) == [30, 40, 50]
    assert len({p.position for p in payments}) == 3
    assert {(p.tx_id, p.from_address) for p in payments} == {(payments[0].tx_id, alice.address)}


def test_one_refused_recipient_fails_alone(harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    bob, mallory, carol = outsiders(harness, "bob", "mallory", "carol")
    intent = alice.batch((bob, 3), (mallory, 4), (carol, 5), asset_key=harness.picky_token)
    assert chain.payable_items(intent) == (True, True, True)
    harness.refuse(mallory)
    assert chain.payable_items(intent) == (True, False, True)
    status = landed(alice, intent)
    assert status.succeeded
    assert status.items == (ItemStatus(True, 3), ItemStatus(False, 0), ItemStatus(True, 5))
    assert status.effect_amount == 8
    assert chain.balance_of(mallory, harness.picky_token, chain.head()) == 0


def test_what_the_money_does_not_reach_for_fails_alone(harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    bob, carol, dora = outsiders(harness, "bob", "carol", "dora")
    intent = alice.batch((bob, 600), (carol, 600), (dora, 400), asset_key=harness.picky_token)
    assert chain.payable_items(intent) == (True, False, True)
    status = landed(alice, intent)
    assert [item.paid for item in status.items] == [True, False, True]
    assert chain.balance_of(alice.address, harness.picky_token, chain.head()) == 0


def test_the_units_of_a_batch_suffice_and_grow_with_its_items(harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    people = outsiders(harness, *(f"person {n}" for n in range(8)))
    units = [
        chain.fee_units(alice.batch(*((who, 1) for who in people[:count]), asset_key=asset))
        for asset in (NATIVE, harness.picky_token)
        for count in (1, 2, 4, 8)
    ]
    for at in (0, 4):
        assert units[at] < units[at + 1] < units[at + 2] < units[at + 3]
    status = landed(alice, alice.batch(*((who, 1) for who in people)))
    assert all(item.paid for item in status.items)
    assert len(status.items) == 8


def test_a_batch_and_its_replacement_or_cancellation_exclude_each_other(
    harness: ChainHarness,
) -> None:
    alice, chain = payer(harness), harness.chain
    bob, carol = outsiders(harness, "bob", "carol")
    intent = alice.batch((bob, 3), (carol, 4))
    nonce = chain.used_nonces(alice.address, chain.head())
    first, second = sent(alice, intent), sent(alice, intent, bumped=True)
    assert first != second
    harness.mine(2)
    assert (chain.tx_status(first).block, chain.tx_status(second).succeeded) == (None, True)
    assert chain.balance_of(bob, NATIVE, chain.head()) == 3
    assert chain.used_nonces(alice.address, chain.head()) == nonce + 1
    third = sent(alice, intent)
    cancelling = alice.intent(alice.address, 0, kind=SpendKind.CANCELLATION)
    fourth = sent(alice, cancelling, bumped=True)
    harness.mine(2)
    assert (chain.tx_status(third).block, chain.tx_status(fourth).succeeded) == (None, True)
    assert chain.tx_status(fourth).items == ()
    assert chain.balance_of(bob, NATIVE, chain.head()) == 3


def test_a_batch_in_a_block_that_is_replaced_has_paid_nobody(harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    bob, carol = outsiders(harness, "bob", "carol")
    tx_id = sent(alice, alice.batch((bob, 3), (carol, 4)))
    harness.mine()
    assert len(chain.tx_status(tx_id).items) == 2
    harness.reorg(1)
    status = chain.tx_status(tx_id)
    assert (status.block, status.items, status.effect_amount) == (None, (), 0)
    assert chain.balance_of(bob, NATIVE, chain.head()) == 0
    harness.mine(BLOCKS_TO_FINAL)


BAD: dict[str, tuple[Callable[[SpendIntent], SpendIntent], Reason]] = {
    "no items": (lambda b: replace(b, items=()), Reason.INTENT_MISMATCH),
    "another sum": (lambda b: replace(b, amount=b.amount + 1), Reason.INTENT_MISMATCH),
    "a withdrawal twice": (
        lambda b: replace(b, items=(b.items[0], replace(b.items[1], cause_id="wd_0"))),
        Reason.INTENT_MISMATCH,
    ),
    "nothing": (
        lambda b: replace(b, amount=3, items=(b.items[0], replace(b.items[1], amount=0))),
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
def test_what_is_no_batch_is_not_built(name: str, harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    change, reason = BAD[name]
    honest = alice.batch(*((who, 3) for who in outsiders(harness, "bob", "carol")))
    rate, units = chain.fee_rate(), chain.fee_units(honest)
    chain.build(honest, nonce=0, rate=rate, units=units)
    bad = change(honest)
    assert refusal(lambda: chain.build(bad, nonce=0, rate=rate, units=units)) is reason


def test_a_batch_to_a_forbidden_destination_is_not_built(harness: ChainHarness) -> None:
    alice, chain = payer(harness), harness.chain
    honest = alice.batch(*((who, 3) for who in outsiders(harness, "bob", "carol")))
    rate, units = chain.fee_rate(), chain.fee_units(honest)
    bad = replace(honest, items=(honest.items[0], SpendItem("wd_1", harness.token, 3)))
    found = refusal(lambda: chain.build(bad, nonce=0, rate=rate, units=units))
    assert found is Reason.FORBIDDEN_DESTINATION
