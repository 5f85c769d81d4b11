"""The scripted chain where it spends coins: what it takes, what it forgets, what it undoes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from coincurve import PrivateKey

from chains.base import (
    NATIVE,
    BroadcastOutcome,
    Coin,
    FeeRate,
    SignedTx,
    SpendIntent,
    SpendKind,
)
from chains.fake import FakeCoinChain, FakeWorld, Fault, FaultKind, FaultScript
from chains.fake.faults import COIN_READS
from core.errors import Reason, Refused, Unavailable

KEY = PrivateKey(bytes(31) + b"\x07")
LOW, HIGH = FeeRate(max_rate=20, tip_rate=2), FeeRate(max_rate=40, tip_rate=4)


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(spends_coins=True)


@pytest.fixture
def script() -> FaultScript:
    return FaultScript()


@pytest.fixture
def chain(world: FakeWorld, script: FaultScript) -> FakeCoinChain:
    return FakeCoinChain(world, faults=script)


@pytest.fixture
def owner(chain: FakeCoinChain) -> str:
    return chain.address_of(KEY.public_key.format())


def coin_of(world: FakeWorld, owner: str, amount: int) -> Coin:
    tx_id = world.fund(owner, amount)
    return Coin(f"{tx_id}:0", owner, amount)


def intent(chain: FakeCoinChain, source: str, to: str, amount: int) -> SpendIntent:
    return SpendIntent(
        "sp_1", SpendKind.WITHDRAWAL, "wd_1", chain.traits.chain, chain.traits.network, NATIVE,
        source, to, amount, 10**9,
    )  # fmt: skip


def signed(
    chain: FakeCoinChain, wanted: SpendIntent, coins: list[Coin], *, rate: FeeRate = LOW
) -> SignedTx:
    units = chain.fee_units(wanted, coins)
    built = chain.build(wanted, nonce=0, rate=rate, units=units, coins=coins)
    decoded = chain.decode(built.payload, sender=wanted.source)
    signature = b"".join(KEY.sign_recoverable(one.digest, hasher=None) for one in decoded.inputs)
    return chain.assemble(built, signature)


def test_change_comes_back_and_every_unit_is_somewhere(
    world: FakeWorld, chain: FakeCoinChain, owner: str
) -> None:
    bob = world.outsider("bob")
    coins = [coin_of(world, owner, 5_000), coin_of(world, owner, 7_000)]
    made = signed(chain, intent(chain, owner, bob, 9_000), coins)
    assert chain.broadcast(made.raw).outcome is BroadcastOutcome.ACCEPTED
    ref = world.mine()
    status = chain.tx_status(made.tx_id)
    assert (status.succeeded, status.effect_amount) == (True, 9_000)
    assert chain.balance_of(bob, NATIVE, ref) == 9_000
    assert chain.balance_of(owner, NATIVE, ref) == 12_000 - 9_000 - status.fee
    assert chain.spent_coins([coin.outpoint for coin in coins], ref) == {
        coin.outpoint for coin in coins
    }
    block = chain.block_at(ref.height)
    assert block is not None
    assert chain.used_in(block, {coins[0].outpoint}) == {coins[0].outpoint: made.tx_id}
    paid = chain.payments_in(block, {owner})
    assert [one.amount for one in paid] == [3_000 - status.fee]


def test_a_conflicting_transaction_takes_the_place_of_a_cheaper_one(
    world: FakeWorld, chain: FakeCoinChain, owner: str
) -> None:
    coin = coin_of(world, owner, 50_000)
    wanted = intent(chain, owner, world.outsider("bob"), 9_000)
    low, high = signed(chain, wanted, [coin]), signed(chain, wanted, [coin], rate=HIGH)
    assert chain.broadcast(high.raw).outcome is BroadcastOutcome.ACCEPTED
    assert chain.broadcast(low.raw).outcome is BroadcastOutcome.UNKNOWN
    assert world.pending() == (high.tx_id,)
    world.drop(high.tx_id)
    assert chain.broadcast(low.raw).outcome is BroadcastOutcome.ACCEPTED
    assert chain.broadcast(high.raw).outcome is BroadcastOutcome.ACCEPTED
    assert world.pending() == (high.tx_id,)


def test_what_waits_for_a_coin_that_fell_out_is_evicted(
    world: FakeWorld, chain: FakeCoinChain, owner: str
) -> None:
    tx_id = world.pay(owner, NATIVE, 50_000, uses="coin of mallory")
    world.mine()
    made = signed(
        chain, intent(chain, owner, world.outsider("bob"), 9_000),
        [Coin(f"{tx_id}:0", owner, 50_000)],
    )  # fmt: skip
    assert chain.broadcast(made.raw).outcome is BroadcastOutcome.ACCEPTED
    world.reorg(1, to_pool=True)
    assert made.tx_id in world.pending(), "its coin waits too"
    world.pay(world.outsider("mallory"), NATIVE, 50_000, uses="coin of mallory")
    world.mine()
    assert world.pending() == ()
    assert chain.broadcast(made.raw).outcome is BroadcastOutcome.UNKNOWN


def test_dust_is_never_chosen(chain: FakeCoinChain, owner: str) -> None:
    dust = [Coin(f"{index:064x}:0", owner, 140) for index in range(500)]
    good = Coin(f"{500:064x}:0", owner, 10_000)
    wanted = intent(chain, owner, owner, 1_000)
    assert chain.choose(wanted, [*dust, good], rate=LOW) == (good,)
    assert chain.choose(replace(wanted, kind=SpendKind.SWEEP), [*dust, good], rate=LOW) == (good,)
    with pytest.raises(Refused) as refused:
        chain.choose(wanted, dust, rate=LOW)
    assert refused.value.reason is Reason.EXCEEDS_AVAILABLE


def test_a_signature_of_another_key_is_not_taken(
    world: FakeWorld, chain: FakeCoinChain, owner: str
) -> None:
    coin = coin_of(world, owner, 50_000)
    wanted = intent(chain, owner, world.outsider("bob"), 9_000)
    built = chain.build(wanted, nonce=0, rate=LOW, units=50, coins=[coin])
    digest = chain.decode(built.payload, sender=owner).inputs[0].digest
    other = PrivateKey(bytes(31) + b"\x08").sign_recoverable(digest, hasher=None)
    with pytest.raises(Refused) as refused:
        chain.assemble(built, other)
    assert refused.value.reason is Reason.BAD_SIGNATURE
    assert world.submit(built.payload + other).outcome is BroadcastOutcome.REJECTED


def test_a_payment_below_the_rate_of_a_block_waits(
    world: FakeWorld, chain: FakeCoinChain, owner: str
) -> None:
    coin = coin_of(world, owner, 50_000)
    made = signed(chain, intent(chain, owner, world.outsider("bob"), 9_000), [coin])
    world.set_base_rate(21)
    chain.broadcast(made.raw)
    world.mine()
    assert chain.tx_status(made.tx_id).block is None
    world.set_base_rate(20)
    world.mine()
    assert chain.tx_status(made.tx_id).block is not None


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.NULL])
def test_every_question_about_coins_may_stay_without_answer(
    kind: FaultKind, world: FakeWorld, chain: FakeCoinChain, owner: str, script: FaultScript
) -> None:
    coin = coin_of(world, owner, 5_000)
    head = world.head.ref
    block = chain.block_at(head.height)
    assert block is not None
    calls: dict[str, Callable[[], object]] = {
        "used_in": lambda: chain.used_in(block, {coin.outpoint}),
        "pending": lambda: chain.pending({owner}),
        "spent_coins": lambda: chain.spent_coins([coin.outpoint], head),
    }
    assert set(calls) == COIN_READS
    for name, call in calls.items():
        call()
        script.plan(name, Fault(kind))
        with pytest.raises(Unavailable):
            call()
