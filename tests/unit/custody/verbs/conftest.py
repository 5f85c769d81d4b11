"""A house on the scripted chain, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chains.base import NATIVE, AssetSpec
from chains.fake import FakeChain, FakeWorld
from tests.support.house import House, open_house

MINIMUM = 1_000
FEE = 50


def priced(spec: AssetSpec) -> AssetSpec:
    """Return an asset with a deposit minimum and a withdrawal fee."""
    return replace(
        spec, deposit_minimum=MINIMUM, withdrawal_minimum=10, withdrawal_fee=FEE,
        sweep_minimum=1,
    )  # fmt: skip


@pytest.fixture
def world() -> FakeWorld:
    """Return a world that calls blocks final two below its head."""
    made = FakeWorld(finality_depth=2)
    made.add_token("TOK")
    return made


@pytest.fixture
def assets(world: FakeWorld) -> tuple[AssetSpec, ...]:
    """Return the listed assets: the native coin and one token."""
    return tuple(priced(spec) for spec in world.listed_assets())


@pytest.fixture
def token(assets: tuple[AssetSpec, ...]) -> str:
    """Return the token's key."""
    (key,) = [spec.key for spec in assets if spec.key != NATIVE]
    return key


@pytest.fixture
def house(database_url: str, world: FakeWorld, assets: tuple[AssetSpec, ...]) -> Iterator[House]:
    """Open the platform; its own wallets hold money."""
    with open_house(database_url, FakeChain(world), assets) as opened:
        world.fund(opened.own_address("hot"), 10**9)
        world.fund(opened.own_address("gas"), 10**9)
        world.mine(3)
        opened.run(2)
        yield opened
