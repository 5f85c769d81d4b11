"""The list of markets: a data file with the desired state, read strictly.

    [[market]]
    name = "ETH-USD"
    base = { chain = "devnet", key = "native" }
    quote = { chain = "devnet", key = "0x…" }
    tick = "0.01"       # least step of the price: quote coins per whole base coin
    lot = "0.0001"      # least step of the quantity: base coins
    maker_ppm = 1000
    taker_ppm = 2000
    collar_ppm = 100_000  # optional: refuse prices further than 10 % from the last trade
    retired = true        # optional, and for ever: cancel its orders, take no more

A tick times a lot must be a whole number of the quote's smallest unit, so that every fill is exact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chains.base import AssetSpec
from core.errors import Refused
from core.ids import ChainId, MarketNo
from core.money import PPM, parse_amount
from custody import catalogue
from custody.catalogue import MarketRow
from engine.market import COLLAR_PPM_MAX

AssetName = tuple[ChainId, str]
"""(chain, key)."""

_KEYS = frozenset({"name", "base", "quote", "tick", "lot", "maker_ppm", "taker_ppm"})
_MAY = frozenset({"collar_ppm", "retired"})
_RATES = {"maker_ppm": PPM, "taker_ppm": PPM, "collar_ppm": COLLAR_PPM_MAX}


class MarketFileError(ValueError):
    """A data file of markets is not as it must be; names the market."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredMarket:
    """A market as the data file states it; tick and lot as written there."""

    name: str
    base: AssetName
    quote: AssetName
    tick: str
    lot: str
    maker_ppm: int
    taker_ppm: int
    collar_ppm: int = 0
    retired: bool = False


def load_markets(path: Path) -> tuple[DesiredMarket, ...]:
    """Read a data file. MarketFileError: unreadable, or not as parse_markets wants it."""
    try:
        return parse_markets(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MarketFileError(f"{path.name}: {error}") from error


def parse_markets(text: str) -> tuple[DesiredMarket, ...]:
    """Read market tables. MarketFileError: bad TOML, unknown or missing keys, twins."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MarketFileError(str(error)) from error
    tables = document.get("market", [])
    if set(document) - {"market"} or not isinstance(tables, list):
        raise MarketFileError("markets are written as [[market]]")
    markets = tuple(_market(number, table) for number, table in enumerate(tables, 1))
    names = [market.name for market in markets]
    if len(set(names)) != len(names):
        raise MarketFileError(f"a name stands twice: {sorted(names)}")
    return markets


def list_markets(
    conn: sa.Connection, desired: Sequence[DesiredMarket], *, chains: Sequence[ChainId]
) -> None:
    """List the markets whose assets live on configured chains; their terms follow the file.

    A market that is written as retired and was never listed stays so. MarketFileError: an asset
    that is not listed, an inexact tick. Refused: exists_with_other_content, market_retired.
    """
    for market in desired:
        if market.base[0] not in chains or market.quote[0] not in chains:
            continue
        if market.retired and catalogue.market_by_name(conn, market.name) is None:
            continue
        row = row_of(market, _listed(conn, market, "base"), _listed(conn, market, "quote"))
        found = catalogue.list_market(conn, row)
        if found != replace(row, market_no=found.market_no):
            catalogue.set_market_terms(conn, found.market_no, row)


def row_of(market: DesiredMarket, base: catalogue.Asset, quote: catalogue.Asset) -> MarketRow:
    """Return a market in minor units. MarketFileError: a tick times a lot is not exact."""
    try:
        lot_minor = parse_amount(market.lot, base.spec.scale)
        tick_per_coin = parse_amount(market.tick, quote.spec.scale)
    except Refused as error:
        raise MarketFileError(f"{market.name}: {error.detail}") from error
    tick_minor, rest = divmod(tick_per_coin * lot_minor, 10**base.spec.scale)
    if rest or not tick_minor:
        raise MarketFileError(
            f"{market.name}: tick x lot is no whole number of {quote.spec.symbol}'s smallest unit"
        )
    return MarketRow(
        market_no=MarketNo(0),
        name=market.name,
        base_asset_no=base.asset_no,
        quote_asset_no=quote.asset_no,
        tick_minor=tick_minor,
        lot_minor=lot_minor,
        maker_ppm=market.maker_ppm,
        taker_ppm=market.taker_ppm,
        collar_ppm=market.collar_ppm,
        retired=market.retired,
    )


def assets_of(specs: Sequence[AssetSpec], chains: Sequence[ChainId]) -> tuple[AssetSpec, ...]:
    """Return the assets of a data file that live on configured chains."""
    return tuple(spec for spec in specs if spec.chain in chains)


def _listed(conn: sa.Connection, market: DesiredMarket, side: str) -> catalogue.Asset:
    chain, key = market.base if side == "base" else market.quote
    found = catalogue.asset_by_key(conn, chain, key)
    if found is None:
        raise MarketFileError(f"{market.name}: its {side} {chain} {key} is no listed asset")
    return found


def _market(number: int, table: object) -> DesiredMarket:
    if not isinstance(table, dict):
        raise MarketFileError(f"market {number} is not a table")
    where = f"market {number} ({table.get('name', 'nameless')})"
    if not _KEYS <= set(table) <= _KEYS | _MAY:
        raise MarketFileError(f"{where}: wants {sorted(_KEYS)} and may have {sorted(_MAY)}")
    texts = (table["name"], table["tick"], table["lot"])
    if not all(isinstance(text, str) and text for text in texts):
        raise MarketFileError(f"{where}: name, tick and lot are texts")
    for name, most in _RATES.items():
        rate = table.get(name, 0)
        if type(rate) is not int or not 0 <= rate <= most:
            raise MarketFileError(f"{where}: {name} lies in 0..{most}")
    retired = table.get("retired", False)
    if type(retired) is not bool:
        raise MarketFileError(f"{where}: retired is true or false")
    return DesiredMarket(
        name=table["name"],
        base=_asset_name(where, "base", table),
        quote=_asset_name(where, "quote", table),
        tick=table["tick"],
        lot=table["lot"],
        maker_ppm=table["maker_ppm"],
        taker_ppm=table["taker_ppm"],
        collar_ppm=table.get("collar_ppm", 0),
        retired=retired,
    )


def _asset_name(where: str, side: str, table: Mapping[str, Any]) -> AssetName:
    found = table[side]
    if not isinstance(found, dict) or set(found) != {"chain", "key"}:
        raise MarketFileError(f"{where}: {side} is written {{ chain = …, key = … }}")
    chain, key = found["chain"], found["key"]
    if not isinstance(chain, str) or not isinstance(key, str):
        raise MarketFileError(f"{where}: {side} is written {{ chain = …, key = … }}")
    return ChainId(chain), key
