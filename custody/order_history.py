"""Orders and fills as the journal told them.

What people look up once the engine has let an order go.

A projection like the books: written by settlement in the same transaction, rebuilt by the same
replay.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt
from core.ids import CustomerNo, MarketNo, OrderId
from custody.db import Amount, Bytes, Flag, Int64, Text, table
from engine.market import FillAmounts
from engine.types import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderReplaced,
    Side,
    Trade,
)

orders = table(
    "orders",
    sa.Column("order_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("order_id", Bytes, nullable=False, unique=True),
    sa.Column("customer_no", Int64, nullable=False),
    sa.Column("client_order_id", Bytes, nullable=False),
    sa.Column("market_no", Int64, nullable=False),
    sa.Column("side", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("tif", Text, nullable=False),
    sa.Column("price_ticks", Int64, nullable=False),
    sa.Column("quantity_lots", Int64, nullable=False),
    sa.Column("filled_lots", Int64, nullable=False),
    sa.Column("cancelled_lots", Int64, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Index("ix_orders_customer", "customer_no", "order_no"),
    sa.Index("ix_orders_client", "customer_no", "client_order_id"),
)

fills = table(
    "fills",
    sa.Column("sequence", Int64, primary_key=True, autoincrement=False),
    sa.Column("n", Int64, primary_key=True, autoincrement=False),
    sa.Column("market_no", Int64, nullable=False),
    sa.Column("taker_order_id", Bytes, nullable=False),
    sa.Column("maker_order_id", Bytes, nullable=False),
    sa.Column("buyer_no", Int64, nullable=False, index=True),
    sa.Column("seller_no", Int64, nullable=False, index=True),
    sa.Column("taker_is_buyer", Flag, nullable=False),
    sa.Column("price_ticks", Int64, nullable=False),
    sa.Column("quantity_lots", Int64, nullable=False),
    sa.Column("base_minor", Amount, nullable=False),
    sa.Column("quote_minor", Amount, nullable=False),
    sa.Column("buyer_fee_base", Amount, nullable=False),
    sa.Column("seller_fee_quote", Amount, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order as far as the books have followed. state: open, filled or cancelled."""

    order_id: OrderId
    order_no: int
    customer_no: CustomerNo
    client_order_id: int
    market_no: MarketNo
    side: str
    kind: str
    tif: str
    price_ticks: int
    quantity_lots: int
    filled_lots: int
    cancelled_lots: int
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade with its exact amounts in minor units."""

    sequence: int
    n: int
    market_no: MarketNo
    taker_order_id: OrderId
    maker_order_id: OrderId
    buyer_no: CustomerNo
    seller_no: CustomerNo
    taker_is_buyer: bool
    price_ticks: int
    quantity_lots: int
    base_minor: int
    quote_minor: int
    buyer_fee_base: int
    seller_fee_quote: int


def _key(order_id: int) -> bytes:
    return order_id.to_bytes(8, "big")


def accepted(conn: sa.Connection, event: OrderAccepted) -> None:
    """Open an order's row."""
    conn.execute(
        orders.insert().values(
            order_no=event.sequence,
            order_id=_key(event.order_id),
            customer_no=event.customer_no,
            client_order_id=event.client_order_id.to_bytes(16, "big"),
            market_no=event.market_no,
            side=event.side.name.lower(),
            kind=event.kind.name.lower(),
            tif=event.tif.name.lower(),
            price_ticks=event.price_ticks,
            quantity_lots=event.quantity_lots,
            filled_lots=0,
            cancelled_lots=0,
            state="open",
        )
    )


def traded(conn: sa.Connection, event: Trade, n: int, amounts: FillAmounts) -> None:
    """Record a fill and add it to both orders."""
    conn.execute(
        fills.insert().values(
            sequence=event.sequence,
            n=n,
            market_no=event.market_no,
            taker_order_id=_key(event.taker_order_id),
            maker_order_id=_key(event.maker_order_id),
            buyer_no=amounts.buyer_customer_no,
            seller_no=amounts.seller_customer_no,
            taker_is_buyer=event.taker_side is Side.BUY,
            price_ticks=event.price_ticks,
            quantity_lots=event.quantity_lots,
            base_minor=amounts.base_minor,
            quote_minor=amounts.quote_minor,
            buyer_fee_base=amounts.buyer_fee_base,
            seller_fee_quote=amounts.seller_fee_quote,
        )
    )
    for order_id in (event.taker_order_id, event.maker_order_id):
        _update(conn, order_id, filled_lots=orders.c.filled_lots + event.quantity_lots)


def changed(
    conn: sa.Connection, event: OrderReduced | OrderReplaced | OrderFilled | OrderCancelled
) -> None:
    """Carry what else happened to an order into its row."""
    match event:
        case OrderReduced():
            lots = orders.c.cancelled_lots + event.reduced_lots
            _update(conn, event.order_id, cancelled_lots=lots)
        case OrderReplaced():
            _update(
                conn,
                event.order_id,
                price_ticks=event.price_ticks,
                quantity_lots=event.quantity_lots,
            )
        case OrderFilled():
            _update(conn, event.order_id, state="filled")
        case OrderCancelled():
            _update(
                conn,
                event.order_id,
                state="cancelled",
                cancelled_lots=orders.c.cancelled_lots + event.cancelled_lots,
                reason=event.reason.name.lower(),
            )


def find_order(conn: sa.Connection, customer_no: CustomerNo, order_id: OrderId) -> Order | None:
    """Return a customer's order, None when the books know none."""
    row = conn.execute(
        sa.select(orders).where(
            orders.c.order_id == _key(order_id), orders.c.customer_no == customer_no
        )
    ).one_or_none()
    return None if row is None else _order(row)


def orders_of(
    conn: sa.Connection,
    customer_no: CustomerNo,
    *,
    client_order_id: int | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Order]:
    """Return a customer's orders, newest first."""
    query = sa.select(orders).where(orders.c.customer_no == customer_no)
    if client_order_id is not None:
        query = query.where(orders.c.client_order_id == client_order_id.to_bytes(16, "big"))
    if before is not None:
        query = query.where(orders.c.order_no < before)
    query = query.order_by(orders.c.order_no.desc()).limit(limit)
    return [_order(row) for row in conn.execute(query)]


def fills_of(
    conn: sa.Connection,
    customer_no: CustomerNo,
    *,
    before: tuple[int, int] | None = None,
    limit: int = 100,
) -> list[Fill]:
    """Return a customer's fills, newest first; `before` is the (sequence, n) to go on from."""
    query = sa.select(fills).where(
        sa.or_(fills.c.buyer_no == customer_no, fills.c.seller_no == customer_no)
    )
    if before is not None:
        sequence, n = before
        query = query.where(
            sa.or_(
                fills.c.sequence < sequence,
                sa.and_(fills.c.sequence == sequence, fills.c.n < n),
            )
        )
    query = query.order_by(fills.c.sequence.desc(), fills.c.n.desc()).limit(limit)
    return [_fill(row) for row in conn.execute(query)]


def _update(conn: sa.Connection, order_id: int, **values: object) -> None:
    done = conn.execute(orders.update().where(orders.c.order_id == _key(order_id)).values(**values))
    if done.rowcount != 1:
        raise Corrupt(f"the journal speaks of order {order_id}, which the books never saw")


def _order(row: sa.Row[tuple[object, ...]]) -> Order:
    values = {c.name: getattr(row, c.name) for c in orders.c}
    values["order_id"] = int.from_bytes(row.order_id, "big")
    values["client_order_id"] = int.from_bytes(row.client_order_id, "big")
    return Order(**values)


def _fill(row: sa.Row[tuple[object, ...]]) -> Fill:
    values = {c.name: getattr(row, c.name) for c in fills.c}
    for name in ("taker_order_id", "maker_order_id"):
        values[name] = int.from_bytes(values[name], "big")
    return Fill(**values)
