"""What following a chain of coins writes down, and what a fork undoes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chains.base import NATIVE
from chains.fake import FakeCoinChain, FakeWorld
from core.ids import CustomerNo
from custody import chain_state, deposit_rows, pending
from custody.deposit_rows import Deposit, DepositState
from custody.wallets import coins
from custody.wallets.coins import OwnCoin
from custody.withdrawals.states import WithdrawalState
from indexers import follow, reconcile
from tests.support.house import House, open_house


@pytest.fixture
def world() -> FakeWorld:
    """Return a world of coins that calls blocks final two below its head."""
    return FakeWorld(finality_depth=2, spends_coins=True)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    """Open the platform over it; its hot wallet holds one coin."""
    assets = [
        replace(spec, deposit_minimum=1_000, withdrawal_minimum=10, withdrawal_fee=50)
        for spec in world.listed_assets()
    ]
    chain = FakeCoinChain(world)
    chain.bands = ((1_000_000, 3),)
    with open_house(database_url, chain, assets) as opened:
        world.fund(opened.own_address("hot"), 10**9)
        world.mine(3)
        opened.run(2)
        yield opened


def deposits_of(house: House, customer_no: CustomerNo) -> list[Deposit]:
    with house.platform.db.read() as conn:
        return deposit_rows.list_deposits(conn, customer_no=customer_no)


def coin(house: House, tx_id: str) -> OwnCoin | None:
    with house.platform.db.read() as conn:
        return coins.get(conn, house.home.chain.traits.chain, f"{tx_id}:0")


def waiting(house: House, customer_no: CustomerNo | None = None) -> list[str]:
    with house.platform.db.read() as conn:
        return [row.tx_id for row in pending.of_customer(conn, customer_no)]


def test_a_block_writes_down_the_coins_it_makes_for_us(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    tx_id = world.pay(house.address(alice), NATIVE, 5_000)
    ref = world.mine()
    house.run(2)
    found = coin(house, tx_id)
    assert found is not None
    assert (found.coin.amount, found.account, found.height) == (5_000, "deposits", ref.height)
    assert found.used_tx is None


def test_a_large_amount_waits_for_more_final_blocks(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    world.pay(address, NATIVE, 999_999)
    world.pay(address, NATIVE, 1_000_000)
    world.mine(3)
    house.run(3)
    assert house.balance(alice, NATIVE) == 999_999
    small, large = deposits_of(house, alice)
    assert (small.state, large.state) == (DepositState.CREDITED, DepositState.COUNTING)
    assert (small.extra_depth, large.extra_depth) == (0, 3)
    world.mine(2)
    house.run(3)
    assert house.balance(alice, NATIVE) == 999_999
    world.mine()
    house.run(3)
    assert house.balance(alice, NATIVE) == 1_999_999


def test_a_fork_undoes_what_its_blocks_made(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    tx_id = world.pay(house.address(alice), NATIVE, 5_000)
    world.mine()
    house.run(1)
    assert coin(house, tx_id) is not None
    world.reorg(1)
    house.run(1)
    assert coin(house, tx_id) is None
    assert [row.state for row in deposits_of(house, alice)] == [DepositState.ORPHANED]


def test_a_deposit_whose_input_went_to_another_in_the_fork_is_never_credited(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    tx_id = world.pay(house.address(alice), NATIVE, 5_000, uses="coin of mallory")
    world.mine()
    house.run(1)
    world.reorg(1, to_pool=True)
    world.pay(world.outsider("mallory"), NATIVE, 5_000, uses="coin of mallory")
    world.mine(20)
    house.run(6)
    assert [row.state for row in deposits_of(house, alice)] == [DepositState.ORPHANED]
    assert house.balance(alice, NATIVE) == 0
    assert coin(house, tx_id) is None
    with house.platform.db.read() as conn:
        assert coins.unused(conn, house.home.chain.traits.chain, account="deposits") == []


def test_the_same_deposit_on_both_branches_is_credited_once(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    tx_id = world.pay(house.address(alice), NATIVE, 5_000)
    world.mine()
    house.run(1)
    world.reorg(1, keep=lambda found: found == tx_id)
    world.mine(4)
    house.run(4)
    assert house.balance(alice, NATIVE) == 5_000
    found = coin(house, tx_id)
    assert found is not None
    assert world.block(found.height).receipts[0].tx_id == tx_id


def test_what_waits_is_shown_and_counts_nowhere(house: House, world: FakeWorld) -> None:
    alice, bob = house.customer("alice"), house.customer("bob")
    tx_id = world.pay(house.address(alice), NATIVE, 5_000)
    world.pay(house.own_address("hot"), NATIVE, 5_000)
    house.run(2)
    assert waiting(house, alice) == waiting(house) == [tx_id]
    assert waiting(house, bob) == []
    assert deposits_of(house, alice) == []
    assert house.balance(alice, NATIVE) == 0


def test_what_was_replaced_or_forgotten_is_shown_no_more(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    world.pay(address, NATIVE, 5_000, uses="coin of mallory")
    forgotten = world.pay(address, NATIVE, 6_000)
    house.run(1)
    assert len(waiting(house, alice)) == 2
    world.pay(world.outsider("mallory"), NATIVE, 5_000, uses="coin of mallory")
    world.drop(forgotten)
    house.run(1)
    assert waiting(house, alice) == []
    world.mine(5)
    house.run(3)
    assert deposits_of(house, alice) == []


def test_what_a_block_holds_waits_no_more_even_if_a_late_answer_says_so(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 5_000)
    house.run(1)
    late = world.waiting_payments()
    assert len(waiting(house, alice)) == 1
    world.mine()
    chain = house.home.chain
    follow.step(house.platform.db, chain, clock=house.clock)
    assert waiting(house, alice) == []
    house.platform.db.run(
        lambda conn: pending.replace_all(conn, chain.traits.chain, late, now_ns=0)
    )
    assert waiting(house, alice) == []


def test_a_flood_of_waiting_payments_fills_a_bounded_table(house: House, world: FakeWorld) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    first = world.pay(address, NATIVE, 1)
    house.run(1)
    for _ in range(pending.PENDING_MAX + 20):
        world.pay(address, NATIVE, 1)
    house.run(1)
    shown = waiting(house, alice)
    assert first in shown
    assert len(shown) == pending.SHOWN_MAX
    with house.platform.db.read() as conn:
        names = pending._names(conn, house.home.chain.traits.chain)
    assert len(names) == pending.PENDING_MAX


def test_coins_that_are_not_what_the_node_says_are_an_incident(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    address = house.address(alice)
    world.pay(address, NATIVE, 5_000)
    world.mine(3)
    house.run(3)
    chain, db = house.home.chain, house.platform.db
    assert reconcile.reconcile(db, chain).holds
    db.run(lambda conn: conn.execute(coins.coins.delete().where(coins.coins.c.address == address)))
    found = reconcile.step(db, chain, clock=house.clock)
    assert not found.holds
    assert found.unexplained == [f"coins of {address}: 5000"]
    with db.read() as conn:
        (incident,) = chain_state.open_incidents(conn)
    assert (incident.kind, incident.detail) == ("unexplained_balance", found.unexplained[0])


def test_what_a_withdrawal_brings_back_is_change_and_no_deposit(
    house: House, world: FakeWorld
) -> None:
    alice = house.customer("alice")
    world.pay(house.address(alice), NATIVE, 500_000)
    world.mine(3)
    house.run(3)
    asked = house.withdraw(alice, NATIVE, 100_000, world.outsider("shop"))
    house.run(1)
    house.approve(asked.withdrawal_id)
    for _ in range(5):
        house.run(2)
        world.mine(1)
    house.run(2)
    assert house.withdrawal(asked.withdrawal_id).state is WithdrawalState.CONFIRMED
    with house.platform.db.read() as conn:
        own = deposit_rows.list_deposits(conn)
    assert [row.amount for row in own if row.account == "hot"] == [10**9]
    assert reconcile.reconcile(house.platform.db, house.home.chain).holds
