"""What is followed of one market: its levels, the deltas that led to them, its trades.

See engine.marketdata for what the numbers mean. A kept delta is a plain tuple of numbers, because
the collector of garbage lets go of those; half a million objects cost it more than all of this.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from engine.enums import Side
from engine.levels import Levels, PriceLevel, checksum_of
from engine.trades import Tape

Change = tuple[int, int, int]
"""(price in ticks, lots before, lots after)."""
_Row = tuple[int, int, int, int, int, tuple[Change, ...], tuple[Change, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDelta:
    """The levels one command changed, with their new totals; see the module for the numbers."""

    market_no: int
    update: int
    sequence: int
    previous_sequence: int
    time_ns: int
    checksum: int
    bids: tuple[PriceLevel, ...]
    asks: tuple[PriceLevel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDepth:
    """The best levels, best first, right at `sequence`; the deltas after `update` continue it.

    The checksum covers ten levels of each side, whether so many were asked for or not.
    """

    market_no: int
    update: int
    sequence: int
    checksum: int
    bids: tuple[PriceLevel, ...]
    asks: tuple[PriceLevel, ...]


class _Kept(NamedTuple):
    """What a row is taken for when it is read."""

    update: int
    sequence: int
    previous_sequence: int
    time_ns: int
    checksum: int
    bids: tuple[Change, ...]
    asks: tuple[Change, ...]


class MarketFeed:
    """One market; MarketData holds the lock."""

    __slots__ = (
        *("_asks", "_bids", "_market_no", "_rows", "_sequence", "_update"),
        *("ask_changes", "bid_changes", "tape"),
    )

    def __init__(self, market_no: int, *, sequence: int, deltas_max: int, tape: Tape) -> None:
        """Begin at an engine sequence; `settle` what lies in the book then."""
        self._market_no = market_no
        self._bids, self._asks = Levels(Side.BUY), Levels(Side.SELL)
        self._rows: deque[_Row] = deque(maxlen=deltas_max)
        self._update = sequence
        self._sequence = sequence
        """Of the last delta, or of the beginning."""
        self.bid_changes: dict[int, int] = {}
        """Prices that the present command touched, and by how many lots."""
        self.ask_changes: dict[int, int] = {}
        self.tape = tape

    def settle(self) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        """Put what was touched into the levels; return what became different."""
        bids = _settle(self._bids, self.bid_changes) if self.bid_changes else ()
        asks = _settle(self._asks, self.ask_changes) if self.ask_changes else ()
        return bids, asks

    def publish(self, sequence: int, time_ns: int) -> None:
        """Settle, and keep a delta when a level became different."""
        bids, asks = self.settle()
        if bids or asks:
            self._update += 1
            check = checksum_of(self._bids, self._asks)
            self._rows.append((self._update, sequence, self._sequence, time_ns, check, bids, asks))
            self._sequence = sequence

    def depth(self, sequence: int, levels: int) -> BookDepth:
        """Return the best levels; `sequence` is how far was followed."""
        return self._depth(self._bids, self._asks, self._update, sequence, levels)

    def depth_at(self, sequence: int, levels: int) -> BookDepth | None:
        """Return the best levels as they stood after a command that was followed.

        None: that long ago the deltas are not kept.
        """
        oldest = _Kept._make(self._rows[0]).previous_sequence if self._rows else self._sequence
        if sequence < oldest:
            return None
        bids, asks, update = self._bids.copy(), self._asks.copy(), self._update
        for kept in itertools.takewhile(lambda each: each.sequence > sequence, self._newest()):
            update = kept.update - 1
            bids.put_all((price, lots) for price, lots, _ in kept.bids)
            asks.put_all((price, lots) for price, lots, _ in kept.asks)
        return self._depth(bids, asks, update, sequence, levels)

    def deltas_after(self, update: int, limit: int | None) -> list[BookDelta] | None:
        """Return the deltas after an update number, oldest first; None: too old, or never given."""
        behind = self._update - update
        if not 0 <= behind <= len(self._rows):
            return None
        first = len(self._rows) - behind
        until = None if limit is None else first + limit
        return [self._delta(row) for row in itertools.islice(self._rows, first, until)]

    def _newest(self) -> Iterator[_Kept]:
        return map(_Kept._make, reversed(self._rows))

    def _depth(
        self, bids: Levels, asks: Levels, update: int, sequence: int, levels: int
    ) -> BookDepth:
        return BookDepth(
            market_no=self._market_no,
            update=update,
            sequence=sequence,
            checksum=checksum_of(bids, asks),
            bids=bids.best(levels),
            asks=asks.best(levels),
        )

    def _delta(self, row: _Row) -> BookDelta:
        kept = _Kept._make(row)
        return BookDelta(
            market_no=self._market_no,
            update=kept.update,
            sequence=kept.sequence,
            previous_sequence=kept.previous_sequence,
            time_ns=kept.time_ns,
            checksum=kept.checksum,
            bids=self._bids.ordered((price, lots) for price, _, lots in kept.bids),
            asks=self._asks.ordered((price, lots) for price, _, lots in kept.asks),
        )


def _settle(levels: Levels, changes: dict[int, int]) -> tuple[Change, ...]:
    found = []
    for price, lots in changes.items():
        if lots:
            before = levels.lots(price)
            levels.put(price, before + lots)
            found.append((price, before, before + lots))
    changes.clear()
    return tuple(found)
