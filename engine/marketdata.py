"""Market data, made of nothing but events: level-2 deltas, depth, trades, one-minute candles.

One delta per market and command that changed its book, so no reader ever sees a crossed one. Every
delta names

    sequence            the engine's sequence of the command that caused it: the same for ever, in
                        every process that reads the journal
    previous_sequence   that of the delta before it in this market
    update              a number that rises by exactly one per delta
    checksum            of the best ten levels after it (engine.levels)

so a reader sees what it missed, got twice or got in the wrong order, and that its levels are right
(engine.bookclient is such a reader). This joins what the big exchanges do: update numbers are
Binance's U and u, the naming of the predecessor is its pu and OKX's prevSeqId, the checksum over
ten levels is Kraken's. OKX gave its checksum up in 2026, because TLS and prevSeqId find what is
lost on the way; we keep it, because it also finds what was wrong before it was sent, here or in the
reader.

Numbers over a restart. Nothing but the journal outlives a process, so numbering begins at the
engine's sequence then. Every delta takes a command, so update <= sequence always holds; a new
process begins at or above every number that was ever given, and one that is met again means the
same book. A reader that comes back finds its number too old, or goes on without losing anything; it
can never take a delta of another time for its next one. Counting from zero in every process, with
the epoch as a name of the stream, would make every restart a gap and need a second field.

Everything is bounded: a reader that fell behind what is kept takes a new depth. Events are followed
as records; no object is made of an event, and one of a delta or trade only for who asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from struct import Struct

from core.errors import Reason, Refused
from engine.applied import AppliedBlock
from engine.base import Engine, OpenOrder
from engine.enums import EventKind, Side
from engine.events import Projected
from engine.marketfeed import BookDelta, BookDepth, MarketFeed
from engine.records import EVENT_LAYOUTS, RECORD_BYTES
from engine.trades import Candle, PublicTrade, Tape, TapeRows

_Order = tuple[int, int, int]
"""(side of market, price in ticks, lots)."""


def _columns(kind: EventKind, *names: str) -> Struct:
    """Return what reads these fields, named in the order they stand, out of an event record."""
    [layout] = [layout for layout in EVENT_LAYOUTS if layout.kind == kind]
    text, end = "<", 0
    for name in names:
        at, code = layout.offsets[name]
        text += f"{at - end}x{_CODES[code]}"
        end = at + Struct("<" + _CODES[code]).size
    return Struct(text)


_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q"}
_OF_MARKET = _columns(EventKind.MARKET_ADDED, "market_no", "sequence")
_ACCEPTED = _columns(
    EventKind.ORDER_ACCEPTED,
    *("market_no", "sequence", "order_id", "price_ticks", "quantity_lots", "side"),
)
_TRADE = _columns(EventKind.TRADE, "taker_order_id", "maker_order_id", "quantity_lots")
_PUBLIC = _columns(
    EventKind.TRADE, "market_no", "sequence", "price_ticks", "quantity_lots", "taker_side"
)
_REDUCED = _columns(EventKind.ORDER_REDUCED, "order_id", "reduced_lots")
_REPLACED = _columns(
    EventKind.ORDER_REPLACED, "sequence", "order_id", "price_ticks", "remaining_lots"
)
_CLOSED = _columns(EventKind.ORDER_FILLED, "sequence", "order_id")
assert _CLOSED.format == _columns(EventKind.ORDER_CANCELLED, "sequence", "order_id").format
_BEFORE_TRADES = frozenset({EventKind.ORDER_ACCEPTED, EventKind.ORDER_REPLACED})
"""With one of these begin the events of every command that trades."""


class MarketData:
    """Follows applied blocks; hand `apply` to the sequencer as `publish`. Thread-safe."""

    def __init__(
        self, *, deltas_max: int = 4096, trades_max: int = 1024, candles_max: int = 1440
    ) -> None:
        self._lock = threading.Lock()
        self._maxima = (deltas_max, trades_max, candles_max)
        self._feeds: dict[int, MarketFeed] = {}
        self._orders: dict[int, _Order] = {}
        self._changes: dict[int, dict[int, int]] = {}
        """By side of market: those of its feed."""
        self._touched: set[int] = set()
        """Markets that the present command may have changed."""
        self._sequence = 0
        """Of the command that is being followed, or was followed last."""
        self._time_ns = 0
        self._block: AppliedBlock | None = None
        """The last one followed."""
        self._first = 0
        """Where the events of that command begin."""
        self._follow: dict[int, Callable[[bytes, int], None]] = {
            EventKind.ORDER_ACCEPTED: self._accepted,
            EventKind.TRADE: self._traded,
            EventKind.ORDER_REDUCED: self._reduced,
            EventKind.ORDER_REPLACED: self._replaced,
            EventKind.ORDER_FILLED: self._closed,
            EventKind.ORDER_CANCELLED: self._closed,
            EventKind.MARKET_ADDED: self._market_added,
        }

    def begin(self, engine: Engine) -> None:
        """Take over the books of an engine that was recovered; engine.tapes recalls its trades."""
        with self._lock:
            self._sequence = engine.sequence
            self._orders.clear()
            self._feeds.clear()
            for market_no in engine.markets():
                self._open(market_no)
            for customer_no in engine.customers():
                for order in engine.open_orders(customer_no):
                    self._add(order)
            for feed in self._feeds.values():
                feed.settle()

    def apply(self, block: AppliedBlock) -> None:
        """Follow one applied block."""
        with self._lock:
            follow, records = self._follow.get, block.event_records
            self._time_ns = block.time_ns
            for index, kind in enumerate(records[::RECORD_BYTES]):
                handle = follow(kind)
                if handle is not None:
                    handle(records, index * RECORD_BYTES)
            self._publish()
            self._sequence = block.last_sequence
            self._block = block

    # ---- trades over a restart, see engine.tapes

    @property
    def sequence(self) -> int:
        """Return the engine's sequence up to which was followed."""
        return self._sequence

    def tapes(self) -> tuple[Projected | None, TapeRows]:
        """Return all trades and candles, and where they stand; None: no block was followed yet."""
        with self._lock:
            rows = {market_no: feed.tape.rows() for market_no, feed in self._feeds.items()}
            return (self._block.projected if self._block else None), rows

    def restore(self, rows: TapeRows) -> None:
        """Take the trades and candles of an earlier process."""
        with self._lock:
            for market_no, (trades, candles) in rows.items():
                self._feed(market_no).tape.restore(trades, candles)

    def begin_tapes_at(self, time_ns: int) -> None:
        """Know no trade before a time: the minute it lies in gets no candle."""
        with self._lock:
            for feed in self._feeds.values():
                feed.tape.begin_at(time_ns)

    def recall(self, block: AppliedBlock) -> None:
        """Take the trades of a block that led to the state of `begin`; the books are after it."""
        with self._lock:
            self._time_ns = block.time_ns
            for index, kind in enumerate(block.event_records[::RECORD_BYTES]):
                at = index * RECORD_BYTES
                if kind == EventKind.TRADE:
                    self._record_trade(block.event_records, at)
                elif kind in _BEFORE_TRADES:
                    self._first = at

    # ---- questions

    def depth(self, market_no: int, levels: int) -> BookDepth:
        """Return the best levels. Refused: unknown_market."""
        with self._lock:
            return self._feed(market_no).depth(self._sequence, levels)

    def depth_at(self, market_no: int, sequence: int, levels: int) -> BookDepth | None:
        """Return the best levels as they stood after a command. Refused: unknown_market.

        None: the command has not been yet, or so long ago that the deltas since are not kept; then
        engine.history asks the journal.
        """
        with self._lock:
            feed = self._feed(market_no)
            return feed.depth_at(sequence, levels) if sequence <= self._sequence else None

    def deltas_after(
        self, market_no: int, update: int, limit: int | None = None
    ) -> list[BookDelta] | None:
        """Return the deltas after an update number, oldest first. Refused: unknown_market.

        None: too old, or never given; take a depth first.
        """
        with self._lock:
            return self._feed(market_no).deltas_after(update, limit)

    def trades(self, market_no: int, limit: int) -> list[PublicTrade]:
        """Return the latest trades, newest first. Refused: unknown_market."""
        with self._lock:
            return self._feed(market_no).tape.trades(market_no, limit)

    def candles(self, market_no: int, limit: int) -> list[Candle]:
        """Return the latest one-minute candles, oldest first. Refused: unknown_market."""
        with self._lock:
            return self._feed(market_no).tape.candles(limit)

    def _feed(self, market_no: int) -> MarketFeed:
        feed = self._feeds.get(market_no)
        if feed is None:
            raise Refused(Reason.UNKNOWN_MARKET, f"market {market_no}")
        return feed

    # ---- following; each takes the records and where the event stands in them

    def _accepted(self, records: bytes, at: int) -> None:
        market_no, sequence, order_id, price, lots, side = _ACCEPTED.unpack_from(records, at)
        if sequence != self._sequence:
            self._next(sequence, at)
        book = market_no << 2 | side
        self._orders[order_id] = (book, price, lots)
        changes = self._changes[book]
        changes[price] = changes.get(price, 0) + lots
        self._touched.add(market_no)

    def _traded(self, records: bytes, at: int) -> None:
        taker_id, maker_id, lots = _TRADE.unpack_from(records, at)
        self._take(taker_id, lots)
        self._take(maker_id, lots)
        self._record_trade(records, at)

    def _reduced(self, records: bytes, at: int) -> None:
        order_id, lots = _REDUCED.unpack_from(records, at)
        self._take(order_id, lots)

    def _take(self, order_id: int, taken: int) -> None:
        """Take lots from an order; its command began with an event that named its market."""
        book, price, lots = self._orders[order_id]
        self._orders[order_id] = (book, price, lots - taken)
        changes = self._changes[book]
        changes[price] = changes.get(price, 0) - taken

    def _replaced(self, records: bytes, at: int) -> None:
        sequence, order_id, price, lots = _REPLACED.unpack_from(records, at)
        if sequence != self._sequence:
            self._next(sequence, at)
        book, old_price, old_lots = self._orders[order_id]
        self._orders[order_id] = (book, price, lots)
        changes = self._changes[book]
        changes[old_price] = changes.get(old_price, 0) - old_lots
        changes[price] = changes.get(price, 0) + lots
        self._touched.add(book >> 2)

    def _closed(self, records: bytes, at: int) -> None:
        sequence, order_id = _CLOSED.unpack_from(records, at)
        if sequence != self._sequence:
            self._next(sequence, at)
        book, price, lots = self._orders.pop(order_id)
        if lots:
            changes = self._changes[book]
            changes[price] = changes.get(price, 0) - lots
            self._touched.add(book >> 2)

    def _market_added(self, records: bytes, at: int) -> None:
        market_no, sequence = _OF_MARKET.unpack_from(records, at)
        if sequence != self._sequence:
            self._next(sequence, at)
        if market_no not in self._feeds:
            self._open(market_no)

    def _next(self, sequence: int, at: int) -> None:
        """Begin with the events of the next command that has to do with us."""
        self._publish()
        self._sequence, self._first = sequence, at

    def _publish(self) -> None:
        for market_no in self._touched:
            self._feeds[market_no].publish(self._sequence, self._time_ns)
        self._touched.clear()

    def _record_trade(self, records: bytes, at: int) -> None:
        market_no, sequence, price, lots, side = _PUBLIC.unpack_from(records, at)
        self._feeds[market_no].tape.record(
            sequence=sequence,
            n=(at - self._first) // RECORD_BYTES,
            time_ns=self._time_ns,
            price=price,
            lots=lots,
            taker_side=side,
        )

    def _add(self, order: OpenOrder) -> None:
        book = order.market_no << 2 | order.side
        self._orders[order.order_id] = (book, order.price_ticks, order.remaining_lots)
        changes = self._changes[book]
        changes[order.price_ticks] = changes.get(order.price_ticks, 0) + order.remaining_lots

    def _open(self, market_no: int) -> None:
        deltas_max, trades_max, candles_max = self._maxima
        tape = Tape(trades_max=trades_max, candles_max=candles_max)
        feed = MarketFeed(market_no, sequence=self._sequence, deltas_max=deltas_max, tape=tape)
        self._feeds[market_no] = feed
        self._changes[market_no << 2 | Side.BUY] = feed.bid_changes
        self._changes[market_no << 2 | Side.SELL] = feed.ask_changes
