"""One engine from PyPI, in its own process and environment: the same commands through its own API.

    python peers_run.py NAME COMMANDS PREFILL RESULTS

COMMANDS holds records of verb, side, key, price, lots, customer; the first PREFILL, a multiple of
1 000, are not timed. A line of JSON is written after every 1 000, so that one which hangs has said
how far it came; RESULTS gets the lots and the money that each timed command traded. What an engine
has no verb for is said with those it has: an order that must not wait is placed and cancelled, a
replace is a cancel and a new order. This file imports nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import logging
import struct
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

PLACE, PLACE_IOC, CANCEL, REPLACE = 1, 2, 3, 4
BUY, SELL = 1, 2
COMMAND = struct.Struct("<BBxxIqqI4x")
RESULT = struct.Struct("<qq")
CHUNK = 1_000
UNKNOWN = -1
"""What is traded by an engine that does not tell."""

Traded = tuple[int, int]
"""Lots, and lots times price."""


class Driver:
    """An engine's API, as its documents use it."""

    module = ""
    tells_trades = True

    def __init__(self) -> None:
        self.api = importlib.import_module(self.module)
        self.orders: dict[int, Any] = {}
        self.sides: dict[int, int] = {}

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        """Place an order that waits; return what read() needs."""
        raise NotImplementedError

    def cancel(self, key: int) -> Any:
        """Cancel an order, or find out that it is gone."""
        raise NotImplementedError

    def place_ioc(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        """Place an order that does not wait."""
        found = self.place(key, side, price, lots, customer)
        self.cancel(key)
        return found

    def replace(self, key: int, price: int, lots: int, customer: int) -> Any:
        """Change what is left of an order to price and lots."""
        self.cancel(key)
        return self.place(key, self.sides[key], price, lots, customer)

    def read(self, found: Any) -> Traded:
        """Return what was traded; not timed."""
        raise NotImplementedError

    def end(self) -> None:
        """Let go of threads."""


class Nanobook(Driver):
    """Rust."""

    module = "nanobook"

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.Exchange()

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        found = self.book.submit_limit("buy" if side == BUY else "sell", price, lots)
        self.orders[key] = found.order_id
        return found

    def place_ioc(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        return self.book.submit_limit("buy" if side == BUY else "sell", price, lots, "ioc")

    def cancel(self, key: int) -> Any:
        self.book.cancel(self.orders[key])

    def read(self, found: Any) -> Traded:
        trades = found.trades
        return sum(t.quantity for t in trades), sum(t.quantity * t.price for t in trades)


class LimitOrderBook(Driver):
    """C++ behind ctypes; tells nothing of what traded."""

    module = "limit_order_book"
    tells_trades = False

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.LimitOrderBook()

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        if side == BUY:
            self.book.limit_buy(key, lots, price)
        else:
            self.book.limit_sell(key, lots, price)

    def cancel(self, key: int) -> Any:
        if self.book.has(key):
            self.book.cancel(key)


class Litebook(Driver):
    """Rust; prices and quantities are floats."""

    module = "litebook"

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.OrderBook(tick_size=1.0)
        self.order_sides = {BUY: self.api.OrderType.Buy, SELL: self.api.OrderType.Sell}

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        order = self.book.create_order(self.order_sides[side], float(price), float(lots))
        self.orders[key] = order.id
        return self.book.add(order)

    def cancel(self, key: int) -> Any:
        self.book.cancel(self.orders[key])

    def read(self, found: Any) -> Traded:
        return (
            sum(round(fill.quantity) for fill in found),
            sum(round(fill.quantity) * round(fill.price) for fill in found),
        )


class CythonOrderbook(Driver):
    """Cython."""

    module = "cython_orderbook"

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.OrderBook()
        self.order_sides = {BUY: self.api.OrderSide.BID, SELL: self.api.OrderSide.ASK}

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        before = len(self.book.trade_log)
        order = self.api.Order(
            side=self.order_sides[side], price=Decimal(price), original_quantity=lots
        )
        self.book.add_limit_order(order)
        self.orders[key] = order.order_id
        return before, len(self.book.trade_log)

    def cancel(self, key: int) -> Any:
        self.book.cancel_order(self.orders[key])

    def read(self, found: Any) -> Traded:
        trades = self.book.trade_log[found[0] : found[1]]
        return (
            sum(trade.quantity_filled for trade in trades),
            sum(trade.quantity_filled * int(trade.price) for trade in trades),
        )


class Pyorderbook(Driver):
    """Pure Python."""

    module = "pyorderbook"

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.Book()

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        order = (self.api.bid if side == BUY else self.api.ask)("X", price, lots)
        self.orders[key] = order
        return self.book.match(order)

    def cancel(self, key: int) -> Any:
        order = self.orders[key]
        if order.id in self.book.order_map:
            self.book.cancel(order)

    def read(self, found: Any) -> Traded:
        return (
            sum(trade.fill_quantity for trade in found.trades),
            sum(trade.fill_quantity * int(trade.fill_price) for trade in found.trades),
        )


class Obook(Driver):
    """Go behind ctypes."""

    module = "obook"

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.Book(1 << 20)
        self.order_sides = {BUY: self.api.BUY, SELL: self.api.SELL}
        self.customers: dict[int, int] = {}

    def _submit(self, key: int, side: int, price: int, lots: int, customer: int, tif: int) -> Any:
        found = self.book.submit(customer, self.order_sides[side], price, lots, tif=tif)
        self.orders[key], self.customers[key] = found.order_id, customer
        return self.book.events()

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        return self._submit(key, side, price, lots, customer, self.api.GTC)

    def place_ioc(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        return self._submit(key, side, price, lots, customer, self.api.IOC)

    def cancel(self, key: int) -> Any:
        self.book.cancel(self.orders[key], self.customers[key])

    def read(self, found: Any) -> Traded:
        trades = [event for event in found if event.kind == self.api.EventKind.TRADE]
        return sum(t.qty for t in trades), sum(t.qty * t.price for t in trades)


class Fastlob(Driver):
    """Pure Python."""

    module = "fastlob"

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.book = self.api.Orderbook(name="bench", start=True)
        self.order_sides = {BUY: self.api.OrderSide.BID, SELL: self.api.OrderSide.ASK}

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        order = self.api.OrderParams(side=self.order_sides[side], price=price, quantity=lots)
        found = self.book(order)
        self.orders[key] = found.orderid()
        return found

    def cancel(self, key: int) -> Any:
        self.book.cancel(self.orders[key])

    def read(self, found: Any) -> Traded:
        prices = (found.execprices() or {}) if found._execprices is not None else {}
        return (
            int(sum(prices.values())),
            int(sum(price * lots for price, lots in prices.items())),
        )

    def end(self) -> None:
        self.book.stop()


class LightMatchingEngine(Driver):
    """Pure Python."""

    module = "lightmatchingengine.lightmatchingengine"

    def __init__(self) -> None:
        super().__init__()
        self.book = self.api.LightMatchingEngine()

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        order, trades = self.book.add_order("X", price, lots, side)
        self.orders[key] = order
        return order.order_id, trades

    def cancel(self, key: int) -> Any:
        order = self.orders[key]
        if order.leaves_qty:
            self.book.cancel_order(order.order_id, "X")

    def read(self, found: Any) -> Traded:
        order_id, trades = found
        mine = [trade for trade in trades if trade.order_id == order_id]
        return (
            sum(trade.trade_qty for trade in mine),
            sum(trade.trade_qty * trade.trade_price for trade in mine),
        )


DRIVERS: dict[str, type[Driver]] = {
    "nanobook": Nanobook,
    "limit-order-book": LimitOrderBook,
    "litebook": Litebook,
    "cython-orderbook": CythonOrderbook,
    "pyorderbook": Pyorderbook,
    "obook": Obook,
    "fastlob": Fastlob,
    "lightmatchingengine": LightMatchingEngine,
}


def main(words: list[str]) -> int:
    """Run; see the top of the file."""
    name, commands, prefill, results = words
    driver = DRIVERS[name]()
    asked = list(COMMAND.iter_unpack(Path(commands).read_bytes()))
    opening = int(prefill)
    found: list[Any] = []
    ns = 0
    for start in range(0, len(asked), CHUNK):
        if start == opening:
            found, ns = [], 0
        chunk = asked[start : start + CHUNK]
        before = time.process_time_ns()
        for command in chunk:
            found.append(say(driver, *command))
        ns += time.process_time_ns() - before
        told = {"done": len(found), "ns": ns, "timed": start >= opening}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    traded = [(UNKNOWN, UNKNOWN)] * len(found)
    if driver.tells_trades:
        traded = [(0, 0) if one is None else driver.read(one) for one in found]
    Path(results).write_bytes(b"".join(RESULT.pack(*one) for one in traded))
    driver.end()
    return 0


def say(
    driver: Driver, verb: int, side: int, key: int, price: int, lots: int, customer: int
) -> Any:
    """Say one command in the engine's own words."""
    if verb == PLACE:
        driver.sides[key] = side
        return driver.place(key, side, price, lots, customer)
    if verb == PLACE_IOC:
        return driver.place_ioc(key, side, price, lots, customer)
    if verb == CANCEL:
        return driver.cancel(key)
    return driver.replace(key, price, lots, customer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
