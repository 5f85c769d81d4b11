"""The list of markets: a data file with the desired state, read strictly.

    [[market]]
    name = "ETH-USD"
    base = { chain = "devnet", key = "native" }
    quote = { chain = "devnet", key = "0x…" }
    tick = "0.01"       # least step of the price: quote coins per whole base coin
    lot = "0.0001"      # least step of the quantity: base coins
    maker_ppm = 1000
    taker_ppm = 2000

A tick times a lot must be a whole number of the quote's smallest unit, so that every fill is exact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from chains.base import AssetSpec
from core.errors import Refused
from core.ids import ChainId, MarketNo
from core.money import PPM, parse_amount
from custody import catalogue
from custody.catalogue import MarketRow

AssetName = tuple[ChainId, str]
"""(chain, key)."""

_KEYS = frozenset({"name", "base", "quote", "tick", "lot", "maker_ppm", "taker_ppm"})


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
    """List the markets whose assets live on configured chains; fee rates follow the file.

    MarketFileError: an asset that is not listed, an inexact tick. Refused:
    exists_with_other_content.
    """
    for market in desired:
        if market.base[0] in chains and market.quote[0] in chains:
            row = row_of(market, _listed(conn, market, "base"), _listed(conn, market, "quote"))
            found = catalogue.list_market(conn, row)
            if (found.maker_ppm, found.taker_ppm) != (row.maker_ppm, row.taker_ppm):
                catalogue.set_market_fees(
                    conn, found.market_no, maker_ppm=row.maker_ppm, taker_ppm=row.taker_ppm
                )


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
    if set(table) != _KEYS:
        raise MarketFileError(f"{where}: wants exactly {sorted(_KEYS)}")
    texts = (table["name"], table["tick"], table["lot"])
    if not all(isinstance(text, str) and text for text in texts):
        raise MarketFileError(f"{where}: name, tick and lot are texts")
    for name in ("maker_ppm", "taker_ppm"):
        if type(table[name]) is not int or not 0 <= table[name] <= PPM:
            raise MarketFileError(f"{where}: {name} lies in 0..{PPM}")
    return DesiredMarket(
        name=table["name"],
        base=_asset_name(where, "base", table),
        quote=_asset_name(where, "quote", table),
        tick=table["tick"],
        lot=table["lot"],
        maker_ppm=table["maker_ppm"],
        taker_ppm=table["taker_ppm"],
    )


def _asset_name(where: str, side: str, table: Mapping[str, Any]) -> AssetName:
    found = table[side]
    if not isinstance(found, dict) or set(found) != {"chain", "key"}:
        raise MarketFileError(f"{where}: {side} is written {{ chain = …, key = … }}")
    chain, key = found["chain"], found["key"]
    if not isinstance(chain, str) or not isinstance(key, str):
        raise MarketFileError(f"{where}: {side} is written {{ chain = …, key = … }}")
    return ChainId(chain), key
