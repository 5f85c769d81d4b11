"""Deposits of many addresses leave in one transaction; what may not leave stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chains.base import NATIVE, SpendKind
from chains.fake import FakeCoinChain, FakeWorld
from core.ids import DepositId
from custody.fee_history import HOURS_LEAST, fee_hours
from custody.spending import claims, rows, sweep_items
from custody.spending.rows import Spend, SpendState
from custody.wallets import coins
from indexers import reconcile
from sweeper.policy import SweepRules
from tests.support.house import House, open_house

HOUR_NS = 3_600 * 10**9


@pytest.fixture
def coin_world() -> FakeWorld:
    """Return a world of coins that calls blocks final two below its head."""
    return FakeWorld(finality_depth=2, spends_coins=True)


@pytest.fixture
def coin_house(database_url: str, coin_world: FakeWorld) -> Iterator[House]:
    """Open the platform over it."""
    assets = [
        replace(spec, deposit_minimum=100, sweep_minimum=1_000)
        for spec in coin_world.listed_assets()
    ]
    rules = SweepRules(rate_max=100, inputs_max=8)
    with open_house(database_url, FakeCoinChain(coin_world), assets, sweeps=rules) as opened:
        coin_world.mine(3)
        opened.run(2)
        yield opened


def sweeps(house: House) -> list[Spend]:
    with house.platform.db.read() as conn:
        found = rows.all_of(conn, house.home.chain.traits.chain)
    return [spend for spend in found if spend.kind is SpendKind.SWEEP]


def settle(house: House, world: FakeWorld, rounds: int = 4) -> None:
    for _ in range(rounds):
        house.run(2)
        world.mine(2)
    house.run(2)


def deposit(house: House, world: FakeWorld, *amounts: int) -> None:
    for number, amount in enumerate(amounts):
        customer_no = house.customer(f"customer {number} {world.head.ref.height}")
        world.pay(house.address(customer_no), NATIVE, amount)
    world.mine(3)


def unused(house: House, account: str) -> list[int]:
    with house.platform.db.read() as conn:
        chain = house.home.chain.traits.chain
        return sorted(one.coin.amount for one in coins.unused(conn, chain, account=account))


def test_many_deposits_leave_in_one_transaction_and_each_pays_its_share(
    coin_house: House, coin_world: FakeWorld
) -> None:
    house, world = coin_house, coin_world
    deposit(house, world, 50_000, 30_000, 20_000)
    settle(house, world)
    (spend,) = sweeps(house)
    assert spend.state is SpendState.CONFIRMED
    assert spend.fee_paid is not None
    assert spend.amount + spend.fee_paid == 100_000
    assert unused(house, "hot") == [spend.amount]
    assert unused(house, "deposits") == []
    with house.platform.db.read() as conn:
        items = sweep_items.of(conn, spend.spend_id)
    assert sorted(amount for _, amount in items) == [20_000, 30_000, 50_000]
    assert reconcile.reconcile(house.platform.db, house.home.chain).holds
    settle(house, world)
    assert len(sweeps(house)) == 1


def test_dust_never_travels_with_anything(coin_house: House, coin_world: FakeWorld) -> None:
    house, world = coin_house, coin_world
    mallory = house.address(house.customer("mallory"))
    for _ in range(50):
        world.pay(mallory, NATIVE, 546)
    deposit(house, world, 50_000)
    settle(house, world)
    (spend,) = sweeps(house)
    with house.platform.db.read() as conn:
        (only,) = sweep_items.of(conn, spend.spend_id)
    assert only[1] == 50_000
    assert unused(house, "deposits") == [546] * 50


def test_only_final_coins_are_swept(coin_house: House, coin_world: FakeWorld) -> None:
    house, world = coin_house, coin_world
    customer_no = house.customer("alice")
    world.pay(house.address(customer_no), NATIVE, 50_000)
    world.mine(2)
    house.run(4)
    assert sweeps(house) == []
    world.mine()
    house.run(2)
    assert len(sweeps(house)) == 1


def test_nothing_is_swept_while_fees_are_above_what_they_usually_are(
    coin_house: House, coin_world: FakeWorld
) -> None:
    house, world = coin_house, coin_world
    for _ in range(HOURS_LEAST):
        house.run(1)
        house.clock.advance(HOUR_NS)
    with house.platform.db.read() as conn:
        assert len(conn.execute(fee_hours.select()).all()) == HOURS_LEAST
    world.set_base_rate(20)
    deposit(house, world, 50_000)
    settle(house, world)
    assert sweeps(house) == []
    world.set_base_rate(10)
    settle(house, world)
    assert len(sweeps(house)) == 1


def test_a_sweep_that_is_never_mined_is_cancelled_and_its_coins_are_swept_later(
    coin_house: House, coin_world: FakeWorld
) -> None:
    house, world = coin_house, coin_world
    deposit(house, world, 50_000, 30_000)
    house.run(4)
    (spend,) = sweeps(house)
    assert spend.state is SpendState.BROADCAST
    world.set_base_rate(45)  # above what it pays, and all it may pay
    house.clock.advance(house.home.patience.give_up_after_ns)
    settle(house, world, rounds=6)
    first = sweeps(house)[0]
    assert (first.state, first.failure) == (SpendState.FAILED, "waited_too_long")
    assert first.fee_paid
    world.set_base_rate(10)
    settle(house, world, rounds=6)
    assert [spend.state for spend in sweeps(house)[1:]] == [SpendState.CONFIRMED]
    assert sum(unused(house, "hot")) == 80_000 - sum(one.fee_paid or 0 for one in sweeps(house))
    assert unused(house, "deposits") == []
    assert reconcile.reconcile(house.platform.db, house.home.chain).holds


def test_a_deposit_whose_coin_a_spend_holds_is_in_no_second_sweep(
    coin_house: House, coin_world: FakeWorld
) -> None:
    house, world = coin_house, coin_world
    deposit(house, world, 50_000)
    house.run(2)
    deposit(house, world, 40_000)
    house.run(2)
    first, second = sweeps(house)
    chain = house.home.chain.traits.chain
    with house.platform.db.read() as conn:
        held = [claims.of(conn, one.spend_id) for one in (first, second)]
        gathered = [sweep_items.of(conn, one.spend_id) for one in (first, second)]
        assert claims.held(conn, chain) == {*held[0], *held[1]}
    assert not set(held[0]) & set(held[1])
    names: list[DepositId] = [name for some in gathered for name, _ in some]
    assert len(names) == len(set(names)) == 2


def test_what_two_cancelled_sweeps_brought_back_to_one_address_is_all_swept(
    coin_house: House, coin_world: FakeWorld
) -> None:
    house, world = coin_house, coin_world
    address = house.address(house.customer("alice"))
    for amount in (50_000, 30_000):
        world.pay(address, NATIVE, amount)
    world.mine(3)
    travel_with(house, 1)
    house.run(4)
    assert [spend.state for spend in sweeps(house)] == [SpendState.BROADCAST] * 2
    world.set_base_rate(45)
    house.clock.advance(house.home.patience.give_up_after_ns)
    settle(house, world, rounds=6)
    assert {spend.state for spend in sweeps(house)[:2]} == {SpendState.FAILED}
    travel_with(house, 2)  # what failed once travels with half as many: alone
    world.set_base_rate(10)
    settle(house, world, rounds=6)
    assert unused(house, "deposits") == []
    assert reconcile.reconcile(house.platform.db, house.home.chain).holds


def travel_with(house: House, inputs_max: int) -> None:
    """Let each sweep gather at most so many coins from now on."""
    object.__setattr__(house.home.sweeps, "inputs_max", inputs_max)
