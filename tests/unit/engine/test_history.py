"""The book of any command, long ago or just now, out of the journal; trades over a restart."""

from __future__ import annotations

from collections import defaultdict

import pytest

from core.clock import ManualClock
from core.entropy import SeededEntropy
from core.errors import Corrupt, Refused
from engine import tapes
from engine.factory import EngineKind, engine_factory
from engine.history import Replay, depth_at
from engine.laboratory.drawn import Commands
from engine.marketdata import MarketData
from engine.recovery import EngineFactory, recover
from engine.sequencer import Sequencer
from engine.simulated_files import SimulatedStorage
from engine.snapshot import snapshot_names
from engine.trades import Candle, PublicTrade
from tests.unit.engine.books import ALL, Book, book_of
from tests.unit.engine.journals import filled, storage_of


class Life:
    """A leader with market data that ends and begins again; what its books showed is kept."""

    def __init__(self, seed: int, factory: EngineFactory) -> None:
        self.storage = SimulatedStorage(SeededEntropy(seed))
        self.factory = factory
        self.drawn = Commands(seed)
        self.clock = ManualClock(self.drawn.time_ns)
        self.epoch = 0
        self.books: dict[int, dict[int, Book]] = {}
        self.trades: defaultdict[int, list[PublicTrade]] = defaultdict(list)
        self.opening = list(self.drawn.opening())
        self.restart()

    def restart(self) -> None:
        """Recover in the next epoch."""
        self.epoch += 1
        self.data = MarketData()
        self.sequencer: Sequencer = recover(
            self.storage, epoch=self.epoch, clock=self.clock, lease=lambda: None,
            factory=self.factory, publish=self.data.apply, segment_bytes_max=9_000,
            lag_events_max=1 << 30,
        )  # fmt: skip
        with self.sequencer.reading() as engine:
            self.data.begin(engine)

    def opened(self, market_no: int) -> int:
        """Return the end of the block that opened a market."""
        return min(sequence for sequence, books in self.books.items() if market_no in books)

    def tapes(self) -> dict[int, tuple[list[PublicTrade], list[Candle]]]:
        """Return what is shown of every market."""
        return {no: (self.data.trades(no, ALL), self.data.candles(no, ALL)) for no in self.trades}

    def run(self, batches: int) -> None:
        """Execute random batches; remember the books at the ends of their blocks."""
        for _ in range(batches):
            size = self.drawn.random.randrange(1, 6)
            batch = [
                self.opening.pop(0) if self.opening else self.drawn.next() for _ in range(size)
            ]
            self.clock.advance(max(0, self.drawn.time_ns - self.clock.now_ns()))
            for events in self.sequencer.execute(batch):
                self.drawn.observe(events)
            with self.sequencer.reading() as engine:
                books = {no: book_of(engine, no) for no in engine.markets()}
                self.books[engine.sequence] = books
            for no in books:
                seen = {(trade.sequence, trade.n) for trade in self.trades[no][:50]}
                found = self.data.trades(no, 50)
                new = [trade for trade in found if (trade.sequence, trade.n) not in seen]
                self.trades[no][:0] = new

    def snapshot(self) -> None:
        """Write a snapshot and the tapes, as the engine's home does."""
        self.sequencer.snapshot(self.storage)
        tapes.keep(self.storage, self.data)


@pytest.fixture(params=[EngineKind.REFERENCE, EngineKind.NATIVE])
def factory(request: pytest.FixtureRequest) -> EngineFactory:
    return engine_factory(request.param)


def test_the_depth_at_any_command_is_what_the_live_engine_showed(factory: EngineFactory) -> None:
    life = Life(3, factory)
    for _ in range(4):
        life.run(40)
        life.snapshot()
        life.run(15)
        life.restart()
    segments = [name for name in life.storage.names() if name.startswith("journal-")]
    assert len(segments) > 6
    assert len(snapshot_names(life.storage)) == 4
    checked = 0
    for sequence, books in life.books.items():
        for market_no, (bids, asks) in books.items():
            depth = depth_at(
                life.storage, factory=factory, market_no=market_no, sequence=sequence, levels=ALL
            )
            assert depth.sequence == sequence
            assert tuple(level[:2] for level in depth.bids) == bids
            assert tuple(level[:2] for level in depth.asks) == asks
            checked += 1
    assert checked > 200


def test_a_command_in_the_middle_of_a_block_can_be_asked_for(factory: EngineFactory) -> None:
    life = Life(4, factory)
    life.run(60)
    live, old = life.data, 0
    for sequence in range(max(life.books) - 60, max(life.books) + 1):
        for market_no in life.books[max(life.books)]:
            if sequence < life.opened(market_no):
                continue
            memory = live.depth_at(market_no, sequence, ALL)
            assert memory is not None
            found = depth_at(
                life.storage, factory=factory, market_no=market_no, sequence=sequence, levels=ALL
            )
            assert memory.bids == tuple(level[:2] for level in found.bids)
            assert memory.asks == tuple(level[:2] for level in found.asks)
            old += sequence not in life.books
    assert old


def test_what_is_not_in_the_journal_is_refused(factory: EngineFactory) -> None:
    life = Life(5, factory)
    life.run(20)
    end = max(life.books)
    with pytest.raises(Refused, match="not_found"):
        depth_at(life.storage, factory=factory, market_no=1, sequence=end + 1, levels=1)
    with pytest.raises(Refused, match="unknown_market"):
        depth_at(life.storage, factory=factory, market_no=1, sequence=0, levels=1)


def test_a_snapshot_of_another_journal_is_no_beginning(factory: EngineFactory) -> None:
    life, other = Life(6, factory), storage_of()
    life.run(20)
    life.snapshot()
    filled(other, sizes=(50, 50))
    for name in snapshot_names(life.storage):
        other.write_atomic(name, life.storage.read(name))
    with pytest.raises(Corrupt, match="not in the journal"):
        list(Replay(other, factory=factory, after=80).blocks())


def recalled(life: Life) -> MarketData:
    """Return the market data of a process that begins now."""
    life.restart()
    tapes.recall(life.storage, life.data, factory=life.factory)
    return life.data


def test_no_trade_and_no_candle_is_lost_or_changed_by_a_restart(factory: EngineFactory) -> None:
    life = Life(7, factory)
    for later, tail in ((0, 20), (0, 0), (15, 20), (15, 0)):
        life.run(50)
        life.snapshot()
        if later:  # a file from after the snapshot, as a busy market leaves it
            life.run(later)
            tapes.keep(life.storage, life.data)
        life.run(tail)
        before = life.tapes()
        recalled(life)
        assert life.tapes() == before
    assert all(life.data.trades(no, ALL) == trades for no, trades in life.trades.items())
    assert sum(map(len, life.trades.values())) > 30


@pytest.mark.parametrize("damage", ["gone", "flipped", "of another journal"])
def test_without_its_file_the_list_begins_with_what_is_replayed(damage: str) -> None:
    life = Life(8, engine_factory(EngineKind.REFERENCE))
    life.run(80)
    life.snapshot()
    start = max(life.books)
    life.run(40)
    whole = life.tapes()
    if damage == "gone":
        life.storage.delete(tapes.NAME)
    elif damage == "flipped":
        wrong = bytearray(life.storage.read(tapes.NAME))
        wrong[len(wrong) // 2] ^= 1
        life.storage.write_atomic(tapes.NAME, bytes(wrong))
    else:
        stranger = Life(9, life.factory)
        stranger.run(70)
        stranger.snapshot()
        assert max(stranger.books) < max(life.books)
        life.storage.write_atomic(tapes.NAME, stranger.storage.read(tapes.NAME))
    data = recalled(life)
    for no, trades in life.trades.items():
        tail = [trade for trade in trades if trade.sequence > start]
        assert data.trades(no, ALL)[: len(tail)] == tail
        assert set(data.trades(no, ALL)) <= set(trades)
        assert set(data.candles(no, ALL)) <= set(whole[no][1])
    assert any(data.trades(no, 1) for no in life.trades)


def test_any_flipped_byte_of_the_file_makes_it_worth_nothing() -> None:
    life = Life(10, engine_factory(EngineKind.REFERENCE))
    life.run(40)
    life.snapshot()
    sound = life.storage.read(tapes.NAME)
    found = tapes.read_tapes(life.storage)
    assert found is not None
    assert found[0] == life.sequencer.position
    for at in range(0, len(sound), 7):
        wrong = bytearray(sound)
        wrong[at] ^= 1 << at % 8
        life.storage.write_atomic(tapes.NAME, bytes(wrong))
        assert tapes.read_tapes(life.storage) is None
    for size in range(0, len(sound), 61):
        life.storage.write_atomic(tapes.NAME, sound[:size])
        assert tapes.read_tapes(life.storage) is None
