"""What became of orders: the open ones and the latest closed ones, made of nothing but events.

The engine forgets an order when it closes; whoever asks afterwards asks here. Bounded: the oldest
closed orders are dropped first, and closed orders of before the last restart are not known.
"""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from engine.applied import AppliedBlock
from engine.base import Engine
from engine.enums import CancelReason, OrderKind, Side, TimeInForce
from engine.events import (
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderReplaced,
    Trade,
)


class OrderStatus(enum.StrEnum):
    """Where an accepted order stands."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An accepted order. `filled_ticks_lots` is the sum of price x lots of its fills."""

    order_id: int
    customer_no: int
    client_order_id: int
    market_no: int
    side: Side
    kind: OrderKind
    tif: TimeInForce
    post_only: bool
    price_ticks: int
    quantity_lots: int
    filled_lots: int
    filled_ticks_lots: int | None
    """None for an order that was open across a restart: its earlier prices are not known."""
    remaining_lots: int
    status: OrderStatus
    cancel_reason: CancelReason | None
    sequence: int
    """Of the command that changed it last."""


class OrderLog:
    """Follows applied blocks; call `apply` from the sequencer's `publish`. Thread-safe."""

    def __init__(self, *, closed_max: int = 65_536) -> None:
        self._lock = threading.Lock()
        self._closed_max = closed_max
        self._open: dict[int, OrderRecord] = {}
        self._closed: OrderedDict[int, OrderRecord] = OrderedDict()

    def begin(self, engine: Engine) -> None:
        """Take over the open orders of an engine that was recovered."""
        with self._lock:
            self._open = {
                order.order_id: OrderRecord(
                    order_id=order.order_id,
                    customer_no=order.customer_no,
                    client_order_id=order.client_order_id,
                    market_no=order.market_no,
                    side=order.side,
                    kind=OrderKind.LIMIT,
                    tif=TimeInForce.GTC,
                    post_only=order.post_only,
                    price_ticks=order.price_ticks,
                    quantity_lots=order.quantity_lots,
                    filled_lots=order.filled_lots,
                    filled_ticks_lots=None if order.filled_lots else 0,
                    remaining_lots=order.remaining_lots,
                    status=OrderStatus.OPEN,
                    cancel_reason=None,
                    sequence=engine.sequence,
                )
                for customer_no in engine.customers()
                for order in engine.open_orders(customer_no)
            }

    def apply(self, block: AppliedBlock) -> None:
        """Follow one applied block."""
        with self._lock:
            for event in block.events:
                self._follow(event)

    def order(self, order_id: int) -> OrderRecord | None:
        """Return an open or lately closed order."""
        with self._lock:
            return self._open.get(order_id) or self._closed.get(order_id)

    def closed_of(self, customer_no: int, limit: int) -> list[OrderRecord]:
        """Return a customer's latest closed orders, newest first."""
        with self._lock:
            found: list[OrderRecord] = []
            for order in reversed(self._closed.values()):
                if len(found) >= limit:
                    break
                if order.customer_no == customer_no:
                    found.append(order)
            return found

    def _follow(self, event: Event) -> None:
        if isinstance(event, OrderAccepted):
            self._open[event.order_id] = OrderRecord(
                order_id=event.order_id,
                customer_no=event.customer_no,
                client_order_id=event.client_order_id,
                market_no=event.market_no,
                side=event.side,
                kind=event.kind,
                tif=event.tif,
                post_only=event.post_only,
                price_ticks=event.price_ticks,
                quantity_lots=event.quantity_lots,
                filled_lots=0,
                filled_ticks_lots=0,
                remaining_lots=event.quantity_lots,
                status=OrderStatus.OPEN,
                cancel_reason=None,
                sequence=event.sequence,
            )
        elif isinstance(event, Trade):
            self._fill(event.taker_order_id, event)
            self._fill(event.maker_order_id, event)
        elif isinstance(event, OrderReduced):
            self._open[event.order_id] = replace(
                self._open[event.order_id],
                remaining_lots=event.remaining_lots,
                sequence=event.sequence,
            )
        elif isinstance(event, OrderReplaced):
            self._open[event.order_id] = replace(
                self._open[event.order_id],
                price_ticks=event.price_ticks,
                quantity_lots=event.quantity_lots,
                remaining_lots=event.remaining_lots,
                sequence=event.sequence,
            )
        elif isinstance(event, OrderFilled):
            self._close(event, OrderStatus.FILLED, None)
        elif isinstance(event, OrderCancelled):
            self._close(event, OrderStatus.CANCELLED, event.reason)

    def _fill(self, order_id: int, trade: Trade) -> None:
        order = self._open[order_id]
        paid = order.filled_ticks_lots
        self._open[order_id] = replace(
            order,
            filled_lots=order.filled_lots + trade.quantity_lots,
            remaining_lots=order.remaining_lots - trade.quantity_lots,
            filled_ticks_lots=(
                None if paid is None else paid + trade.price_ticks * trade.quantity_lots
            ),
            sequence=trade.sequence,
        )

    def _close(
        self,
        event: OrderFilled | OrderCancelled,
        status: OrderStatus,
        reason: CancelReason | None,
    ) -> None:
        order = self._open.pop(event.order_id)
        self._closed[event.order_id] = replace(
            order, status=status, cancel_reason=reason, remaining_lots=0, sequence=event.sequence
        )
        while len(self._closed) > self._closed_max:
            self._closed.popitem(last=False)
