"""What was recorded is replayed byte by byte, and damage anywhere is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import Corrupt, Reason, Refused
from engine.base import Engine, Limits
from engine.blocks import JOURNAL_START
from engine.factory import EngineKind, engine_factory
from engine.files import DiskStorage
from engine.journal_writer import Journal
from engine.laboratory import measuring
from engine.laboratory.recording import (
    Batch,
    read_recording,
    record,
    record_workload,
    write_recording,
)
from engine.laboratory.replaying import Replayed, newest_state, open_source, replay_blocks
from engine.laboratory.workloads import NOW_NS, Workload, make
from engine.records import RECORD_BYTES
from engine.recovery import recover
from engine.snapshot import Snapshot, write_snapshot

NATIVE = engine_factory(EngineKind.NATIVE)


@pytest.fixture(scope="module")
def work() -> Workload:
    return make("w1", seed=3, commands=600, waiting=400, engine=NATIVE.new())


@pytest.fixture(scope="module")
def applied(work: Workload) -> Engine:
    engine = measuring.opened(NATIVE.new(), work)
    engine.apply_records(work.timed, first_sequence=engine.sequence + 1, time_ns=NOW_NS)
    return engine


def replayed(
    path: Path, kind: EngineKind = EngineKind.NATIVE, until: int | None = None
) -> Replayed:
    return replay_blocks(open_source(path), kind, clock=ManualClock(), until=until)


@pytest.mark.parametrize("kind", [EngineKind.NATIVE, EngineKind.REFERENCE])
def test_a_recorded_workload_ends_in_the_same_state(
    tmp_path: Path, work: Workload, applied: Engine, kind: EngineKind
) -> None:
    path = tmp_path / "w1.recording"
    write_recording(path, record_workload(work))
    found = replayed(path, kind)
    assert found.engine.state_hash() == applied.state_hash()
    assert found.commands == work.opening_count + work.count == applied.sequence


def test_a_recording_keeps_its_name_seed_limits_and_times(tmp_path: Path, work: Workload) -> None:
    limits = Limits(open_orders=12, open_orders_per_customer=3, remembered_orders=60)
    halves = [work.opening[: 5 * RECORD_BYTES], work.opening[5 * RECORD_BYTES : 9 * RECORD_BYTES]]
    batches = [Batch(time_ns=NOW_NS + n, records=half) for n, half in enumerate(halves)]
    path = tmp_path / "x"
    write_recording(path, record("a name", batches, seed=9, limits=limits, opening_count=4))
    found = read_recording(path.read_bytes(), "x")
    assert (found.name, found.seed, found.limits) == ("a name", 9, limits)
    assert (found.opening_count, found.count) == (4, 9)
    assert [(block.time_ns, block.records) for block in found.blocks] == [
        (NOW_NS + n, half) for n, half in enumerate(halves)
    ]


def test_no_byte_of_a_recording_may_change(tmp_path: Path, work: Workload) -> None:
    path = tmp_path / "x"
    batches = [
        Batch(time_ns=NOW_NS, records=work.opening[at : at + RECORD_BYTES])
        for at in (0, RECORD_BYTES)
    ]
    write_recording(path, record("x", batches))
    sound = path.read_bytes()
    read_recording(sound, "x")
    for at in range(len(sound)):
        damaged = bytearray(sound)
        damaged[at] ^= 1
        with pytest.raises(Corrupt):
            read_recording(bytes(damaged), "x")
    for size in range(len(sound)):
        with pytest.raises(Corrupt):
            read_recording(sound[:size], "x")


def test_a_replay_stops_after_the_sequence_it_was_told(tmp_path: Path, work: Workload) -> None:
    path = tmp_path / "w1.recording"
    write_recording(path, record_workload(work))
    for until in (1, 1023, 1024, 1025, 20_500):
        found = replayed(path, until=until)
        records = (work.opening + work.timed)[: until * RECORD_BYTES]
        expected = NATIVE.new()
        expected.apply_records(records, first_sequence=1, time_ns=NOW_NS)
        assert found.engine.state_hash() == expected.state_hash()
    with pytest.raises(Refused, match="ends at sequence"):
        replayed(path, until=10**6)


def test_a_journal_and_its_first_segment_are_replayed(
    tmp_path: Path, work: Workload, applied: Engine
) -> None:
    sequencer = measuring.durable(tmp_path, NATIVE, work)
    measuring.closed_loop(sequencer, work, 64)
    sequencer.stop()
    [segment] = tmp_path.glob("journal-*.seg")
    for path in (tmp_path, segment):
        assert replayed(path).engine.state_hash() == applied.state_hash()
        assert replayed(path, until=70).engine.sequence == 70


def test_a_damaged_journal_is_not_replayed(tmp_path: Path, work: Workload) -> None:
    sequencer = measuring.durable(tmp_path, NATIVE, work)
    measuring.closed_loop(sequencer, work, 64)
    sequencer.stop()
    [segment] = tmp_path.glob("journal-*.seg")
    data = bytearray(segment.read_bytes())
    data[50_000] ^= 1
    segment.write_bytes(data)
    for path in (tmp_path, segment):
        with pytest.raises(Corrupt):
            replayed(path)


def test_a_pruned_journal_is_replayed_from_its_oldest_snapshot(
    tmp_path: Path, work: Workload, applied: Engine
) -> None:
    measuring.durable(tmp_path, NATIVE, work).stop()
    storage = DiskStorage(tmp_path)
    again = recover(storage, epoch=2, clock=ManualClock(NOW_NS), lease=lambda: None, factory=NATIVE)
    start = again.position
    again.snapshot(storage)
    measuring.closed_loop(again, work, 64)
    again.stop()
    storage.write_atomic(JOURNAL_START.name, JOURNAL_START.pack(start))
    min(tmp_path.glob("journal-*.seg")).unlink()
    found = replayed(tmp_path)
    assert (found.commands, found.engine.state_hash()) == (work.count, applied.state_hash())


def test_the_newest_state_is_the_snapshot_and_what_came_after(
    tmp_path: Path, work: Workload, applied: Engine
) -> None:
    sequencer = measuring.durable(tmp_path, NATIVE, work)
    sequencer.snapshot(DiskStorage(tmp_path))
    measuring.closed_loop(sequencer, work, 64)
    sequencer.stop()
    heard: list[int] = []
    found = newest_state(DiskStorage(tmp_path), NATIVE, told=heard.append)
    assert found.state_hash() == applied.state_hash()
    assert heard[0] > work.opening_count


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as nothing:
        open_source(tmp_path)
    with pytest.raises(Refused) as missing:
        open_source(tmp_path / "x")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Refused) as text:
        open_source(tmp_path / "text")
    reasons = [error.value.reason for error in (nothing, missing, text)]
    assert reasons == [Reason.NOT_FOUND, Reason.NOT_FOUND, Reason.MALFORMED]


def test_a_later_segment_alone_is_refused(tmp_path: Path, work: Workload) -> None:
    sequencer = measuring.durable(tmp_path, NATIVE, work)
    end = sequencer.position
    sequencer.stop()
    Journal(DiskStorage(tmp_path), epoch=2, end=end).close()
    later = max(tmp_path.glob("journal-*.seg"))
    with pytest.raises(Refused, match="replay the whole folder"):
        replayed(later)


def test_an_open_loop_answers_every_command_after_it_arrived(
    tmp_path: Path, work: Workload, applied: Engine
) -> None:
    sequencer = measuring.durable(tmp_path, NATIVE, work)
    timed = measuring.open_loop(sequencer, work, per_second=20_000)
    with sequencer.reading() as engine:
        assert engine.state_hash() == applied.state_hash()
    sequencer.stop()
    assert timed.commands == work.count
    assert timed.latencies.count == work.count - work.count // measuring.WARM_SHARE
    assert timed.latencies.min > 0
    assert timed.wall_ns >= (work.count - 1) * 10**9 // 20_000


def test_the_disk_is_measured_and_leaves_nothing(tmp_path: Path) -> None:
    found = measuring.sync_latencies(tmp_path, record_bytes=4096, rounds=20)
    assert found.count == 20
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_that_was_written_is_found(tmp_path: Path, work: Workload) -> None:
    sequencer = measuring.durable(tmp_path, NATIVE, work)
    with sequencer.reading() as engine:
        snapshot = Snapshot(position=sequencer.position, dump=engine.dump())
    sequencer.stop()
    write_snapshot(DiskStorage(tmp_path), snapshot)
    assert newest_state(DiskStorage(tmp_path), NATIVE).dump() == snapshot.dump
