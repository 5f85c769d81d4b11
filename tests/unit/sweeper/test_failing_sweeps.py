"""A sweep that fails on chain costs a fee each time; it is not tried again at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chains.base import NATIVE, SpendKind
from chains.fake import FakeChain, FakeWorld
from core.clock import SECOND_NS
from custody.spending import rows
from custody.spending.rows import Spend, SpendState
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


def sweeps(house: House) -> list[Spend]:
    with house.platform.db.read() as conn:
        found = rows.all_of(conn, house.home.chain.traits.chain)
    return [spend for spend in found if spend.kind is SpendKind.SWEEP]


def test_a_failed_sweep_rests_and_then_goes_through(house: House, world: FakeWorld) -> None:
    (token,) = [spec.key for spec in world.listed_assets() if spec.key != NATIVE]
    for account in (HOT, GAS):
        world.fund(house.own_address(account), 10**9)
    world.refuse_transfers_to(house.own_address(HOT))
    world.pay(house.address(house.customer("alice")), token, 5_000)
    for _ in range(12):
        world.mine(3)
        house.run(2)
    assert [spend.state for spend in sweeps(house)] == [SpendState.FAILED]
    world.refuse_transfers_to()
    house.clock.advance(601 * SECOND_NS)
    for _ in range(6):
        world.mine(3)
        house.run(2)
    assert [spend.state for spend in sweeps(house)] == [SpendState.FAILED, SpendState.CONFIRMED]
