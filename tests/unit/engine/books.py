"""Seeded stories of books: random commands, what the engine showed after each, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.applied import AppliedBlock
from engine.base import Engine
from engine.events import Event
from engine.laboratory.weather import Rough
from engine.levels import PriceLevel
from engine.marketdata import MarketData
from engine.marketfeed import BookDelta
from engine.records import pack_event
from engine.reference import ReferenceEngine

ALL = 10**6
Book = tuple[tuple[PriceLevel, ...], tuple[PriceLevel, ...]]
EMPTY: Book = ((), ())


def block_of(events: Sequence[Event], time_ns: int = 0, epoch: int = 1) -> AppliedBlock:
    """Return a block that holds these events."""
    return AppliedBlock(
        epoch=epoch,
        first_sequence=events[0].sequence,
        last_sequence=events[-1].sequence,
        time_ns=time_ns,
        hash=bytes(32),
        event_records=b"".join(map(pack_event, events)),
    )


def book_of(engine: Engine, market_no: int, levels: int = ALL) -> Book:
    """Return bids and asks of an engine as (price, lots), best first."""
    depth = engine.depth(market_no, levels)
    return (
        tuple((level.price_ticks, level.quantity_lots) for level in depth.bids),
        tuple((level.price_ticks, level.quantity_lots) for level in depth.asks),
    )


@dataclass
class Story:
    """What happened, beside market data that followed it from the engine's first command."""

    engine: ReferenceEngine
    data: MarketData
    books: dict[int, dict[int, Book]] = field(default_factory=dict)
    """By sequence and market: the engine's book after that command."""

    def book(self, market_no: int, sequence: int) -> Book:
        """Return the engine's book after a command; before the market there was none."""
        return self.books.get(sequence, {}).get(market_no, EMPTY)

    def opened(self, market_no: int) -> int:
        """Return the sequence at which a market was opened."""
        return min(sequence for sequence, books in self.books.items() if market_no in books)

    def deltas(self, market_no: int) -> list[BookDelta]:
        """Return every delta of a market: numbers begin at the sequence that opened it."""
        found = self.data.deltas_after(market_no, self.opened(market_no))
        assert found is not None
        return found


def story(weather: type[Rough], seed: int, commands: int) -> Story:
    """Apply random commands in blocks of random sizes, and remember every book."""
    drawn = weather(seed)
    told = Story(ReferenceEngine(drawn.limits), MarketData(deltas_max=1 << 20))
    opening = list(drawn.opening())
    while told.engine.sequence < commands:
        events: list[Event] = []
        for _ in range(drawn.random.randrange(1, 20)):
            command = opening.pop(0) if opening else drawn.next()
            sequence = told.engine.sequence + 1
            answer = told.engine.apply(command, sequence=sequence, time_ns=drawn.time_ns)
            drawn.observe(answer)
            events += answer
            told.books[sequence] = {no: book_of(told.engine, no) for no in told.engine.markets()}
        told.data.apply(block_of(events, drawn.time_ns))
    return told
