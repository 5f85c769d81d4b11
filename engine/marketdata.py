"""Market data, made of nothing but events: level-2 deltas, depth, trades, one-minute candles.

Everything is bounded. Deltas of a market carry contiguous update numbers; a reader that fell behind
what is kept takes a new depth and continues after its number. There is one delta per command that
changed the book, so no reader ever sees a crossed one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from core.clock import SECOND_NS
from core.errors import Reason, Refused
from engine.applied import AppliedBlock
from engine.base import Engine, OpenOrder
from engine.enums import Side
from engine.events import (
    Event,
    MarketAdded,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderReplaced,
    Trade,
)

CANDLE_NS = 60 * SECOND_NS

PriceLevel = tuple[int, int]
"""(price in ticks, lots); 0 lots: the level is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDelta:
    """The levels one command changed, with their new totals."""

    market_no: int
    update: int
    sequence: int
    time_ns: int
    bids: tuple[PriceLevel, ...]
    asks: tuple[PriceLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDepth:
    """The best levels, best first; the deltas after `update` continue it."""

    market_no: int
    update: int
    sequence: int
    bids: tuple[PriceLevel, ...]
    asks: tuple[PriceLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    """A trade without its parties; trade_no counts within the market since this process began."""

    market_no: int
    trade_no: int
    sequence: int
    time_ns: int
    price_ticks: int
    quantity_lots: int
    taker_side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One minute of trades; minutes without any have no candle."""

    start_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int
    trades: int


@dataclass(slots=True)
class _Resting:
    market_no: int
    side: Side
    price_ticks: int
    lots: int


@dataclass(slots=True)
class _Feed:
    deltas: deque[BookDelta]
    trades: deque[PublicTrade]
    candles: deque[Candle]
    levels: dict[tuple[Side, int], int] = field(default_factory=dict)
    touched: dict[tuple[Side, int], int] = field(default_factory=dict)
    """Levels the present command touched, with their lots before it."""
    update: int = 0
    trade_no: int = 0
    sequence: int = 0


class MarketData:
    """Follows applied blocks; hand `apply` to the sequencer as `publish`. Thread-safe."""

    def __init__(
        self, *, deltas_max: int = 4096, trades_max: int = 1024, candles_max: int = 1440
    ) -> None:
        self._lock = threading.Lock()
        self._maxima = (deltas_max, trades_max, candles_max)
        self._feeds: dict[int, _Feed] = {}
        self._orders: dict[int, _Resting] = {}
        self._touched: set[int] = set()

    def begin(self, engine: Engine) -> None:
        """Take over the books of an engine that was recovered; earlier trades are not known."""
        with self._lock:
            self._orders.clear()
            self._feeds = {market_no: self._new_feed() for market_no in engine.markets()}
            for customer_no in engine.customers():
                for order in engine.open_orders(customer_no):
                    self._add(order)
            self._touched.clear()
            for feed in self._feeds.values():
                feed.touched.clear()
                feed.sequence = engine.sequence

    def apply(self, block: AppliedBlock) -> None:
        """Follow one applied block."""
        with self._lock:
            for sequence, events in groupby(block.events, key=attrgetter("sequence")):
                self._follow(events, block.time_ns)
                self._publish(sequence, block.time_ns)

    def depth(self, market_no: int, levels: int) -> BookDepth:
        """Return the best levels. Refused: unknown_market."""
        with self._lock:
            feed = self._feed(market_no)
            return BookDepth(
                market_no=market_no,
                update=feed.update,
                sequence=feed.sequence,
                bids=_best(feed, Side.BUY, levels),
                asks=_best(feed, Side.SELL, levels),
            )

    def deltas_after(self, market_no: int, update: int) -> list[BookDelta] | None:
        """Return the deltas after an update number; None: too old, take a depth first."""
        with self._lock:
            feed = self._feed(market_no)
            if update < feed.update - len(feed.deltas) or update > feed.update:
                return None
            return [delta for delta in feed.deltas if delta.update > update]

    def trades(self, market_no: int, limit: int) -> list[PublicTrade]:
        """Return the latest trades, newest first. Refused: unknown_market."""
        with self._lock:
            return list(self._feed(market_no).trades)[: -limit - 1 : -1]

    def candles(self, market_no: int, limit: int) -> list[Candle]:
        """Return the latest one-minute candles, oldest first. Refused: unknown_market."""
        with self._lock:
            return list(self._feed(market_no).candles)[-limit:] if limit > 0 else []

    # ---- following

    def _new_feed(self) -> _Feed:
        deltas_max, trades_max, candles_max = self._maxima
        return _Feed(
            deltas=deque(maxlen=deltas_max),
            trades=deque(maxlen=trades_max),
            candles=deque(maxlen=candles_max),
        )

    def _feed(self, market_no: int) -> _Feed:
        feed = self._feeds.get(market_no)
        if feed is None:
            raise Refused(Reason.UNKNOWN_MARKET, f"market {market_no}")
        return feed

    def _follow(self, events: Iterable[Event], time_ns: int) -> None:
        for event in events:
            if isinstance(event, OrderAccepted):
                self._add(event)
            elif isinstance(event, Trade):
                self._change(self._orders[event.taker_order_id], -event.quantity_lots)
                self._change(self._orders[event.maker_order_id], -event.quantity_lots)
                self._record_trade(event, time_ns)
            elif isinstance(event, OrderReduced):
                self._change(self._orders[event.order_id], -event.reduced_lots)
            elif isinstance(event, OrderReplaced):
                order = self._orders[event.order_id]
                self._change(order, -order.lots)
                order.price_ticks = event.price_ticks
                self._change(order, event.remaining_lots)
            elif isinstance(event, OrderFilled | OrderCancelled):
                order = self._orders.pop(event.order_id)
                self._change(order, -order.lots)
            elif isinstance(event, MarketAdded):
                self._feeds.setdefault(event.market_no, self._new_feed())

    def _add(self, order: OrderAccepted | OpenOrder) -> None:
        resting = _Resting(order.market_no, order.side, order.price_ticks, 0)
        self._orders[order.order_id] = resting
        if isinstance(order, OpenOrder):
            self._change(resting, order.remaining_lots)
        else:
            self._change(resting, order.quantity_lots)

    def _change(self, order: _Resting, lots: int) -> None:
        if not lots:
            return
        order.lots += lots
        feed = self._feeds[order.market_no]
        self._touched.add(order.market_no)
        level = (order.side, order.price_ticks)
        before = feed.levels.get(level, 0)
        feed.touched.setdefault(level, before)
        if before + lots:
            feed.levels[level] = before + lots
        else:
            del feed.levels[level]

    def _record_trade(self, trade: Trade, time_ns: int) -> None:
        feed = self._feeds[trade.market_no]
        feed.trade_no += 1
        feed.trades.append(
            PublicTrade(
                market_no=trade.market_no,
                trade_no=feed.trade_no,
                sequence=trade.sequence,
                time_ns=time_ns,
                price_ticks=trade.price_ticks,
                quantity_lots=trade.quantity_lots,
                taker_side=trade.taker_side,
            )
        )
        start_ns = time_ns - time_ns % CANDLE_NS
        same = (
            feed.candles.pop() if feed.candles and feed.candles[-1].start_ns == start_ns else None
        )
        price = trade.price_ticks
        feed.candles.append(
            Candle(
                start_ns=start_ns,
                open_ticks=same.open_ticks if same else price,
                high_ticks=max(same.high_ticks, price) if same else price,
                low_ticks=min(same.low_ticks, price) if same else price,
                close_ticks=price,
                volume_lots=trade.quantity_lots + (same.volume_lots if same else 0),
                trades=1 + (same.trades if same else 0),
            )
        )

    def _publish(self, sequence: int, time_ns: int) -> None:
        for market_no in sorted(self._touched):
            feed = self._feeds[market_no]
            changed = {
                level: feed.levels.get(level, 0)
                for level, before in feed.touched.items()
                if feed.levels.get(level, 0) != before
            }
            feed.touched.clear()
            if not changed:
                continue
            feed.update += 1
            feed.sequence = sequence
            feed.deltas.append(
                BookDelta(
                    market_no=market_no,
                    update=feed.update,
                    sequence=sequence,
                    time_ns=time_ns,
                    bids=_sorted(changed, Side.BUY),
                    asks=_sorted(changed, Side.SELL),
                )
            )
        self._touched.clear()


def _sorted(levels: dict[tuple[Side, int], int], side: Side) -> tuple[PriceLevel, ...]:
    found = [(price, lots) for (of, price), lots in levels.items() if of is side]
    return tuple(sorted(found, reverse=side is Side.BUY))


def _best(feed: _Feed, side: Side, count: int) -> tuple[PriceLevel, ...]:
    return _sorted(feed.levels, side)[:count]
