"""Money goes the whole way on the scripted chain, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from custody.ledger.audit import audit
from custody.withdrawals.states import WithdrawalState
from indexers.reconcile import reconcile
from tests.support.house import GAS, HOT, House, open_house


@pytest.fixture
def world() -> FakeWorld:
    made = FakeWorld(finality_depth=2)
    made.add_token("TOK")
    return made


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    with open_house(database_url, FakeChain(world), world.listed_assets()) as opened:
        yield opened


def test_a_deposit_is_credited_swept_and_withdrawn(house: House, world: FakeWorld) -> None:
    (token,) = [spec.key for spec in world.listed_assets() if spec.key != NATIVE]
    world.fund(house.own_address(HOT), 10**9)
    world.fund(house.own_address(GAS), 10**9)
    alice = house.customer("alice")
    address = house.address(alice)
    world.mine()
    house.run()
    world.pay(address, token, 5_000_000)
    world.pay(address, NATIVE, 7_000_000)
    world.mine(3)
    house.run()
    assert house.balance(alice, token) == 5_000_000
    assert house.balance(alice, NATIVE) == 7_000_000
    for _ in range(4):
        world.mine(3)
        house.run()
    chain = house.home.chain
    head = chain.head()
    assert chain.balance_of(house.own_address(HOT), token, head) == 5_000_000
    outside = world.outsider("bob")
    row = house.withdraw(alice, token, 1_000_000, outside)
    house.run()
    house.approve(row.withdrawal_id)
    for _ in range(4):
        house.run()
        world.mine(3)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    house.run()
    assert chain.balance_of(outside, token, chain.head()) == 1_000_000
    assert house.problems == []
    result = reconcile(house.platform.db, chain)
    assert result.holds, [line for line in result.lines if line.unexplained]
    with house.platform.db.read() as conn:
        assert audit(conn) == []
