"""A pruned journal: nothing that anybody needs is gone, and it still knows what it is."""

from __future__ import annotations

import itertools

import pytest

from core.clock import ManualClock
from core.errors import Corrupt, Unavailable
from engine.blocks import GENESIS, JOURNAL_START, is_segment
from engine.events import Projected
from engine.factory import engine_factory
from engine.journal import JournalReader, verify
from engine.laboratory.drawn import Commands
from engine.recovery import recover, replay
from engine.retention import backup_marks, mark_backup, prune_journal
from engine.sequencer import Sequencer
from engine.simulated_files import SimulatedStorage
from engine.snapshot import prune_snapshots, snapshot_names
from tests.unit.engine.journals import copy_of, storage_of

FACTORY = engine_factory()
SEGMENT_BYTES = 6_000


class Shop:
    """A sequencer with small segments, fed at random."""

    def __init__(self, seed: int = 1) -> None:
        self.storage = storage_of(seed)
        self.drawn = Commands(seed)
        self.sequencer = self.open(1, GENESIS)
        self.positions = [GENESIS]
        for command in self.drawn.opening():
            self.drawn.observe(self.sequencer.execute([command])[0])
        self.run(30)

    def open(self, epoch: int, projected: Projected) -> Sequencer:
        """Recover."""
        self.sequencer = recover(
            self.storage, epoch=epoch, clock=self.drawn_clock(), lease=lambda: None,
            projected=projected, factory=FACTORY, lag_events_max=1 << 30,
            segment_bytes_max=SEGMENT_BYTES,
        )  # fmt: skip
        return self.sequencer

    def drawn_clock(self) -> ManualClock:
        """Return a clock that stands where the commands do."""
        return ManualClock(self.drawn.time_ns)

    def run(self, batches: int) -> Projected:
        """Execute so many batches; return where that led."""
        for _ in range(batches):
            batch = [self.drawn.next() for _ in range(10)]
            for events in self.sequencer.execute(batch):
                self.drawn.observe(events)
            self.positions.append(self.sequencer.position)
        return self.sequencer.position

    def state_hash(self) -> bytes:
        """Return the live state hash."""
        with self.sequencer.reading() as engine:
            return engine.state_hash()


def segments(storage: SimulatedStorage) -> list[str]:
    """Return the names of the segments."""
    return list(filter(is_segment, storage.names()))


@pytest.fixture
def shop() -> Shop:
    """Return a shop with a snapshot in the middle of its journal, and more after it."""
    shop = Shop()
    shop.sequencer.snapshot(shop.storage)
    shop.run(30)
    return shop


def test_segments_behind_snapshot_and_books_go_and_the_rest_recovers_to_the_same(
    shop: Shop,
) -> None:
    before, end, live = segments(shop.storage), shop.sequencer.position, shop.state_hash()
    gone = prune_journal(shop.storage, projected_sequence=end.sequence)
    assert gone
    assert gone + segments(shop.storage) == before
    report = verify(shop.storage, end)
    assert report.start.sequence > 0
    assert (report.end, report.torn) == (end, None)
    engine, _, found = replay(shop.storage, projected=end, factory=FACTORY)
    assert (found, engine.state_hash()) == (end, live)
    shop.open(2, end)
    shop.run(3)
    assert verify(shop.storage, shop.sequencer.position).start == report.start
    assert prune_journal(shop.storage, projected_sequence=end.sequence) == []


def test_without_a_snapshot_nothing_goes(shop: Shop) -> None:
    for name in snapshot_names(shop.storage):
        shop.storage.delete(name)
    assert prune_journal(shop.storage, projected_sequence=1 << 40) == []


def test_a_snapshot_that_is_damaged_or_after_the_books_lets_nothing_go(shop: Shop) -> None:
    [name] = snapshot_names(shop.storage)
    assert prune_journal(copy_of(shop.storage), projected_sequence=1 << 40) != []
    assert prune_journal(shop.storage, projected_sequence=shop.positions[10].sequence) == []
    shop.storage.flip(name, offset=300, bit=1)
    assert prune_journal(shop.storage, projected_sequence=1 << 40) == []


def test_a_backup_keeps_what_it_does_not_have_yet(shop: Shop) -> None:
    behind = shop.positions[12]
    mark_backup(shop.storage, "nightly", behind)
    assert backup_marks(shop.storage) == {"nightly": behind}
    kept = prune_journal(copy_of(shop.storage), projected_sequence=1 << 40)
    shop.storage.delete("backup-nightly.pos")
    assert len(prune_journal(shop.storage, projected_sequence=1 << 40)) > len(kept) > 0
    with pytest.raises(ValueError, match="no name"):
        mark_backup(shop.storage, "../x", behind)


def test_what_goes_is_in_the_archive_first_and_the_whole_verifies_from_both(shop: Shop) -> None:
    archive, whole = storage_of(2), copy_of(shop.storage)
    end = shop.sequencer.position
    gone = prune_journal(shop.storage, projected_sequence=end.sequence, archive=archive)
    assert archive.names() == gone
    together = copy_of(shop.storage)
    together.delete(JOURNAL_START.name)
    for name in gone:
        together.write_atomic(name, archive.read(name))
    assert verify(together, end) == verify(whole, end)
    refusing = storage_of(3)
    refusing.fail("write", 99)
    with pytest.raises(Unavailable):
        prune_journal(whole, projected_sequence=end.sequence, archive=refusing)
    assert segments(whole)[: len(gone)] == gone


def test_a_crash_at_any_operation_of_pruning_leaves_a_journal_that_recovers(shop: Shop) -> None:
    class Crash(Exception):
        pass

    end, live, died = shop.sequencer.position, shop.state_hash(), 0
    for at in range(40):
        storage = copy_of(shop.storage)
        counter = itertools.count()

        def maybe(operation: str, name: str, counter: itertools.count[int] = counter) -> None:
            if next(counter) == at:  # noqa: B023
                raise Crash

        storage.before_operation = maybe
        try:
            prune_journal(storage, projected_sequence=end.sequence)
        except Crash:
            died += 1
        storage.before_operation = None
        storage.crash()
        engine, _, found = replay(storage, projected=end, factory=FACTORY)
        assert (found, engine.state_hash()) == (end, live)
        prune_journal(storage, projected_sequence=end.sequence)
        assert JournalReader(storage).before_start == []
        assert verify(storage, end).end == end
    assert died > 5


def test_a_pruned_journal_without_its_snapshot_is_corrupt_and_so_are_books_before_its_start(
    shop: Shop,
) -> None:
    end = shop.sequencer.position
    prune_journal(shop.storage, projected_sequence=end.sequence)
    for early in (GENESIS, shop.positions[3]):
        with pytest.raises(Corrupt, match="pruned up to"):
            replay(shop.storage, projected=early, factory=FACTORY)
    with pytest.raises(Corrupt, match="books stand"):
        verify(shop.storage, shop.positions[3])
    for name in snapshot_names(shop.storage):
        shop.storage.delete(name)
    with pytest.raises(Corrupt, match="pruned up to"):
        replay(shop.storage, projected=end, factory=FACTORY)


def test_a_missing_first_segment_is_corrupt_in_a_pruned_journal_too(shop: Shop) -> None:
    end = shop.sequencer.position
    prune_journal(shop.storage, projected_sequence=end.sequence)
    first = segments(shop.storage)[0]
    missing = copy_of(shop.storage)
    missing.delete(first)
    with pytest.raises(Corrupt, match="does not begin at its start"):
        verify(missing)
    unmarked = copy_of(shop.storage)
    unmarked.delete(JOURNAL_START.name)
    with pytest.raises(Corrupt, match="does not begin at its start"):
        verify(unmarked)
    shop.storage.flip(JOURNAL_START.name, offset=20, bit=2)
    with pytest.raises(Corrupt, match=JOURNAL_START.name):
        verify(shop.storage)


def test_a_snapshot_of_another_history_lets_nothing_go(shop: Shop) -> None:
    other = Shop(seed=2)
    other.sequencer.snapshot(other.storage)
    [foreign] = snapshot_names(other.storage)
    prune_snapshots(shop.storage, behind=0)
    for name in snapshot_names(shop.storage):
        shop.storage.delete(name)
    shop.storage.write_atomic(foreign, other.storage.read(foreign))
    before = segments(shop.storage)
    with pytest.raises(Corrupt, match="not in the journal"):
        prune_journal(shop.storage, projected_sequence=1 << 40)
    assert segments(shop.storage) == before
