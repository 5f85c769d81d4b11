"""A wallet of coins moves to new keys: what its retired keys hold is not left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.bootstrap import account_keys, prepare, with_chain
from chains.fake import FakeCoinChain, FakeWorld
from custody.keys.desk import KeyDesk
from custody.keys.roster import Rotation, sign_approval
from custody.keys.roster_files import RosterChain
from custody.keys.rotation import accounts_in_use
from custody.spending import claims, rotations, rows
from custody.spending.rows import Spend, SpendState
from custody.wallets import coins
from custody.wallets.addresses import DEPOSITS
from custody.wallets.inventory import OWN_WALLETS
from indexers.reconcile import reconcile
from tests.support.house import HOT, House, officer_key, open_house
from tests.unit.custody.keys.officers import next_roster

MILLION = 1_000_000
FEE = 100_000


@pytest.fixture
def world() -> FakeWorld:
    """Return a world of coins that calls blocks final two below its head."""
    return FakeWorld(finality_depth=2, spends_coins=True)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    """Open the platform over it; the hot wallet has three coins."""
    with open_house(database_url, FakeCoinChain(world), world.listed_assets()) as opened:
        for amount in (5 * MILLION, 2 * MILLION, MILLION):
            world.fund(opened.own_address(HOT), amount)
        settle(opened, world)
        yield opened


def settle(house: House, world: FakeWorld, rounds: int = 3) -> None:
    for _ in range(rounds):
        house.run(2)
        world.mine(2)
    house.run(2)


def retire_hot(house: House) -> None:
    """Start signer and platform anew under a roster that retires the hot wallet's first keys."""
    platform, chain = house.platform, house.home.chain.traits.chain
    roster = next_roster(platform.roster, rotations=(Rotation(chain, HOT, 2),))
    desk = platform.signer
    assert isinstance(desk, KeyDesk)
    guards = {name: replace(guard, roster=roster) for name, guard in desk.guards.items()}
    signer = replace(desk, guards=guards)
    keys = account_keys(
        lambda account: signer.account_xpub(chain, account),
        [DEPOSITS, *accounts_in_use(roster, chain, OWN_WALLETS)],
    )
    house.home = replace(house.home, keys=keys)
    versions = RosterChain((*platform.rosters.versions, roster))
    house.platform = with_chain(
        replace(platform, rosters=versions, signer=signer), chain, house.home
    )
    prepare(house.platform, assets=(), markets=())


def moved(house: House, name: str) -> Spend:
    """Ask for a move of everything, have two officers approve it, and plan it; twice."""
    platform, chain = house.platform, house.home.chain
    (intent,) = rotations.ask(
        platform.db, chain, HOT, roster=platform.roster, rotation_id=name, initiator="olga",
        fee_max=FEE, expires_ns=platform.clock.now_ns() + 10**15,
    )  # fmt: skip
    given = [sign_approval(officer_key(person), intent) for person in ("ada", "ben")]
    first, second = (
        rotations.carry_out(
            platform.db, chain, HOT, intent, given, roster=platform.roster, clock=platform.clock
        )
        for _ in range(2)
    )
    assert first == second
    return first


def test_all_coins_of_retired_keys_move_to_the_present_ones(house: House, world: FakeWorld) -> None:
    chain = house.home.chain.traits.chain
    old = house.own_address(HOT)
    retire_hot(house)
    spend = moved(house, "rot-1")
    with house.platform.db.read() as conn:
        assert len(claims.of(conn, spend.spend_id)) == 3
    settle(house, world)
    with house.platform.db.read() as conn:
        done = rows.get(conn, spend.spend_id)
        left = sum(one.coin.amount for one in coins.unused(conn, chain, address=old))
        new = sum(one.coin.amount for one in coins.unused(conn, chain, account="hot.2"))
    assert done.state is SpendState.CONFIRMED
    assert new == 8 * MILLION - FEE
    assert left < FEE
    assert reconcile(house.platform.db, house.home.chain).holds
