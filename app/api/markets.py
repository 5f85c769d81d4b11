"""What is listed, and what trades: assets, markets, books and their changes, trades, candles.

A client keeps a book as engine.bookclient does: take /book, then ask again and again for the deltas
after its update number; a 404 there, or a checksum that is another one, means: take /book anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app.api.engine_room import reading
from app.api.guard import GuardedRoute, In, Shop
from app.api.shapes import Limit, Shown
from app.api.units import MarketUnits, asset_id, instant
from core.errors import Reason, Refused
from core.money import format_amount
from engine.levels import PriceLevel
from engine.market import Market
from engine.trades import PublicTrade
from engine.types import Side

router = APIRouter(route_class=GuardedRoute)

LEVELS_MAX = 500
DELTAS_MAX = 1_000
CANDLES_MAX = 1_440

Checksum = Annotated[
    int,
    Field(
        ge=0,
        lt=1 << 32,
        description="CRC-32 (as in zlib) of the ASCII text"
        " `<bid>:<lots>,<bid>:<lots>,...|<ask>:<lots>,...` of the best ten levels of both sides of"
        " the book, best first, whatever depth was asked for. A price counts in the market's"
        " price_step and a quantity in its quantity_step, as plain integers.",
        examples=[0x82305214],
    ),
]
Update = Annotated[
    int, Field(description="Rises by exactly one with every delta of a market, over restarts too")
]
Sequence = Annotated[
    int, Field(description="The engine's sequence: one number for the whole platform, for ever")
]
Levels = Annotated[
    list[tuple[str, str]], Field(description="Pairs of price and quantity, best first")
]


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
    halted: Annotated[bool, Field(description="Cancels only")]
    retired: Annotated[bool, Field(description="Closed for ever; its orders are gone")]
    collar_ppm: Annotated[
        int,
        Field(description="How far a price may lie from the last trade, in millionths; 0: any"),
    ]


class AssetsView(Shown):
    """Every listed asset."""

    data: list[AssetView]


class MarketsView(Shown):
    """Every listed market."""

    data: list[MarketView]


class BookView(Shown):
    """The best levels as they stood after an engine sequence; the deltas after update go on."""

    market: str
    sequence: Sequence
    update: Update
    checksum: Checksum
    bids: Levels
    asks: Levels


class DeltaView(Shown):
    """The levels that one command changed, with their new totals; quantity "0": the level is gone.

    It follows the book whose update is one less and whose sequence lies between previous_sequence
    and its own; checksum is that of the book after it.
    """

    update: Update
    sequence: Sequence
    previous_sequence: Sequence
    time: str
    checksum: Checksum
    bids: Levels
    asks: Levels


class DeltasView(Shown):
    """Changes of a book, oldest first, without a gap."""

    market: str
    data: list[DeltaView]


class TradeView(Shown):
    """One public trade."""

    trade_id: Annotated[
        str, Field(description="The same for ever; own fills of it carry it in their fill_id")
    ]
    sequence: int
    time: str
    price: str
    quantity: str
    taker_side: Literal["buy", "sell"]


class TradesView(Shown):
    """The latest trades, newest first."""

    market: str
    data: list[TradeView]


class CandleView(Shown):
    """One minute of trades."""

    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    trades: int


class CandlesView(Shown):
    """The latest minutes in which there were trades, oldest first; the last may still grow."""

    market: str
    data: list[CandleView]


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
            view_of(units, market)
            for units in listed
            if (market := known.get(units.row.market_no)) is not None
        ]
    )


@router.get("/v1/markets/{market}/book")
def read_book(
    market: str,
    shop: In,
    depth: Annotated[int, Query(ge=1, le=LEVELS_MAX)] = 20,
    sequence: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
) -> BookView:
    """Return the best levels of a market, now or as they stood after an engine sequence lately."""
    units = _units(shop, market)
    data, market_no = shop.context.market_data, units.row.market_no
    if sequence is None:
        found = data.depth(market_no, depth)
    else:
        then = data.depth_at(market_no, sequence, depth)
        if then is None:
            raise Refused(Reason.NOT_FOUND, "not reached yet, or too long ago to be kept here")
        found = then
    return BookView(
        market=units.row.name,
        sequence=found.sequence,
        update=found.update,
        checksum=found.checksum,
        bids=_levels(units, found.bids),
        asks=_levels(units, found.asks),
    )


@router.get("/v1/markets/{market}/book/deltas")
def list_deltas(
    market: str,
    shop: In,
    after: Annotated[int, Query(ge=0, lt=1 << 63, description="The update that the client has")],
    limit: Annotated[int, Query(ge=1, le=DELTAS_MAX)] = DELTAS_MAX,
) -> DeltasView:
    """Return the changes of a book after an update; not_found: take the book anew, then go on."""
    units = _units(shop, market)
    found = shop.context.market_data.deltas_after(units.row.market_no, after, limit)
    if found is None:
        raise Refused(Reason.NOT_FOUND, "no longer kept, or never given: take the book first")
    data = [
        DeltaView(
            update=delta.update,
            sequence=delta.sequence,
            previous_sequence=delta.previous_sequence,
            time=instant(delta.time_ns),
            checksum=delta.checksum,
            bids=_levels(units, delta.bids),
            asks=_levels(units, delta.asks),
        )
        for delta in found
    ]
    return DeltasView(market=units.row.name, data=data)


@router.get("/v1/markets/{market}/trades")
def list_trades(market: str, shop: In, limit: Limit = 50) -> TradesView:
    """Return the latest trades of a market."""
    units = _units(shop, market)
    found = shop.context.market_data.trades(units.row.market_no, limit)
    return TradesView(market=units.row.name, data=[_trade(units, trade) for trade in found])


@router.get("/v1/markets/{market}/candles")
def list_candles(
    market: str, shop: In, limit: Annotated[int, Query(ge=1, le=CANDLES_MAX)] = 60
) -> CandlesView:
    """Return the latest one-minute candles of a market."""
    units = _units(shop, market)
    data = [
        CandleView(
            start=instant(candle.start_ns),
            open=units.price(candle.open_ticks),
            high=units.price(candle.high_ticks),
            low=units.price(candle.low_ticks),
            close=units.price(candle.close_ticks),
            volume=units.quantity(candle.volume_lots),
            trades=candle.trades,
        )
        for candle in shop.context.market_data.candles(units.row.market_no, limit)
    ]
    return CandlesView(market=units.row.name, data=data)


def view_of(units: MarketUnits, market: Market) -> MarketView:
    """Return a listed market as the engine has it."""
    return MarketView(
        market=units.row.name,
        base=asset_id(units.base),
        quote=asset_id(units.quote),
        price_step=units.price(1),
        quantity_step=units.quantity(1),
        maker_ppm=market.maker_ppm,
        taker_ppm=market.taker_ppm,
        halted=market.is_halted,
        retired=market.is_retired,
        collar_ppm=market.collar_ppm,
    )


def _units(shop: Shop, market: str) -> MarketUnits:
    with reading(shop):
        return shop.listing.market(market)


def _trade(units: MarketUnits, trade: PublicTrade) -> TradeView:
    return TradeView(
        trade_id=f"{trade.sequence}_{trade.n}",
        sequence=trade.sequence,
        time=instant(trade.time_ns),
        price=units.price(trade.price_ticks),
        quantity=units.quantity(trade.quantity_lots),
        taker_side="buy" if trade.taker_side is Side.BUY else "sell",
    )


def _levels(units: MarketUnits, levels: Iterable[PriceLevel]) -> list[tuple[str, str]]:
    return [(units.price(price_ticks), units.quantity(lots)) for price_ticks, lots in levels]
