"""Everything the reference engine remembers, in one place."""

from __future__ import annotations

from engine.base import Limits, LiveHold
from engine.enums import CancelReason
from engine.events import Event, OrderCancelled, OrderFilled
from engine.market import Market
from engine.reference_balances import Balances
from engine.reference_book import Book, Order
from engine.reference_ids import ClientKey, ClientOrderIds, Slots


class State:
    """The state between two commands, and the events of the present one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sequence = 0
        self.time_ns = 0
        self.funding_number = 0
        self.balances = Balances()
        self.markets: dict[int, Market] = {}
        self.books: dict[int, Book] = {}
        self.orders: dict[int, Order] = {}
        self.order_ids_of: dict[int, set[int]] = {}
        self.holds: dict[int, LiveHold] = {}
        self.slots = Slots()
        self.client_ids = ClientOrderIds()
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Add to the events of the present command."""
        self.events.append(event)

    def open_order_ids(self, customer_no: int) -> list[int]:
        """Return a customer's open orders in order of acceptance."""
        return sorted(self.order_ids_of.get(customer_no, ()))

    def register(self, order: Order) -> None:
        """Count an accepted order as open; it is not yet in the book."""
        self.orders[order.order_id] = order
        self.order_ids_of.setdefault(order.customer_no, set()).add(order.order_id)

    def rest(self, order: Order) -> None:
        """Put an open order into the book, behind those of the same price."""
        assert order.remaining_lots > 0
        self.books[order.market_no].own(order.side).add(order)

    def unrest(self, order: Order) -> None:
        """Take a resting order out of the book; it stays open."""
        self.books[order.market_no].own(order.side).remove(order)

    def lock_of(self, order: Order) -> tuple[int, int]:
        """Return the asset an open order locks, and how much of it."""
        market = self.markets[order.market_no]
        amount = market.lock_minor(
            side=order.side, price_ticks=order.price_ticks, quantity_lots=order.remaining_lots
        )
        return market.given_asset_no(order.side), amount

    def cancel(self, order: Order, reason: CancelReason, *, is_resting: bool) -> None:
        """Give the lock of what remains back and close the order."""
        if is_resting:
            self.unrest(order)
        asset_no, amount = self.lock_of(order)
        self.balances.lock(order.customer_no, asset_no, -amount)
        cancelled_lots, order.remaining_lots = order.remaining_lots, 0
        self._forget(order)
        self.emit(
            OrderCancelled(
                sequence=self.sequence,
                order_id=order.order_id,
                customer_no=order.customer_no,
                market_no=order.market_no,
                cancelled_lots=cancelled_lots,
                reason=reason,
            )
        )

    def close_filled(self, order: Order) -> None:
        """Close an order that has nothing left to trade."""
        assert order.remaining_lots == 0
        self._forget(order)
        self.emit(
            OrderFilled(
                sequence=self.sequence,
                order_id=order.order_id,
                customer_no=order.customer_no,
                market_no=order.market_no,
            )
        )

    def _forget(self, order: Order) -> None:
        del self.orders[order.order_id]
        of_customer = self.order_ids_of[order.customer_no]
        of_customer.remove(order.order_id)
        if not of_customer:
            del self.order_ids_of[order.customer_no]
        self.slots.give_back(order.order_id)
        self.client_ids.closed_at(ClientKey(order.customer_no, order.client_order_id), self.time_ns)
