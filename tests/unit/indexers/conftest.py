"""A house on the scripted chain that spends coins, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chains.fake import FakeCoinChain, FakeWorld
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
