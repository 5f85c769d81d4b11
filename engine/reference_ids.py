"""Order ids, and the memory that makes client order ids idempotent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from engine.base import REMEMBER_NS, SLOT_BITS
from engine.commands import PlaceOrder
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce


class Slots:
    """Gives every open order a small number; the one freed last is given first."""

    def __init__(self) -> None:
        self.top = 0
        self.free: list[int] = []

    def take(self, sequence: int) -> int:
        """Return the id of the order accepted at this sequence."""
        if self.free:
            slot = self.free.pop()
        else:
            slot, self.top = self.top, self.top + 1
        return sequence << SLOT_BITS | slot

    def give_back(self, order_id: int) -> None:
        """Free the slot of a closed order."""
        self.free.append(order_id & ((1 << SLOT_BITS) - 1))


class ClientKey(NamedTuple):
    """The idempotency key of an order."""

    customer_no: int
    client_order_id: int


class Content(NamedTuple):
    """What must be equal for a retry to be the same order. The issue time only dates it."""

    market_no: int
    side: Side
    kind: OrderKind
    tif: TimeInForce
    post_only: bool
    stp: SelfTrade
    price_ticks: int
    quantity_lots: int


def content_of(command: PlaceOrder) -> Content:
    """Return the comparable part of a command."""
    return Content(
        command.market_no,
        command.side,
        command.kind,
        command.tif,
        command.post_only,
        command.stp,
        command.price_ticks,
        command.quantity_lots,
    )


@dataclass(frozen=True, slots=True)
class Remembered:
    """An order accepted under a client id."""

    order_id: int
    content: Content


class ClientOrderIds:
    """(customer, client order id) of open orders and of those closed lately."""

    def __init__(self) -> None:
        self.orders: dict[ClientKey, Remembered] = {}
        self.closed: deque[tuple[int, ClientKey]] = deque()
        """(time of closing, key), oldest first: journal time never goes back."""

    def __len__(self) -> int:
        return len(self.orders)

    def find(self, key: ClientKey) -> Remembered | None:
        """Return the order a key stands for."""
        return self.orders.get(key)

    def accepted(self, key: ClientKey, order: Remembered) -> None:
        """Remember an order while it is open."""
        assert key not in self.orders
        self.orders[key] = order

    def closed_at(self, key: ClientKey, time_ns: int) -> None:
        """Start the time after which a closed order is forgotten."""
        assert key in self.orders
        self.closed.append((time_ns, key))

    def forget_before(self, time_ns: int) -> None:
        """Drop what was closed long enough ago; each is dropped once, so O(1) per command."""
        while self.closed and self.closed[0][0] + REMEMBER_NS < time_ns:
            _, key = self.closed.popleft()
            del self.orders[key]
