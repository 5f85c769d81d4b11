"""How fast and how late: an engine alone, and one behind the journal with a disk under it.

Latencies are wall time, rates of the engine alone are CPU time where the process does nothing else.
Each run begins with a new engine, which is opened and then timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.clock import SECOND_NS, ManualClock
from core.errors import Unavailable
from engine.base import Engine
from engine.files import DiskStorage
from engine.laboratory.histogram import Histogram
from engine.laboratory.workloads import NOW_NS, Workload
from engine.records import RECORD_BYTES
from engine.recovery import EngineFactory, recover
from engine.sequencer import Sequencer

OPENING_BATCH = 8192
WARM_SHARE = 10
"""The first of so many parts of an open loop is not counted: pages and caches are cold."""

GROUP_MOST = 8192
"""More commands than this are never in one batch of an open loop."""
Told = Callable[[int], None]
"""Hears how many commands are done."""


def _nobody(_done: int) -> None:
    """Hear nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Commands, the time they took, and how long each call or each command took."""

    commands: int
    events: int
    cpu_ns: int
    wall_ns: int
    latencies: Histogram
    calls: int

    @property
    def ns_per_command(self) -> int:
        """Return CPU nanoseconds of a command."""
        return self.cpu_ns // max(self.commands, 1)

    @property
    def per_second(self) -> int:
        """Return commands in a second of wall time."""
        return self.commands * SECOND_NS // max(self.wall_ns, 1)

    @property
    def commands_per_call(self) -> int:
        """Return the mean size of a batch."""
        return self.commands // max(self.calls, 1)


def pieces_of(records: bytes, batch: int) -> list[bytes]:
    """Return the records in batches."""
    step = batch * RECORD_BYTES
    return [records[at : at + step] for at in range(0, len(records), step)]


def opened(engine: Engine, work: Workload) -> Engine:
    """Return an engine after a workload's opening."""
    for piece in pieces_of(work.opening, OPENING_BATCH):
        engine.apply_records(piece, first_sequence=engine.sequence + 1, time_ns=NOW_NS)
    return engine


def in_batches(
    engine: Engine,
    work: Workload,
    batch: int,
    *,
    commands: int | None = None,
    told: Told = _nobody,
) -> Timed:
    """Apply a workload's commands to an engine that was opened; a latency is that of one call."""
    count = work.count if commands is None else min(commands, work.count)
    pieces = pieces_of(work.timed[: count * RECORD_BYTES], batch)
    apply, sequence = engine.apply_records, engine.sequence + 1
    found: list[int] = []
    events = 0
    clock = time.perf_counter_ns
    cpu, wall = time.process_time_ns(), clock()
    for piece in pieces:
        before = clock()
        answered = apply(piece, first_sequence=sequence, time_ns=NOW_NS)
        found.append(clock() - before)
        events += len(answered)
        sequence += batch
        if not len(found) & 1023:
            told(len(found) * batch)
    cpu, wall = time.process_time_ns() - cpu, clock() - wall
    told(count)
    return Timed(
        commands=count, events=events // RECORD_BYTES, cpu_ns=cpu, wall_ns=wall,
        latencies=_counted(found), calls=len(pieces),
    )  # fmt: skip


# ---- with a disk


def sync_latencies(folder: Path, *, record_bytes: int, rounds: int) -> Histogram:
    """Return how long the disk itself takes to keep so many bytes: pwrite and fdatasync.

    Into a file that was filled with zeros and synced before, as the journal's segments are.
    Unavailable: the disk failed.
    """
    latencies = Histogram()
    path = folder / "sync-latency"
    data = b"\x5a" * record_bytes
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, bytes(record_bytes * (rounds + WARM_SHARE)))
            os.fsync(handle)
            for n in range(rounds + WARM_SHARE):
                before = time.perf_counter_ns()
                os.pwrite(handle, data, n * record_bytes)
                os.fdatasync(handle)
                if n >= WARM_SHARE:
                    latencies.record(time.perf_counter_ns() - before)
        finally:
            os.close(handle)
            path.unlink()
    except OSError as error:
        raise Unavailable(f"measure {folder}: {error.strerror or error}") from error
    return latencies


def durable(folder: Path, factory: EngineFactory, work: Workload) -> Sequencer:
    """Return a sequencer over a new journal in a folder, after a workload's opening."""
    sequencer = recover(
        DiskStorage(folder),
        epoch=1,
        clock=ManualClock(NOW_NS),
        lease=lambda: None,
        factory=factory,
    )
    for piece in pieces_of(work.opening, OPENING_BATCH):
        _execute(sequencer, piece)
    sequencer.start()  # and with it the thread that makes room in the journal
    return sequencer


def closed_loop(
    sequencer: Sequencer,
    work: Workload,
    batch: int,
    *,
    commands: int | None = None,
    told: Told = _nobody,
) -> Timed:
    """Send a batch, wait until it is durable and applied, send the next; latency is a batch's."""
    count = work.count if commands is None else min(commands, work.count)
    found: list[int] = []
    events = done = 0
    pieces = pieces_of(work.timed[: count * RECORD_BYTES], batch)
    clock = time.perf_counter_ns
    cpu, wall = time.process_time_ns(), clock()
    for piece in pieces:
        before = clock()
        events += _execute(sequencer, piece)
        found.append(clock() - before)
        done += batch
        told(done)
    cpu, wall = time.process_time_ns() - cpu, clock() - wall
    return Timed(
        commands=count, events=events, cpu_ns=cpu, wall_ns=wall, latencies=_counted(found),
        calls=len(pieces),
    )  # fmt: skip


def open_loop(
    sequencer: Sequencer,
    work: Workload,
    *,
    per_second: int,
    commands: int | None = None,
    told: Told = _nobody,
) -> Timed:
    """Let commands arrive at a fixed rate whatever happens; a latency is arrival to durable answer.

    Whatever arrived while the last batch was on its way to the disk is the next batch. One thread;
    it asks the clock while nothing is there. Nothing is left out when the disk stalls: who would
    have arrived meanwhile, has.
    """
    count = work.count if commands is None else min(commands, work.count)
    groups = list(_groups(sequencer, work.timed, count, per_second, told))
    latencies, events = Histogram(), sum(group.events for group in groups)
    first_counted = count // WARM_SHARE
    for group in groups:
        for n in range(max(group.first, first_counted), group.end):
            latencies.record(group.answered_ns - n * SECOND_NS // per_second)
    return Timed(
        commands=count, events=events, cpu_ns=sum(group.cpu_ns for group in groups),
        wall_ns=groups[-1].answered_ns, latencies=latencies, calls=len(groups),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Group:
    first: int
    end: int
    events: int
    cpu_ns: int
    answered_ns: int
    """After the loop began."""


def _groups(
    sequencer: Sequencer,
    records: bytes,
    count: int,
    per_second: int,
    told: Told,
) -> Iterator[_Group]:
    done = 0
    clock, cpu_clock = time.perf_counter_ns, time.process_time_ns
    start = clock()
    while done < count:
        arrived = min((clock() - start) * per_second // SECOND_NS + 1, count)
        if arrived == done:
            continue
        end = min(arrived, done + GROUP_MOST)
        cpu = cpu_clock()
        events = _execute(sequencer, records[done * RECORD_BYTES : end * RECORD_BYTES])
        yield _Group(done, end, events, cpu_clock() - cpu, clock() - start)
        done = end
        told(done)


def _execute(sequencer: Sequencer, records: bytes) -> int:
    """Execute, let the books follow at once, and return how many events there were."""
    answered = sequencer.execute_records(records)
    sequencer.log.mark_projected(sequencer.log.last_sequence)
    return len(answered) // RECORD_BYTES


def _counted(found: list[int]) -> Histogram:
    latencies = Histogram()
    for ns in found:
        latencies.record(ns)
    return latencies
