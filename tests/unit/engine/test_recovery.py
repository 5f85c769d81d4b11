"""Restart: state = replay of the longest sound prefix, and the books get each event once (I12)."""

from __future__ import annotations

import itertools

import pytest

from core.clock import ManualClock
from core.entropy import SeededEntropy
from core.errors import Corrupt, Unavailable
from engine.applied import AppliedBlock
from engine.blocks import GENESIS
from engine.commands import CancelAll
from engine.events import Event, Projected
from engine.laboratory.drawn import Commands
from engine.recovery import ReferenceFactory, recover, replay
from engine.sequencer import Sequencer
from engine.simulated_files import SimulatedStorage
from engine.snapshot import (
    prune_snapshots,
    read_snapshot,
    sequence_of,
    snapshot_names,
    sound_snapshots,
)

FACTORY = ReferenceFactory()


class Life:
    """A sequencer that is fed, crashes, and comes back, with books beside it."""

    def __init__(self, seed: int) -> None:
        self.storage = SimulatedStorage(SeededEntropy(seed))
        self.drawn = Commands(seed)
        self.clock = ManualClock(self.drawn.time_ns)
        self.epoch = 0
        self.projected = GENESIS
        self.books: list[AppliedBlock] = []
        self.answered: dict[int, list[Event]] = {}
        self.sequencer = self.restart()
        self.feed(list(self.drawn.opening()))

    def restart(self) -> Sequencer:
        """Recover in the next epoch."""
        self.epoch += 1
        self.sequencer = recover(
            self.storage,
            epoch=self.epoch,
            clock=self.clock,
            lease=lambda: None,
            projected=self.projected,
        )
        return self.sequencer

    def feed(self, commands: list[object]) -> None:
        """Execute a batch and remember what was answered."""
        first = self.sequencer.log.last_sequence + 1
        answers = self.sequencer.execute(commands)  # type: ignore[arg-type]
        for n, events in enumerate(answers):
            self.answered[first + n] = events
            self.drawn.observe(events)

    def run(self, batches: int) -> None:
        """Execute some batches of random commands."""
        for _ in range(batches):
            size = self.drawn.random.randrange(1, 6)
            batch: list[object] = [self.drawn.next() for _ in range(size)]
            self.clock.advance(max(0, self.drawn.time_ns - self.clock.now_ns()))
            self.feed(batch)

    def settle(self, blocks: int) -> None:
        """Let the books follow some blocks."""
        for block in self.sequencer.log.blocks_after(self.projected.sequence, blocks):
            self.books.append(block)
            self.projected = block.projected
            self.sequencer.log.mark_projected(block.last_sequence)

    def state_hash(self) -> bytes:
        """Return the live state hash."""
        with self.sequencer.reading() as engine:
            return engine.state_hash()


def test_I12_live_equals_replayed_equals_snapshot_and_tail() -> None:
    life = Life(1)
    for _ in range(3):
        life.run(60)
        life.settle(30)
        life.sequencer.snapshot(life.storage)
    life.run(20)
    live, end = life.state_hash(), life.sequencer.position
    from_start, _, start_end = replay(life.storage, factory=FACTORY)
    assert (from_start.state_hash(), start_end) == (live, end)
    life.settle(1000)
    from_snapshot, log, snapshot_end = replay(
        life.storage, projected=life.projected, factory=FACTORY
    )
    assert (from_snapshot.state_hash(), snapshot_end) == (live, end)
    assert log.pending_events == 0


def test_L07_every_answered_command_is_there_after_every_crash_and_the_books_get_it_once() -> None:
    crashes_with_lag = 0
    for seed in range(12):
        life = Life(seed)
        for _ in range(5):
            life.run(12)
            life.settle(life.drawn.random.randrange(12))
            if life.drawn.random.random() < 0.5:
                life.sequencer.snapshot(life.storage)
            crashes_with_lag += life.sequencer.log.pending_events > 0
            live, position = life.state_hash(), life.sequencer.position
            life.storage.crash()
            life.restart()
            assert life.state_hash() == live
            assert life.sequencer.position == position
        life.settle(1000)
        sequences = [(b.first_sequence, b.last_sequence) for b in life.books]
        assert sequences[0][0] == 1
        for (_, last), (first, _) in itertools.pairwise(sequences):
            assert first == last + 1
        booked = [event for block in life.books for event in block.events]
        answered = [event for _, events in sorted(life.answered.items()) for event in events]
        assert booked == answered
    assert crashes_with_lag > 20


@pytest.mark.parametrize("operation", ["append", "sync", "write"])
def test_L07_a_crash_at_any_disk_operation_keeps_acknowledged_within_recovered(
    operation: str,
) -> None:
    class Crash(Exception):
        pass

    died = 0
    for at in range(12):
        life = Life(at)
        counter = itertools.count()

        def maybe(seen: str, name: str, counter: itertools.count[int] = counter) -> None:
            if seen == operation and next(counter) == at:  # noqa: B023
                raise Crash

        life.storage.before_operation = maybe
        try:
            for _ in range(8):
                life.run(3)
                life.settle(2)
                life.sequencer.snapshot(life.storage)
                life.sequencer = life.restart()
        except Crash:
            died += 1
        life.storage.before_operation = None
        acknowledged = max(life.answered)
        life.storage.crash()
        life.epoch += 1
        life.restart()
        with life.sequencer.reading() as engine:
            assert engine.sequence >= acknowledged
            replayed, _, _ = replay(life.storage, factory=FACTORY)
            assert replayed.state_hash() == engine.state_hash()
    assert died == 12


def test_a_crash_during_replay_changes_nothing() -> None:
    life = Life(3)
    life.run(30)
    live, files = life.state_hash(), {n: life.storage.read(n) for n in life.storage.names()}
    replay(life.storage, factory=FACTORY)
    assert {n: life.storage.read(n) for n in life.storage.names()} == files
    for _ in range(3):
        life.storage.crash()
        life.restart()
    assert life.state_hash() == live


def test_a_snapshot_after_the_books_is_not_used() -> None:
    life = Life(4)
    life.run(10)
    life.settle(3)
    early = life.projected
    life.sequencer.snapshot(life.storage)
    assert [s.position.sequence for s in sound_snapshots(life.storage, up_to=early.sequence)] == []
    life.restart()
    blocks = life.sequencer.log.blocks_after(early.sequence, 1000)
    assert blocks[0].first_sequence == early.sequence + 1


def test_a_damaged_snapshot_is_passed_over_for_an_older_one() -> None:
    life = Life(5)
    for _ in range(3):
        life.run(10)
        life.settle(1000)
        life.sequencer.snapshot(life.storage)
    live = life.state_hash()
    newest = snapshot_names(life.storage)[0]
    data = life.storage.read(newest)
    for offset in range(0, len(data), 97):
        life.storage.write_atomic(newest, data)
        life.storage.flip(newest, offset=offset, bit=offset % 8)
        with pytest.raises(Corrupt, match="snapshot-"):
            read_snapshot(life.storage, newest)
    for name in snapshot_names(life.storage):
        life.restart()
        assert life.state_hash() == live
        life.storage.write_atomic(name, life.storage.read(name)[:-1])
    life.restart()
    assert life.state_hash() == live


def test_a_snapshot_of_another_history_is_corrupt() -> None:
    life, other = Life(6), Life(7)
    for each in (life, other):
        each.run(10)
        each.settle(1000)
    other.sequencer.snapshot(other.storage)
    [name] = snapshot_names(other.storage)
    while life.projected.sequence < sequence_of(name):
        life.feed([CancelAll(customer_no=1)])
        life.settle(1)
    life.storage.write_atomic(name, other.storage.read(name))
    with pytest.raises(Corrupt, match="snapshot stand"):
        life.restart()


def test_books_that_are_ahead_of_the_journal_or_beside_it_are_corrupt() -> None:
    life = Life(8)
    life.run(5)
    life.settle(1000)
    good = life.projected
    for bad in (
        Projected(epoch=good.epoch, sequence=good.sequence + 1, hash=good.hash),
        Projected(epoch=good.epoch, sequence=good.sequence, hash=bytes(32)),
        Projected(epoch=good.epoch + 1, sequence=good.sequence, hash=good.hash),
        Projected(epoch=0, sequence=0, hash=b"\1" * 32),
    ):
        life.projected = bad
        with pytest.raises(Corrupt, match="books stand"):
            life.restart()
    life.projected = good
    life.restart()


def test_an_empty_folder_is_a_new_exchange_unless_the_books_know_better() -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    engine, log, end = replay(storage, factory=FACTORY)
    assert (engine.sequence, log.last_sequence, end) == (0, 0, GENESIS)
    with pytest.raises(Corrupt):
        replay(
            storage,
            projected=Projected(epoch=1, sequence=3, hash=bytes(32)),
            factory=FACTORY,
        )


def test_an_older_epoch_cannot_take_the_journal_back() -> None:
    life = Life(9)
    life.restart()
    life.epoch = 0
    with pytest.raises(Unavailable, match="epoch"):
        life.restart()


def test_snapshots_are_pruned_only_behind_the_books_and_the_backups() -> None:
    life = Life(10)
    for _ in range(4):
        life.run(5)
        life.sequencer.snapshot(life.storage)
    newest_first = [sequence_of(name) for name in snapshot_names(life.storage)]
    assert prune_snapshots(life.storage, behind=newest_first[-1] - 1) == []
    prune_snapshots(life.storage, behind=newest_first[1] + 1)
    assert [sequence_of(n) for n in snapshot_names(life.storage)] == newest_first[:2]
    newest = snapshot_names(life.storage)[0]
    life.storage.flip(newest, offset=200, bit=1)
    assert prune_snapshots(life.storage, behind=newest_first[0]) == []
