"""The latest public trades and one-minute candles of a market: bounded, made of trade events.

A trade's name is (sequence, n): the command that caused it, and its place among that command's
events, as in the books. It is the same in every process that ever reads the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.clock import SECOND_NS
from engine.enums import Side

CANDLE_NS = 60 * SECOND_NS

TradeRow = tuple[int, int, int, int, int, int]
"""(sequence, n, time in ns, price in ticks, lots, side of the taker)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTrade:
    """A trade without its parties."""

    market_no: int
    sequence: int
    n: int
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


TapeRows = Mapping[int, tuple[Sequence[TradeRow], Sequence[Candle]]]
"""By market: its trades and candles, oldest first."""


@dataclass(slots=True, kw_only=True)
class _Minute:
    """The candle that still grows."""

    start_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int = 0
    trades: int = 0

    def candle(self) -> Candle:
        return Candle(
            start_ns=self.start_ns,
            open_ticks=self.open_ticks,
            high_ticks=self.high_ticks,
            low_ticks=self.low_ticks,
            close_ticks=self.close_ticks,
            volume_lots=self.volume_lots,
            trades=self.trades,
        )


class Tape:
    """The latest trades of one market."""

    __slots__ = ("_candles", "_minute", "_trades", "_whole_from_ns")

    def __init__(self, *, trades_max: int, candles_max: int) -> None:
        self._trades: deque[TradeRow] = deque(maxlen=trades_max)
        self._candles: deque[Candle] = deque(maxlen=candles_max - 1)
        self._minute: _Minute | None = None
        self._whole_from_ns = 0

    def begin_at(self, time_ns: int) -> None:
        """Know no trade before a time: of the minute it lies in there is no candle."""
        self._whole_from_ns = -(-time_ns // CANDLE_NS) * CANDLE_NS

    def record(
        self, *, sequence: int, n: int, time_ns: int, price: int, lots: int, taker_side: int
    ) -> None:
        """Add the next trade."""
        self._trades.append((sequence, n, time_ns, price, lots, taker_side))
        start_ns = time_ns - time_ns % CANDLE_NS
        if start_ns < self._whole_from_ns:
            return
        minute = self._minute
        if minute is None or minute.start_ns != start_ns:
            if minute is not None:
                self._candles.append(minute.candle())
            minute = self._minute = _Minute(
                start_ns=start_ns,
                open_ticks=price,
                high_ticks=price,
                low_ticks=price,
                close_ticks=price,
            )
        minute.high_ticks = max(minute.high_ticks, price)
        minute.low_ticks = min(minute.low_ticks, price)
        minute.close_ticks = price
        minute.volume_lots += lots
        minute.trades += 1

    def trades(self, market_no: int, limit: int) -> list[PublicTrade]:
        """Return the latest trades, newest first."""
        found: list[PublicTrade] = []
        for sequence, n, time_ns, price, lots, taker_side in reversed(self._trades):
            if len(found) >= limit:
                break
            found.append(
                PublicTrade(
                    market_no=market_no,
                    sequence=sequence,
                    n=n,
                    time_ns=time_ns,
                    price_ticks=price,
                    quantity_lots=lots,
                    taker_side=Side(taker_side),
                )
            )
        return found

    def rows(self) -> tuple[list[TradeRow], list[Candle]]:
        """Return all that is kept, oldest first: trades, and candles with the growing one."""
        return list(self._trades), self.candles(len(self._candles) + 1)

    def restore(self, trades: Iterable[TradeRow], candles: Sequence[Candle]) -> None:
        """Take what `rows` of an earlier process gave; its last candle grows on."""
        self._trades.extend(trades)
        self._candles.extend(candles[:-1])
        if candles:
            last = candles[-1]
            self._minute = _Minute(
                start_ns=last.start_ns,
                open_ticks=last.open_ticks,
                high_ticks=last.high_ticks,
                low_ticks=last.low_ticks,
                close_ticks=last.close_ticks,
                volume_lots=last.volume_lots,
                trades=last.trades,
            )

    def candles(self, limit: int) -> list[Candle]:
        """Return the latest candles, oldest first; the last one may still grow."""
        if limit <= 0:
            return []
        growing = [self._minute.candle()] if self._minute else []
        return [*self._candles, *growing][-limit:]
