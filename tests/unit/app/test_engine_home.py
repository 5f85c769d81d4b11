"""The engine is told what is listed, and nothing that it knows already."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app.bootstrap import Platform
from app.engine_home import SnapshotKeeper, configure, open_engine, plan_listing
from chains.base import AssetSpec
from core.clock import SECOND_NS, ManualClock
from core.entropy import SeededEntropy
from core.errors import Corrupt, OutcomeUnknown, Unavailable
from core.ids import AssetNo, ChainId, MarketNo
from custody import catalogue, lease, settlement
from custody.catalogue import MarketRow
from custody.db import Database
from custody.keys.desk import KeyDesk
from custody.keys.roster_files import RosterChain
from custody.lease import LeaseLost
from engine.market import Market
from engine.simulated_files import SimulatedStorage
from engine.snapshot import snapshot_names
from engine.types import (
    AddAsset,
    AddMarket,
    CancelReason,
    Credit,
    HaltMarket,
    MarketRetired,
    MarketStatus,
    OrderAccepted,
    OrderCancelled,
    PlaceOrder,
    RetireMarket,
    SetMarketCollar,
    SetMarketFees,
    Side,
)
from tests.support.house import make_roster

ROW = MarketRow(
    market_no=MarketNo(1),
    name="A-B",
    base_asset_no=AssetNo(1),
    quote_asset_no=AssetNo(2),
    tick_minor=5,
    lot_minor=7,
    maker_ppm=10,
    taker_ppm=20,
)
KNOWN = Market(
    market_no=1,
    base_asset_no=1,
    quote_asset_no=2,
    tick_minor=5,
    lot_minor=7,
    maker_ppm=10,
    taker_ppm=20,
)


def spec(key: str) -> AssetSpec:
    """Return an asset whose limits do not matter."""
    return AssetSpec(ChainId("fake"), key, key.upper(), 6, 1, 1, 1, 1)


@pytest.fixture
def platform(database_url: str) -> Iterator[Platform]:
    db = Database.open(database_url)
    db.create_all()
    yield Platform(
        db=db,
        clock=ManualClock(),
        entropy=SeededEntropy(1, "platform"),
        rosters=RosterChain((make_roster(),)),
        signer=KeyDesk({}),
        chains={},
    )
    db.close()


def listed(platform: Platform) -> None:
    """List two assets and a market."""

    def apply(conn: sa.Connection) -> None:
        for key in ("a", "b"):
            catalogue.list_asset(conn, spec(key))
        catalogue.list_market(conn, ROW)

    platform.db.run(apply)


def take(platform: Platform) -> lease.Lease:
    """Lead, whoever led before."""
    return lease.take(platform.db, holder="test", clock=platform.clock, is_dead=lambda _: True)


def test_everything_is_new_to_a_new_engine() -> None:
    commands = plan_listing([1, 2], [ROW], [], {})
    added = AddMarket(
        market_no=1, base_asset_no=1, quote_asset_no=2, tick_minor=5, lot_minor=7,
        maker_ppm=10, taker_ppm=20,
    )  # fmt: skip
    assert commands == [AddAsset(asset_no=1), AddAsset(asset_no=2), added]


def test_nothing_is_said_twice_and_only_fee_rates_change() -> None:
    assert plan_listing([1, 2], [ROW], [1, 2], {1: KNOWN}) == []
    dearer = dataclasses.replace(ROW, taker_ppm=30)
    assert plan_listing([1, 2], [dearer], [1, 2], {1: KNOWN}) == [
        SetMarketFees(market_no=1, maker_ppm=10, taker_ppm=30)
    ]


def test_a_collar_follows_the_list() -> None:
    narrow = dataclasses.replace(ROW, collar_ppm=50_000)
    set_collar = SetMarketCollar(market_no=1, collar_ppm=50_000)
    assert plan_listing([1, 2], [narrow], [1, 2], {1: KNOWN}) == [set_collar]
    assert plan_listing([1, 2], [narrow], [1, 2], {})[-1] == set_collar
    known = dataclasses.replace(KNOWN, collar_ppm=50_000)
    assert plan_listing([1, 2], [narrow], [1, 2], {1: known}) == []
    assert plan_listing([1, 2], [ROW], [1, 2], {1: known}) == [
        SetMarketCollar(market_no=1, collar_ppm=0)
    ]


def test_a_market_is_retired_once_and_its_terms_no_longer_matter() -> None:
    row = dataclasses.replace(ROW, retired=True, maker_ppm=7, collar_ppm=7)
    retire = RetireMarket(market_no=1)
    assert plan_listing([1, 2], [row], [1, 2], {1: KNOWN}) == [retire]
    gone = dataclasses.replace(KNOWN, status=MarketStatus.RETIRED)
    assert plan_listing([1, 2], [row], [1, 2], {1: gone}) == []
    assert plan_listing([1, 2], [row], [1, 2], {})[-1] == retire


def test_a_market_the_journal_retired_and_the_books_did_not_is_corrupt() -> None:
    gone = dataclasses.replace(KNOWN, status=MarketStatus.RETIRED)
    with pytest.raises(Corrupt):
        plan_listing([1, 2], [ROW], [1, 2], {1: gone})


def test_a_retired_market_is_closed_after_a_restart_and_its_orders_are_booked_as_cancelled(
    platform: Platform,
) -> None:
    listed(platform)
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    first = open_engine(platform, storage, lease=take(platform))
    first.execute([Credit(number=1, customer_no=1, asset_no=2, amount=10**6)])
    order = PlaceOrder(
        customer_no=1, client_order_id=1, market_no=1, side=Side.BUY, price_ticks=9,
        quantity_lots=3, issued_ns=platform.clock.now_ns(),
    )  # fmt: skip
    [[accepted, *_]] = first.execute([order])
    assert isinstance(accepted, OrderAccepted)
    first.stop()
    platform.db.run(
        lambda conn: catalogue.set_market_terms(
            conn, ROW.market_no, dataclasses.replace(ROW, retired=True)
        )
    )
    again = open_engine(platform, storage, lease=take(platform))
    cancelled, retired = again.log.blocks_after(again.position.sequence - 1, 1)[0].events
    assert isinstance(cancelled, OrderCancelled)
    assert (cancelled.order_id, cancelled.reason) == (
        accepted.order_id,
        CancelReason.MARKET_RETIRED,
    )
    assert isinstance(retired, MarketRetired)
    assert configure(platform, again) == 0
    again.stop()


def test_a_halted_market_stays_halted_over_a_restart_that_changes_its_terms(
    platform: Platform,
) -> None:
    listed(platform)
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    first = open_engine(platform, storage, lease=take(platform))
    first.execute([HaltMarket(market_no=1)])
    first.stop()
    terms = dataclasses.replace(ROW, maker_ppm=11, collar_ppm=500)
    platform.db.run(lambda conn: catalogue.set_market_terms(conn, ROW.market_no, terms))
    again = open_engine(platform, storage, lease=take(platform))
    with again.reading() as engine:
        market = engine.markets()[1]
    assert (market.maker_ppm, market.collar_ppm, market.is_halted) == (11, 500, True)
    assert configure(platform, again) == 0
    again.stop()


@pytest.mark.parametrize("name", ["base_asset_no", "quote_asset_no", "tick_minor", "lot_minor"])
def test_a_market_that_is_another_one_in_the_journal_is_corrupt(name: str) -> None:
    other = MarketRow(**{**dataclasses.asdict(ROW), name: 99})
    with pytest.raises(Corrupt):
        plan_listing([1, 2], [other], [1, 2], {1: KNOWN})


def test_a_reopened_engine_goes_on_and_is_told_only_what_is_new(platform: Platform) -> None:
    listed(platform)
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    first = open_engine(platform, storage, lease=take(platform))
    assert first.position.sequence == 3
    assert configure(platform, first) == 0
    settlement.step(platform.db, first.log)
    first.stop()
    again = open_engine(platform, storage, lease=take(platform))
    assert (again.position.epoch, again.position.sequence) == (1, 3)
    with again.reading() as engine:
        assert engine.markets()[1].tick_minor == 5
    again.stop()


def test_a_leader_that_lost_its_lease_answers_nothing_and_books_nothing(
    platform: Platform,
) -> None:
    listed(platform)
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    old = take(platform)
    sequencer = open_engine(platform, storage, lease=old)
    assert isinstance(platform.clock, ManualClock)
    platform.clock.advance(lease.DURATION_NS)
    take(platform)
    with pytest.raises(OutcomeUnknown):
        sequencer.execute([AddAsset(asset_no=7)])
    with pytest.raises(Unavailable):
        sequencer.execute([AddAsset(asset_no=8)])
    with pytest.raises(LeaseLost):
        settlement.step(platform.db, sequencer.log, epoch=old.epoch)
    with platform.db.read() as conn:
        assert settlement.position(conn).sequence == 0


def test_snapshots_come_by_number_and_by_time_and_old_ones_go(platform: Platform) -> None:
    listed(platform)
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    sequencer = open_engine(platform, storage, lease=take(platform))
    clock = platform.clock
    assert isinstance(clock, ManualClock)
    keeper = SnapshotKeeper(
        sequencer, storage, clock=clock, every_commands=3, every_ns=60 * SECOND_NS
    )
    settlement.step(platform.db, sequencer.log)
    assert (keeper.step(), keeper.step()) == (1, 0)
    sequencer.execute([AddAsset(asset_no=3)])
    assert keeper.step() == 0
    clock.advance(60 * SECOND_NS)
    settlement.step(platform.db, sequencer.log)
    assert (keeper.step(), keeper.step()) == (1, 0)
    assert len(snapshot_names(storage)) == 1
    clock.advance(600 * SECOND_NS)
    assert keeper.step() == 0
