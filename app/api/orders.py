"""Orders: place, look up, change, cancel. The client's own id makes every retry harmless."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response

from app.api.engine_room import command, reading, with_books
from app.api.guard import Caller, GuardedRoute, In, OwnNo, Shop
from app.api.order_views import (
    FillView,
    OrderView,
    of_events,
    of_fill,
    of_history,
    of_open,
    rejection_of,
)
from app.api.shapes import AmountText, Asked, Cursor, Limit, Page, Shown, next_of
from app.api.units import (
    MarketUnits,
    order_id,
    parse_client_order_id,
    parse_instant,
    parse_order_id,
)
from core.errors import Reason, Refused
from core.ids import CustomerNo, OrderId
from custody import order_history
from custody.access import Principal
from engine.base import SLOT_BITS
from engine.types import (
    CancelAll,
    CancelOrder,
    OrderAccepted,
    OrderCancelled,
    OrderDuplicate,
    OrderKind,
    OrderRejected,
    PlaceOrder,
    ReplaceOrder,
    SelfTrade,
    Side,
    TimeInForce,
)

router = APIRouter(route_class=GuardedRoute)


class NewOrder(Asked):
    """An order. client_order_id and issued_at are made once and repeated with every retry."""

    client_order_id: str
    issued_at: str
    market: str
    side: Literal["buy", "sell"]
    price: AmountText
    quantity: AmountText
    kind: Literal["limit", "market"] = "limit"
    tif: Literal["gtc", "ioc", "fok"] | None = None
    post_only: bool = False
    stp: Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"] = "cancel_newest"


class Change(Asked):
    """A new price and a new total quantity; what is filled already counts towards it."""

    price: AmountText
    quantity: AmountText


class CancelledView(Shown):
    """How many orders were closed, and which."""

    cancelled: int
    orders: list[str]


@router.post(
    "/v1/orders",
    status_code=201,
    response_model=OrderView,
    responses={200: {"model": OrderView, "description": "This order was placed before"}},
)
async def place_order(
    asked: NewOrder, caller: Caller, owner: OwnNo, shop: In, request: Request
) -> Response:
    """Place an order. The same client_order_id again answers with the first order, as 200."""
    units = shop.listing.market(asked.market)
    placed = _placed(asked, owner, units)
    _refuse_frozen(caller)
    request.state.lookup = f"/v1/orders?client_order_id={asked.client_order_id}"
    events = await command(shop, placed)
    first = events[0]
    if isinstance(first, OrderAccepted):
        view = of_events(units, first, events)
        return Response(view.model_dump_json(), 201, media_type="application/json")
    if isinstance(first, OrderDuplicate):
        view = await _look(shop, owner, OrderId(first.order_id))
        headers = {"Idempotency-Replayed": "true"}
        return Response(view.model_dump_json(), 200, headers, media_type="application/json")
    raise rejection_of(events)


@router.get("/v1/orders")
async def list_orders(
    owner: OwnNo,
    shop: In,
    status: Annotated[Literal["open", "all"], Query()] = "all",
    client_order_id: Annotated[str | None, Query(max_length=36)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[OrderView]:
    """Return one's orders, newest first. After an unknown outcome ask by client_order_id."""
    if client_order_id is not None:
        return await _by_client_id(shop, owner, parse_client_order_id(client_order_id))
    before = None if cursor is None else int(cursor)
    if status == "open":
        return _open_orders(shop, owner, before, limit)

    def read(conn: sa.Connection) -> list[order_history.Order]:
        return order_history.orders_of(conn, owner, before=before, limit=limit)

    rows = await with_books(shop, read)
    return Page[OrderView](
        data=[of_history(shop.listing.market_of(row.market_no), row) for row in rows],
        next_cursor=next_of([row.order_no for row in rows], limit),
    )


@router.get("/v1/orders/{order_id}")
async def read_order(order_id: str, owner: OwnNo, shop: In) -> OrderView:
    """Return one order, open or closed."""
    return await _look(shop, owner, parse_order_id(order_id))


@router.patch("/v1/orders/{order_id}")
async def change_order(
    order_id: str, asked: Change, caller: Caller, owner: OwnNo, shop: In, request: Request
) -> OrderView:
    """Change an open order. Its place in the queue stays only when just the quantity shrinks."""
    number = parse_order_id(order_id)
    _refuse_frozen(caller)
    request.state.lookup = f"/v1/orders/{order_id}"
    with reading(shop) as engine:
        found = engine.order(number)
    if found is None or found.customer_no != owner:
        raise Refused(Reason.UNKNOWN_ORDER, "there is no such open order")
    units = shop.listing.market_of(found.market_no)
    events = await command(
        shop,
        ReplaceOrder(
            customer_no=owner,
            order_id=number,
            price_ticks=units.ticks(asked.price),
            quantity_lots=units.lots(asked.quantity),
        ),
    )
    if isinstance(events[0], OrderRejected):
        raise rejection_of(events)
    return await _look(shop, owner, number)


@router.delete("/v1/orders/{order_id}")
async def cancel_order(order_id: str, owner: OwnNo, shop: In, request: Request) -> OrderView:
    """Cancel an open order."""
    number = parse_order_id(order_id)
    request.state.lookup = f"/v1/orders/{order_id}"
    events = await command(shop, CancelOrder(customer_no=owner, order_id=number))
    if isinstance(events[0], OrderRejected):
        raise rejection_of(events)
    return await _look(shop, owner, number)


@router.delete("/v1/orders")
async def cancel_all(
    owner: OwnNo,
    shop: In,
    request: Request,
    market: Annotated[str | None, Query(max_length=64)] = None,
) -> CancelledView:
    """Cancel every open order, in one market or everywhere."""
    request.state.lookup = "/v1/orders?status=open"
    market_no = 0 if market is None else shop.listing.market(market).row.market_no
    events = await command(shop, CancelAll(customer_no=owner, market_no=market_no))
    if isinstance(events[0], OrderRejected):
        raise rejection_of(events)
    closed = [event.order_id for event in events if isinstance(event, OrderCancelled)]
    return CancelledView(cancelled=len(closed), orders=[order_id(each) for each in closed])


@router.get("/v1/fills")
async def list_fills(
    owner: OwnNo,
    shop: In,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}-[0-9]{1,9}$")] = None,
) -> Page[FillView]:
    """Return one's fills, newest first."""
    sequence, _, n = (cursor or "").partition("-")
    before = None if cursor is None else (int(sequence), int(n))

    def read(conn: sa.Connection) -> list[order_history.Fill]:
        return order_history.fills_of(conn, owner, before=before, limit=limit)

    rows = await with_books(shop, read)
    more = f"{rows[-1].sequence}-{rows[-1].n}" if len(rows) == limit else None
    data = [
        view for row in rows for view in of_fill(shop.listing.market_of(row.market_no), row, owner)
    ]
    return Page[FillView](data=data, next_cursor=more)


def _refuse_frozen(caller: Principal) -> None:
    if caller.customer_frozen:
        raise Refused(Reason.FROZEN, "customer")


def _placed(asked: NewOrder, owner: CustomerNo, units: MarketUnits) -> PlaceOrder:
    default = TimeInForce.IOC if asked.kind == "market" else TimeInForce.GTC
    return PlaceOrder(
        customer_no=owner,
        client_order_id=parse_client_order_id(asked.client_order_id),
        market_no=units.row.market_no,
        side=Side[asked.side.upper()],
        price_ticks=units.ticks(asked.price),
        quantity_lots=units.lots(asked.quantity),
        issued_ns=parse_instant(asked.issued_at),
        kind=OrderKind[asked.kind.upper()],
        tif=default if asked.tif is None else TimeInForce[asked.tif.upper()],
        post_only=asked.post_only,
        stp=SelfTrade[asked.stp.upper()],
    )


async def _look(shop: Shop, owner: CustomerNo, number: OrderId) -> OrderView:
    """Return an order from the engine while it is open, else from the books that followed it."""
    with reading(shop) as engine:
        found, known = engine.order(number), engine.sequence
    if found is not None and found.customer_no == owner:
        return of_open(shop.listing.market_of(found.market_no), found)
    if number >> SLOT_BITS > known:
        raise Refused(Reason.UNKNOWN_ORDER, "there is no such order")
    row = await with_books(shop, lambda conn: order_history.find_order(conn, owner, number))
    if row is None:
        raise Refused(Reason.UNKNOWN_ORDER, "there is no such order")
    return of_history(shop.listing.market_of(row.market_no), row)


async def _by_client_id(shop: Shop, owner: CustomerNo, number: int) -> Page[OrderView]:
    with reading(shop) as engine:
        known = engine.order_id_of(customer_no=owner, client_order_id=number)
    if known is not None:
        return Page[OrderView](data=[await _look(shop, owner, OrderId(known))])
    # Older than the engine remembers; such an order is refused when it is sent again.
    rows = await with_books(
        shop, lambda conn: order_history.orders_of(conn, owner, client_order_id=number)
    )
    return Page[OrderView](
        data=[of_history(shop.listing.market_of(row.market_no), row) for row in rows]
    )


def _open_orders(shop: Shop, owner: CustomerNo, before: int | None, limit: int) -> Page[OrderView]:
    with reading(shop) as engine:
        found = engine.open_orders(owner)
    newest = sorted(found, key=lambda order: order.order_id, reverse=True)
    rows = [o for o in newest if before is None or o.order_id >> SLOT_BITS < before][:limit]
    return Page[OrderView](
        data=[of_open(shop.listing.market_of(row.market_no), row) for row in rows],
        next_cursor=next_of([row.order_id >> SLOT_BITS for row in rows], limit),
    )
