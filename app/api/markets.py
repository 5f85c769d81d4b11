"""What is listed, and what trades: assets, markets, books, trades."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from app.api.engine_room import reading
from app.api.guard import GuardedRoute, In, Shop
from app.api.shapes import Limit, Shown
from app.api.units import MarketUnits, asset_id, instant
from core.money import format_amount
from engine.marketdata import PriceLevel
from engine.types import Side

router = APIRouter(route_class=GuardedRoute)

LEVELS_MAX = 500


class AssetView(Shown):
    """One asset: a coin or token on one chain. Amounts have at most `scale` decimals."""

    asset: str
    asset_no: int
    symbol: str
    chain: str
    scale: int
    deposit_minimum: str
    withdrawal_minimum: str
    withdrawal_fee: str


class MarketView(Shown):
    """One market. Prices are quote coins per whole base coin; collar_ppm 0 takes any price."""

    market: str
    base: str
    quote: str
    price_step: str
    quantity_step: str
    maker_ppm: int
    taker_ppm: int
    halted: bool
    retired: bool
    collar_ppm: int


class AssetsView(Shown):
    """Every listed asset."""

    data: list[AssetView]


class MarketsView(Shown):
    """Every listed market."""

    data: list[MarketView]


class BookView(Shown):
    """The best levels, best first: pairs of price and quantity, at an engine sequence."""

    market: str
    sequence: int
    update: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class TradeView(Shown):
    """One public trade."""

    sequence: int
    time: str
    price: str
    quantity: str
    taker_side: Literal["buy", "sell"]


class TradesView(Shown):
    """The latest trades, newest first; those before this process began are not kept."""

    market: str
    data: list[TradeView]


@router.get("/v1/assets")
def list_assets(shop: In) -> AssetsView:
    """Return every listed asset."""
    shown = []
    for asset in shop.listing.assets():
        spec = asset.spec
        shown.append(
            AssetView(
                asset=asset_id(asset),
                asset_no=asset.asset_no,
                symbol=spec.symbol,
                chain=spec.chain,
                scale=spec.scale,
                deposit_minimum=format_amount(spec.deposit_minimum, spec.scale),
                withdrawal_minimum=format_amount(spec.withdrawal_minimum, spec.scale),
                withdrawal_fee=format_amount(spec.withdrawal_fee, spec.scale),
            )
        )
    return AssetsView(data=shown)


@router.get("/v1/markets")
def list_markets(shop: In) -> MarketsView:
    """Return every listed market with its steps and fees."""
    listed = shop.listing.markets()
    with reading(shop) as engine:
        known = engine.markets()
    return MarketsView(
        data=[
            MarketView(
                market=units.row.name,
                base=asset_id(units.base),
                quote=asset_id(units.quote),
                price_step=units.price(1),
                quantity_step=units.quantity(1),
                maker_ppm=known[units.row.market_no].maker_ppm,
                taker_ppm=known[units.row.market_no].taker_ppm,
                halted=known[units.row.market_no].is_halted,
                retired=known[units.row.market_no].is_retired,
                collar_ppm=known[units.row.market_no].collar_ppm,
            )
            for units in listed
            if units.row.market_no in known
        ]
    )


@router.get("/v1/markets/{market}/book")
def read_book(
    market: str, shop: In, depth: Annotated[int, Query(ge=1, le=LEVELS_MAX)] = 20
) -> BookView:
    """Return the best levels of a market."""
    units = _units(shop, market)
    found = shop.context.market_data.depth(units.row.market_no, depth)
    return BookView(
        market=units.row.name,
        sequence=found.sequence,
        update=found.update,
        bids=[_level(units, level) for level in found.bids],
        asks=[_level(units, level) for level in found.asks],
    )


@router.get("/v1/markets/{market}/trades")
def list_trades(market: str, shop: In, limit: Limit = 50) -> TradesView:
    """Return the latest trades of a market."""
    units = _units(shop, market)
    found = shop.context.market_data.trades(units.row.market_no, limit)
    data = [
        TradeView(
            sequence=trade.sequence,
            time=instant(trade.time_ns),
            price=units.price(trade.price_ticks),
            quantity=units.quantity(trade.quantity_lots),
            taker_side="buy" if trade.taker_side is Side.BUY else "sell",
        )
        for trade in found
    ]
    return TradesView(market=units.row.name, data=data)


def _units(shop: Shop, market: str) -> MarketUnits:
    with reading(shop):
        return shop.listing.market(market)


def _level(units: MarketUnits, level: PriceLevel) -> tuple[str, str]:
    price_ticks, lots = level
    return units.price(price_ticks), units.quantity(lots)
