"""Orders and fills as clients see them, whether the engine or the books tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from app.api.shapes import Shown
from app.api.units import MarketUnits, asset_id, client_order_id, order_id
from core.errors import Corrupt, Refused
from core.ids import CustomerNo
from core.money import format_amount
from custody.order_history import Fill, Order
from engine.base import OpenOrder
from engine.types import (
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderRejected,
    Side,
    Trade,
)


class OrderView(Shown):
    """One order. quantity = filled + remaining + cancelled."""

    order_id: str
    client_order_id: str
    market: str
    side: Literal["buy", "sell"]
    kind: str
    tif: str
    price: str
    quantity: str
    filled: str
    remaining: str
    cancelled: str
    state: Literal["open", "filled", "cancelled"]
    reason: str | None


class FillView(Shown):
    """One side of a trade."""

    fill_id: Annotated[str, Field(description="Unique with its side")]
    order_id: str
    market: str
    side: Literal["buy", "sell"]
    liquidity: Literal["maker", "taker"]
    price: str
    quantity: str
    quote: str
    fee: str
    fee_asset: str


def of_events(units: MarketUnits, order: OrderAccepted, events: Sequence[Event]) -> OrderView:
    """Return a placed order as it stood after its own command."""
    filled = cancelled = 0
    state: Literal["open", "filled", "cancelled"] = "open"
    reason = None
    for event in events:
        if isinstance(event, Trade) and event.taker_order_id == order.order_id:
            filled += event.quantity_lots
        elif isinstance(event, OrderReduced) and event.order_id == order.order_id:
            cancelled += event.reduced_lots
        elif isinstance(event, OrderFilled) and event.order_id == order.order_id:
            state = "filled"
        elif isinstance(event, OrderCancelled) and event.order_id == order.order_id:
            state, reason = "cancelled", event.reason.name.lower()
            cancelled += event.cancelled_lots
    return _view(
        units,
        order,
        kind=order.kind.name.lower(),
        tif=order.tif.name.lower(),
        lots=(filled, cancelled),
        state=state,
        reason=reason,
    )


def of_open(units: MarketUnits, order: OpenOrder) -> OrderView:
    """Return an order that waits in the book; what waits is a limit order until cancelled."""
    gone = order.quantity_lots - order.filled_lots - order.remaining_lots
    return _view(
        units,
        order,
        kind="limit",
        tif="gtc",
        lots=(order.filled_lots, gone),
        state="open",
        reason=None,
    )


def of_history(units: MarketUnits, order: Order) -> OrderView:
    """Return an order as the books have it."""
    if order.state not in ("open", "filled", "cancelled"):
        raise Corrupt(f"order {order.order_id} is {order.state}")
    state: Literal["open", "filled", "cancelled"] = order.state  # type: ignore[assignment]
    return _view(
        units,
        order,
        kind=order.kind,
        tif=order.tif,
        lots=(order.filled_lots, order.cancelled_lots),
        state=state,
        reason=order.reason,
    )


def of_fill(units: MarketUnits, fill: Fill, owner: CustomerNo) -> list[FillView]:
    """Return a customer's sides of a trade: one, or both when he traded with himself."""
    views = []
    sides: tuple[tuple[Literal["buy", "sell"], CustomerNo, bool], ...] = (
        ("buy", fill.buyer_no, fill.taker_is_buyer),
        ("sell", fill.seller_no, not fill.taker_is_buyer),
    )
    for side, customer_no, is_taker in sides:
        if customer_no != owner:
            continue
        received = units.base if side == "buy" else units.quote
        fee = fill.buyer_fee_base if side == "buy" else fill.seller_fee_quote
        views.append(
            FillView(
                fill_id=f"fill_{fill.sequence}_{fill.n}",
                order_id=order_id(fill.taker_order_id if is_taker else fill.maker_order_id),
                market=units.row.name,
                side=side,
                liquidity="taker" if is_taker else "maker",
                price=units.price(fill.price_ticks),
                quantity=format_amount(fill.base_minor, units.base.spec.scale),
                quote=format_amount(fill.quote_minor, units.quote.spec.scale),
                fee=format_amount(fee, received.spec.scale),
                fee_asset=asset_id(received),
            )
        )
    return views


def rejection_of(events: Sequence[Event]) -> Refused | Corrupt:
    """Return why a command had no effect, as the error to raise."""
    first = events[0]
    if not isinstance(first, OrderRejected):
        return Corrupt(f"the engine answered an order with {type(first).__name__}")
    return Refused(first.reason.reason)


def _view(
    units: MarketUnits,
    order: OrderAccepted | OpenOrder | Order,
    *,
    kind: str,
    tif: str,
    lots: tuple[int, int],
    state: Literal["open", "filled", "cancelled"],
    reason: str | None,
) -> OrderView:
    filled, cancelled = lots
    side = order.side.name.lower() if isinstance(order.side, Side) else order.side
    return OrderView(
        order_id=order_id(order.order_id),
        client_order_id=client_order_id(order.client_order_id),
        market=units.row.name,
        side="buy" if side == "buy" else "sell",
        kind=kind,
        tif=tif,
        price=units.price(order.price_ticks),
        quantity=units.quantity(order.quantity_lots),
        filled=units.quantity(filled),
        remaining=units.quantity(order.quantity_lots - filled - cancelled),
        cancelled=units.quantity(cancelled),
        state=state,
        reason=reason,
    )
