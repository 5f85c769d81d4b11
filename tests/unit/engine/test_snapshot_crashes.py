"""Crashes while a snapshot is written and while an engine recovers change nothing (L07, I12)."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.entropy import SeededEntropy
from core.errors import Corrupt
from engine.blocks import GENESIS
from engine.commands import AddAsset, CancelAll
from engine.crc32c import crc32c
from engine.events import Projected
from engine.factory import EngineKind, engine_factory
from engine.files import DiskStorage, Storage
from engine.journal import JournalReader
from engine.laboratory.drawn import Commands
from engine.read_ahead import WORTH_BYTES, blocks_ahead
from engine.records import pack_command
from engine.recovery import EngineFactory, recover, replay
from engine.sequencer import Sequencer
from engine.simulated_files import SimulatedStorage
from engine.snapshot import read_snapshot, snapshot_names, sound_snapshots
from tests.unit.engine.journals import copy_of

KINDS = [EngineKind.REFERENCE, EngineKind.NATIVE]


class Crash(BaseException):
    """The process ends here."""


def opened(
    storage: Storage, factory: EngineFactory, epoch: int = 1, projected: Projected = GENESIS
) -> Sequencer:
    """Recover with small segments."""
    return recover(
        storage, epoch=epoch, clock=ManualClock(), lease=lambda: None, projected=projected,
        factory=factory, lag_events_max=1 << 30, segment_bytes_max=20_000,
    )  # fmt: skip


def fed(storage: Storage, factory: EngineFactory, batches: int = 12) -> Sequencer:
    """Return a sequencer that has worked for a while."""
    drawn, room = Commands(4), opened(storage, factory)
    waiting = list(drawn.opening())
    for _ in range(batches):
        batch = [waiting.pop(0) if waiting else drawn.next() for _ in range(25)]
        for events in room.execute(batch):
            drawn.observe(events)
    return room


def state_hash(room: Sequencer) -> bytes:
    """Return the live state hash."""
    with room.reading() as engine:
        return engine.state_hash()


def dying_at(storage: SimulatedStorage, at: int) -> None:
    """Make the at-th disk operation from now on the last one."""
    counter = itertools.count()

    def die(operation: str, name: str) -> None:
        if next(counter) == at:
            raise Crash

    storage.before_operation = die


@pytest.mark.parametrize("kind", KINDS)
def test_L07_a_crash_at_every_step_of_a_snapshot_leaves_the_state_and_perhaps_the_snapshot(
    kind: EngineKind,
) -> None:
    factory, found, died = engine_factory(kind), set(), 0
    for at, seed in itertools.product(range(3), range(6)):
        storage = SimulatedStorage(SeededEntropy(seed))
        room = fed(storage, factory)
        live, end = state_hash(room), room.position
        dying_at(storage, at)
        try:
            room.snapshot(storage)
        except Crash:
            died += 1
        storage.before_operation = None
        storage.crash()
        found.add((at, len(snapshot_names(storage))))
        again = opened(storage, factory, epoch=2, projected=end)
        assert (state_hash(again), again.position) == (live, end)
    assert died == 2 * 6
    assert found == {(0, 0), (1, 0), (1, 1), (2, 1)}


@pytest.mark.parametrize("step", ["fsync", "replace", "folder"])
def test_L07_a_crash_at_every_step_of_a_snapshot_on_a_real_disk(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory, storage = engine_factory(), DiskStorage(tmp_path)
    room = fed(storage, factory)
    live, end = state_hash(room), room.position

    def die(*_: object, **__: object) -> None:
        raise Crash

    target: object = {"fsync": os, "replace": Path, "folder": DiskStorage}[step]
    name = "_sync_folder" if step == "folder" else step
    with monkeypatch.context() as patched:
        patched.setattr(target, name, die)
        with pytest.raises(Crash):
            room.snapshot(storage)
    assert len(snapshot_names(storage)) == (step == "folder")
    again = opened(storage, factory, epoch=2, projected=end)
    assert (state_hash(again), again.position) == (live, end)
    again.snapshot(storage)  # over what was left half made
    assert read_snapshot(storage, snapshot_names(storage)[0]).position == end


@pytest.mark.parametrize("kind", KINDS)
def test_L07_a_crash_at_every_disk_operation_of_a_recovery_loses_nothing(kind: EngineKind) -> None:
    factory = engine_factory(kind)
    storage = SimulatedStorage(SeededEntropy(1))
    room = fed(storage, factory)
    room.snapshot(storage)
    room.execute([CancelAll(customer_no=1)])
    live, end, died = state_hash(room), room.position, 0
    for at in itertools.count():
        left = copy_of(storage)
        for epoch in (2, 3):  # the second one dies where the first one did
            dying_at(left, at)
            try:
                opened(left, factory, epoch=epoch, projected=end)
                break
            except Crash:
                died += 1
                left.before_operation = None
                left.crash()
        left.before_operation = None
        again = opened(left, factory, epoch=4, projected=end)
        assert (state_hash(again), again.position) == (live, end)
        if not died or epoch == 2:
            break
    assert died >= 2 * 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_of_an_older_format_is_passed_over_and_the_journal_replayed(
    kind: EngineKind,
) -> None:
    factory = engine_factory(kind)
    storage = SimulatedStorage(SeededEntropy(1))
    room = fed(storage, factory)
    name = room.snapshot(storage)
    live, end = state_hash(room), room.position
    data = bytearray(storage.read(name))
    assert [found.position for found in sound_snapshots(storage, up_to=end.sequence)] == [end]
    data[4:6] = (1).to_bytes(2, "little")
    data[124:128] = crc32c(bytes(data[:124])).to_bytes(4, "little")
    storage.write_atomic(name, bytes(data))
    with pytest.raises(Corrupt, match="another version"):
        read_snapshot(storage, name)
    engine, _, found_end = replay(storage, projected=end, factory=factory)
    assert (engine.state_hash(), found_end) == (live, end)


@pytest.mark.parametrize("kind", KINDS)
def test_the_market_goes_on_while_a_snapshot_is_written(kind: EngineKind) -> None:
    storage = SimulatedStorage(SeededEntropy(1))
    room = fed(storage, engine_factory(kind))
    entered, go_on, names = threading.Event(), threading.Event(), []

    def slow(operation: str, name: str) -> None:
        if name.startswith("snapshot"):
            entered.set()
            go_on.wait(20)

    before, live = room.position, state_hash(room)
    storage.before_operation = slow
    writer = threading.Thread(target=lambda: names.append(room.snapshot(storage)))
    writer.start()
    assert entered.wait(20)
    room.execute([CancelAll(customer_no=1)])  # would wait for ever if the writing lock were held
    go_on.set()
    writer.join()
    snapshot = read_snapshot(storage, names[0])
    assert (snapshot.position, snapshot.state_hash) == (before, live)
    assert room.position.sequence == before.sequence + 1


# ------------------------------------------------------------------ reading ahead


@pytest.fixture(scope="module")
def long_journal(tmp_path_factory: pytest.TempPathFactory) -> DiskStorage:
    """Return a journal that is worth reading ahead."""
    storage = DiskStorage(tmp_path_factory.mktemp("long"))
    room = recover(
        storage, epoch=1, clock=ManualClock(), lease=lambda: None, factory=engine_factory(),
        lag_events_max=1 << 30,
    )  # fmt: skip
    room.execute([AddAsset(asset_no=1)])
    records = b"".join(pack_command(CancelAll(customer_no=n)) for n in range(9_000))
    for _ in range(10):
        room.execute_records(records)
    room.stop()
    return storage


def test_reading_ahead_yields_the_same_blocks_in_order(long_journal: DiskStorage) -> None:
    reader = JournalReader(long_journal)
    assert reader.size_from(0) > WORTH_BYTES
    assert list(blocks_ahead(reader, 0)) == list(JournalReader(long_journal).blocks_from(0))
    for block in blocks_ahead(JournalReader(long_journal), 0):
        assert block.first_sequence == 1  # and who stops early leaves no thread behind
        break


def test_damage_found_ahead_is_told_where_it_stands(long_journal: DiskStorage) -> None:
    [name] = [name for name in long_journal.names() if name.endswith(".seg")]
    damaged = SimulatedStorage(SeededEntropy(1))
    damaged.write_atomic(name, long_journal.read(name))
    damaged.flip(name, offset=3_000_000, bit=1)
    seen: list[int] = []
    blocks = blocks_ahead(JournalReader(damaged), 0)
    with pytest.raises(Corrupt, match=f"{name} offset"):
        seen.extend(block.last_sequence for block in blocks)
    assert 0 < seen[-1] <= 45_001
