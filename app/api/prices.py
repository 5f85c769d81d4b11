"""Prices in USD: what limits in USD are counted with. Told by ops, looked at by who watches."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In
from app.api.shapes import AmountText, Asked, Limit, Shown
from app.api.units import asset_id, instant, parse_instant
from custody import catalogue, prices
from custody.policy.request import Price
from custody.prices import PriceRecord, Quote

router = APIRouter(route_class=GuardedRoute)

AssetName = Annotated[str, Field(max_length=256, description="<chain>/<key>, see /v1/assets")]
PRICES_MAX = 100


class NewPrice(Asked):
    """What one whole coin was worth in USD at a time, and who says so."""

    asset: AssetName
    price: AmountText
    at: Annotated[str, Field(max_length=40, description="RFC 3339 in UTC")]
    source: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}$")]


class NewPrices(Asked):
    """Prices that are recorded together, or none of them."""

    prices: Annotated[list[NewPrice], Field(min_length=1, max_length=PRICES_MAX)]


class RecordedView(Shown):
    """How many of the prices were new."""

    recorded: int


class PriceView(Shown):
    """One price as it was recorded."""

    asset: str
    symbol: str
    price: str
    at: str
    source: str
    recorded_by: str
    recorded_at: str


class PricesView(Shown):
    """Prices, the newest first."""

    data: list[PriceView]


@router.post("/v1/prices", status_code=201)
def record_prices(asked: NewPrices, caller: Caller, shop: In) -> RecordedView:
    """Record prices; the same ones again change nothing. Their history is never rewritten."""
    quotes = [
        Quote(
            shop.listing.asset(one.asset).asset_no,
            Price(prices.parse_price(one.price), parse_instant(one.at), one.source),
        )
        for one in asked.prices
    ]
    clock = shop.context.platform.clock

    def apply(conn: sa.Connection) -> int:
        return prices.record_all(conn, quotes, by=caller.subject, now_ns=clock.now_ns())

    return RecordedView(recorded=shop.write(apply))


@router.get("/v1/prices")
def list_prices(
    shop: In,
    asset: Annotated[str | None, Query(max_length=256)] = None,
    limit: Limit = 50,
) -> PricesView:
    """Return the newest price of every asset that has one, or the history of one asset."""
    with shop.context.platform.db.read() as conn:
        if asset is None:
            newest = [prices.history(conn, one.asset_no, limit=1) for one in shop.listing.assets()]
            found = [each for one in newest for each in one]
        else:
            found = prices.history(conn, shop.listing.asset(asset).asset_no, limit=limit)
        return PricesView(data=[_view(conn, one) for one in found])


def _view(conn: sa.Connection, one: PriceRecord) -> PriceView:
    asset = catalogue.asset(conn, one.asset_no)
    return PriceView(
        asset=asset_id(asset),
        symbol=asset.spec.symbol,
        price=prices.format_price(one.price.value),
        at=instant(one.price.at_ns),
        source=one.price.source,
        recorded_by=one.recorded_by,
        recorded_at=instant(one.recorded_at_ns),
    )
