"""One market's book: two sides of price levels, each a queue in order of arrival."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from engine.base import Level, OpenOrder
from engine.enums import SelfTrade, Side


@dataclass(slots=True, kw_only=True)
class Order:
    """An open order as it changes. done_lots: filled, or taken off by self-trade decrement."""

    order_id: int
    customer_no: int
    client_order_id: int
    market_no: int
    side: Side
    price_ticks: int
    quantity_lots: int
    filled_lots: int
    remaining_lots: int
    post_only: bool
    stp: SelfTrade

    @property
    def done_lots(self) -> int:
        """Return the lots that can no longer trade or be cancelled."""
        return self.quantity_lots - self.remaining_lots

    def view(self) -> OpenOrder:
        """Return a frozen copy."""
        return OpenOrder(
            order_id=self.order_id,
            customer_no=self.customer_no,
            client_order_id=self.client_order_id,
            market_no=self.market_no,
            side=self.side,
            price_ticks=self.price_ticks,
            quantity_lots=self.quantity_lots,
            filled_lots=self.filled_lots,
            remaining_lots=self.remaining_lots,
            post_only=self.post_only,
            stp=self.stp,
        )


class BookSide:
    """The levels of one side. A key is a price such that the greatest key is the best price."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._sign = 1 if side is Side.BUY else -1
        self._keys: list[int] = []
        # Not a dict: taking the first of a dict again and again walks over all that were deleted.
        self._levels: dict[int, OrderedDict[int, Order]] = {}

    def best(self) -> Order | None:
        """Return the order that trades first."""
        if not self._keys:
            return None
        level = self._levels[self._keys[-1]]
        return next(iter(level.values()))

    def add(self, order: Order) -> None:
        """Put the order last in the queue of its price."""
        key = order.price_ticks * self._sign
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = OrderedDict()
            insort(self._keys, key)
        level[order.order_id] = order

    def remove(self, order: Order) -> None:
        """Take the order out; an empty level goes with it."""
        key = order.price_ticks * self._sign
        level = self._levels[key]
        del level[order.order_id]
        if not level:
            del self._levels[key]
            del self._keys[bisect_left(self._keys, key)]

    def would_take(self, price_ticks: int) -> bool:
        """Return whether an order of the other side at this limit would trade with the best."""
        return bool(self._keys) and price_ticks * self._sign <= self._keys[-1]

    def has_level(self, price_ticks: int) -> bool:
        """Return whether orders rest at a price."""
        return price_ticks * self._sign in self._levels

    def level_count(self) -> int:
        """Return at how many prices orders rest."""
        return len(self._levels)

    def walk(self) -> Iterator[Order]:
        """Yield the orders in the order they would trade."""
        for key in reversed(self._keys):
            yield from self._levels[key].values()

    def levels(self, count: int) -> tuple[Level, ...]:
        """Return the best levels, best first."""
        return tuple(
            Level(
                key * self._sign,
                sum(order.remaining_lots for order in self._levels[key].values()),
                len(self._levels[key]),
            )
            for key in islice(reversed(self._keys), count)
        )


class Book:
    """Both sides of a market, and what its collar lies around."""

    def __init__(self) -> None:
        self.last_ticks = 0
        """Price of the last trade, or the one a command put in its place; 0: none yet."""
        self.bids = BookSide(Side.BUY)
        self.asks = BookSide(Side.SELL)

    def own(self, side: Side) -> BookSide:
        """Return the side an order rests on."""
        return self.bids if side is Side.BUY else self.asks

    def opposite(self, side: Side) -> BookSide:
        """Return the side an order trades with."""
        return self.asks if side is Side.BUY else self.bids


def crosses(taker_side: Side, taker_price_ticks: int, maker_price_ticks: int) -> bool:
    """Return whether a taker's limit reaches a maker's price."""
    if taker_side is Side.BUY:
        return maker_price_ticks <= taker_price_ticks
    return maker_price_ticks >= taker_price_ticks
