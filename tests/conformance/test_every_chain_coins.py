"""Facts of coins that hold on every chain whose transactions use them up."""

from __future__ import annotations

import pytest

from chains.base import NATIVE, Block, BroadcastOutcome, Coin, SpendKind
from core.errors import Reason, Unavailable
from tests.conformance.harness import (
    CoinHarness,
    Slot,
    Wallet,
    doubled,
    only,
    payments_at,
    refusal,
    some,
    wallet,
)


def head_block(harness: CoinHarness) -> Block:
    block = harness.chain.block_at(harness.chain.head().height)
    assert block is not None
    return block


def held(alice: Wallet, harness: CoinHarness) -> dict[str, int]:
    return {coin.outpoint: coin.amount for coin in harness.coins(alice.address)}


def test_a_payment_is_a_coin_named_by_transaction_and_place(coin_harness: CoinHarness) -> None:
    alice = wallet(coin_harness, coins=0)
    tx_id = coin_harness.pay(alice.address, NATIVE, some(coin_harness, 5))
    coin_harness.mine()
    (payment,) = payments_at(coin_harness.chain, head_block(coin_harness).ref.height, alice.address)
    assert payment.tx_id == tx_id
    assert held(alice, coin_harness) == {f"{tx_id}:{payment.position}": some(coin_harness, 5)}


def test_a_block_says_which_coins_it_uses_up_and_in_which_transaction(
    coin_harness: CoinHarness,
) -> None:
    alice, chain = wallet(coin_harness, coins=2), coin_harness.chain
    spent, kept = (coin.outpoint for coin in coin_harness.coins(alice.address))
    before = head_block(coin_harness)
    signed = alice.signed(coin_harness.outsider("bob"), some(coin_harness, 5))
    chain.broadcast(signed.raw)
    coin_harness.mine()
    block = head_block(coin_harness)
    assert chain.used_in(block, {spent, kept}) == {spent: signed.tx_id}
    assert chain.used_in(block, {kept}) == {}
    assert chain.used_in(block, ()) == {}
    assert chain.used_in(before, {spent, kept}) == {}
    assert coin_harness.connect().used_in(block, [spent]) == {spent: signed.tx_id}
    assert chain.spent_coins([spent, kept], chain.head()) == {spent}


def test_a_coin_made_and_used_in_one_block_is_seen_twice(coin_harness: CoinHarness) -> None:
    alice, bob = wallet(coin_harness), wallet(coin_harness, "bob", coins=0)
    chain, amount = coin_harness.chain, 50 * coin_harness.least
    first = alice.signed(bob.address, amount)
    chain.broadcast(first.raw)
    waiting = only(chain.pending([bob.address]))
    coin = f"{waiting.tx_id}:{waiting.position}"
    slot = Slot(coins=(Coin(coin, bob.address, amount),))
    second = bob.signed(coin_harness.outsider("carol"), some(coin_harness, 5), slot=slot)
    assert chain.broadcast(second.raw).outcome is BroadcastOutcome.ACCEPTED
    coin_harness.mine()
    block = head_block(coin_harness)
    made = {f"{one.tx_id}:{one.position}" for one in chain.payments_in(block, {bob.address})}
    assert coin in made
    assert chain.used_in(block, made) == {coin: second.tx_id}


def test_what_is_left_of_a_coin_comes_back_as_another_one(coin_harness: CoinHarness) -> None:
    alice, chain = wallet(coin_harness), coin_harness.chain
    before = only(coin_harness.coins(alice.address))
    signed = alice.signed(coin_harness.outsider("bob"), some(coin_harness, 5))
    chain.broadcast(signed.raw)
    coin_harness.mine()
    after = only(coin_harness.coins(alice.address))
    fee = chain.tx_status(signed.tx_id).fee
    assert after.outpoint.startswith(signed.tx_id)
    assert after.amount == before.amount - fee - some(coin_harness, 5)


def test_all_chosen_coins_are_used_and_no_other(coin_harness: CoinHarness) -> None:
    alice, chain = wallet(coin_harness, coins=4), coin_harness.chain
    coins = coin_harness.coins(alice.address)
    bob, rate = coin_harness.outsider("bob"), chain.fee_rate()
    intent = alice.intent(bob, 2 * coin_harness.coin + some(coin_harness, 5))
    chosen = chain.choose(intent, coins, rate=rate)
    assert set(chosen) <= set(coins)
    assert len(chosen) == 3
    unsigned = alice.unsigned(intent, slot=Slot(coins=chosen), rate=rate)
    decoded = chain.decode(unsigned.payload, sender=alice.address)
    assert {one.outpoint: one.amount for one in decoded.inputs} == {
        coin.outpoint: coin.amount for coin in chosen
    }
    assert {one.owner for one in decoded.inputs} == {alice.address}
    assert chain.broadcast(alice.assembled(unsigned).raw).outcome is BroadcastOutcome.ACCEPTED
    coin_harness.mine()
    assert chain.used_in(
        head_block(coin_harness), {coin.outpoint for coin in coins}
    ) == dict.fromkeys((coin.outpoint for coin in chosen), alice.assembled(unsigned).tx_id)
    too_much = alice.intent(bob, 4 * coin_harness.coin)
    found = refusal(lambda: chain.choose(too_much, coins, rate=rate))
    assert found is Reason.EXCEEDS_AVAILABLE


def test_a_sweep_takes_every_coin_and_leaves_no_change(coin_harness: CoinHarness) -> None:
    alice, chain = wallet(coin_harness, coins=3), coin_harness.chain
    coins, rate = coin_harness.coins(alice.address), chain.fee_rate()
    to = coin_harness.outsider("hot")
    intent = alice.intent(to, coin_harness.coin, kind=SpendKind.SWEEP)
    chosen = chain.choose(intent, coins, rate=rate)
    assert set(chosen) == set(coins)
    fee = rate.max_rate * chain.fee_units(intent, chosen)
    sweep = alice.intent(to, 3 * coin_harness.coin - fee, kind=SpendKind.SWEEP)
    unsigned = alice.unsigned(sweep, slot=Slot(coins=chosen), rate=rate)
    signed = alice.assembled(unsigned)
    assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
    coin_harness.mine()
    assert chain.balance_of(alice.address, NATIVE, chain.head()) == 0
    assert chain.balance_of(to, NATIVE, chain.head()) == sweep.amount
    status = chain.tx_status(signed.tx_id)
    assert (status.fee, status.effect_amount) == (fee, sweep.amount)


def test_what_waits_is_shown_and_gone_when_it_is_replaced_or_mined(
    coin_harness: CoinHarness,
) -> None:
    alice, chain = wallet(coin_harness), coin_harness.chain
    bob, carol = coin_harness.outsider("bob"), coin_harness.outsider("carol")
    slot, rate = coin_harness.slot(alice.address), chain.fee_rate()
    assert list(chain.pending([bob, carol])) == []
    first = alice.signed(bob, some(coin_harness, 5), slot=slot, rate=rate)
    chain.broadcast(first.raw)
    shown = only(chain.pending({bob, carol}))
    assert (shown.tx_id, shown.to_address, shown.amount) == (
        first.tx_id,
        bob,
        some(coin_harness, 5),
    )
    second = alice.signed(carol, some(coin_harness, 6), slot=slot, rate=doubled(rate))
    chain.broadcast(second.raw)
    shown = only(chain.pending({bob, carol}))
    assert (shown.tx_id, shown.to_address) == (second.tx_id, carol)
    assert chain.balance_of(carol, NATIVE, chain.head()) == 0
    coin_harness.mine()
    assert list(chain.pending({bob, carol})) == []
    assert chain.balance_of(carol, NATIVE, chain.head()) == some(coin_harness, 6)


def test_what_a_blocks_maker_gets_is_a_payment_when_it_can_be_spent(
    coin_harness: CoinHarness,
) -> None:
    alice, chain = wallet(coin_harness, coins=0), coin_harness.chain
    coin_harness.mine_to(alice.address)
    made = chain.head().height
    coin_harness.mine(coin_harness.ripening - 1)
    for height in range(made, made + coin_harness.ripening):
        assert payments_at(chain, height, alice.address) == []
    assert chain.balance_of(alice.address, NATIVE, chain.head()) == 0
    coin_harness.mine()
    (payment,) = payments_at(chain, made + coin_harness.ripening, alice.address)
    assert payment.amount > 0
    assert chain.balance_of(alice.address, NATIVE, chain.head()) == payment.amount


def test_a_coin_that_was_reorganised_out_is_unspent_again(coin_harness: CoinHarness) -> None:
    alice, chain = wallet(coin_harness), coin_harness.chain
    coin = only(coin_harness.coins(alice.address))
    signed = alice.signed(coin_harness.outsider("bob"), some(coin_harness, 5))
    chain.broadcast(signed.raw)
    coin_harness.mine()
    old = head_block(coin_harness)
    assert held(alice, coin_harness).get(coin.outpoint) is None
    coin_harness.reorg(1)
    assert held(alice, coin_harness) == {coin.outpoint: coin.amount}
    for height in (old.ref.height, old.ref.height + 1):
        block = chain.block_at(height)
        assert block is not None
        assert chain.used_in(block, {coin.outpoint}) == {}


def test_a_coin_that_nobody_ever_saw_is_unavailable(coin_harness: CoinHarness) -> None:
    alice, chain = wallet(coin_harness), coin_harness.chain
    coin = only(coin_harness.coins(alice.address))
    assert chain.spent_coins([coin.outpoint], chain.head()) == frozenset()
    with pytest.raises(Unavailable):
        chain.spent_coins([f"{'ab' * 32}:0"], chain.head())
