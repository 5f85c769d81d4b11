"""The list of markets is data, read strictly, in exact units."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.markets import (
    DesiredMarket,
    MarketFileError,
    list_markets,
    load_markets,
    parse_markets,
    row_of,
)
from chains.assets import load_assets
from chains.base import AssetSpec
from core.errors import Refused
from core.ids import AssetNo, ChainId
from custody import catalogue
from custody.catalogue import Asset, MarketRow
from custody.db import Database

CHAIN = ChainId("devnet")
LINES = {
    "name": '"ETH-USD"',
    "base": '{ chain = "devnet", key = "native" }',
    "quote": '{ chain = "devnet", key = "usd" }',
    "tick": '"0.01"',
    "lot": '"0.001"',
    "maker_ppm": "1000",
    "taker_ppm": "2000",
}


def text(**changes: str) -> str:
    """Return one market's table; an empty change leaves the line out."""
    lines = {**LINES, **changes}
    return "\n".join(["[[market]]", *(f"{key} = {one}" for key, one in lines.items() if one)])


def asset(number: int, key: str, scale: int) -> Asset:
    """Return a listed asset."""
    return Asset(AssetNo(number), AssetSpec(CHAIN, key, key.upper(), scale, 1, 1, 1, 1))


def test_tick_and_lot_become_exact_minor_units() -> None:
    (market,) = parse_markets(text())
    row = row_of(market, asset(1, "native", 18), asset(2, "usd", 6))
    # One lot of 0.001 coin at 0.01 per coin is 0.00001 quote coins: 10 of its smallest unit.
    assert (row.lot_minor, row.tick_minor) == (10**15, 10)


@pytest.mark.parametrize(
    "changes",
    [{"tick": '"0.001"', "lot": '"0.0001"'}, {"lot": '"0.0015"', "tick": '"0.0001"'}],
)
def test_an_inexact_tick_is_refused(changes: dict[str, str]) -> None:
    (market,) = parse_markets(text(**changes))
    with pytest.raises(MarketFileError, match="no whole number"):
        row_of(market, asset(1, "native", 18), asset(2, "usd", 6))


@pytest.mark.parametrize(
    "changes",
    [
        {"maker_ppm": ""},
        {"colour": '"red"'},
        {"tick": "0.01"},
        {"taker_ppm": "1000001"},
        {"taker_ppm": "true"},
        {"base": '"ETH"'},
        {"base": '{ chain = "devnet" }'},
        {"name": '""'},
        {"collar_ppm": "-1"},
        {"collar_ppm": "100000001"},
        {"collar_ppm": '"10 %"'},
        {"retired": "1"},
        {"retired": '"yes"'},
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(MarketFileError):
        parse_markets(text(**changes))


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(MarketFileError, match="twice"):
        parse_markets(text() + "\n" + text())


def test_listing_again_changes_fee_rates_and_nothing_else(database_url: str) -> None:
    db = Database.open(database_url)
    db.create_all()
    specs = [asset(0, "native", 18).spec, asset(0, "usd", 6).spec]
    for ppm in ("2000", "3000"):
        desired = parse_markets(text(taker_ppm=ppm))

        def apply(conn: sa.Connection, desired: tuple[DesiredMarket, ...] = desired) -> None:
            for one in specs:
                catalogue.list_asset(conn, one)
            list_markets(conn, desired, chains=[CHAIN])

        db.run(apply)
        with db.read() as conn:
            (row,) = catalogue.all_markets(conn)
        assert (int(row.market_no), row.taker_ppm) == (1, int(ppm))
    db.close()


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database.open(database_url)
    db.create_all()
    yield db
    db.close()


def list_as(db: Database, **changes: str) -> list[MarketRow]:
    """Bring the catalogue to a file of one market; return what is listed then."""
    specs = [asset(0, "native", 18).spec, asset(0, "usd", 6).spec]

    def apply(conn: sa.Connection) -> list[MarketRow]:
        for one in specs:
            catalogue.list_asset(conn, one)
        list_markets(conn, parse_markets(text(**changes)), chains=[CHAIN])
        return list(catalogue.all_markets(conn))

    return db.run(apply)


def test_collar_and_retirement_follow_the_file(db: Database) -> None:
    (row,) = list_as(db)
    assert (row.collar_ppm, row.retired) == (0, False)
    (row,) = list_as(db, collar_ppm="50_000")
    assert (row.collar_ppm, row.retired) == (50_000, False)
    (row,) = list_as(db, retired="false")
    assert (row.collar_ppm, row.retired) == (0, False)
    (row,) = list_as(db, retired="true")
    assert (row.collar_ppm, row.retired) == (0, True)


def test_a_retired_market_never_opens_again(db: Database) -> None:
    list_as(db)
    list_as(db, retired="true")
    with pytest.raises(Refused, match="market_retired"):
        list_as(db)
    assert list_as(db, retired="true")[0].retired


def test_a_market_that_was_retired_before_this_house_was_built_gets_no_number(
    db: Database,
) -> None:
    assert list_as(db, retired="true") == []


def test_the_published_list_fits_the_published_assets() -> None:
    markets = load_markets(Path(__file__).parents[3] / "infra/markets.toml")
    specs = {(one.chain, one.key): one for one in load_assets()}
    for market in markets:
        base, quote = (Asset(AssetNo(1), specs[side]) for side in (market.base, market.quote))
        assert row_of(market, base, quote).tick_minor >= 1
    assert markets
