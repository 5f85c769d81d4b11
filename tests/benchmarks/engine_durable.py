"""Behind the journal: latencies beside the disk's own, the closed loop, replay, the snapshot."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from core.clock import SECOND_NS
from engine.base import SEQUENCE_LIMIT, StateImage
from engine.factory import NativeFactory
from engine.files import DiskStorage
from engine.journal import JournalReader
from engine.laboratory import measuring
from engine.laboratory.histogram import Histogram
from engine.laboratory.report import duration
from engine.laboratory.shape import shape_of
from engine.laboratory.workloads import Workload
from engine.native.engine import NativeEngine
from engine.read_ahead import blocks_ahead
from engine.snapshot import sound_snapshots
from tests.benchmarks.engine_native import BATCH, Native, asked
from tests.benchmarks.measure import Fact, Row

ROUNDS = 5
OFFERED_PER_SECOND, CLOSED_BATCH = 1_000_000, 8192
P50_OF_SYNC, P99_OF_SYNC = 3, 6
CLOSED_PER_SECOND = 10_000_000
REPLAY_OF_CORE = 0.7
PAUSE_NS_MOST, COPIES = 1_000_000, 50
SYNC_BYTES, SYNC_ROUNDS = 8192, 300


FACTORY = NativeFactory(reserve_orders=1 << 20)
"""Memory is taken at the start, as in the rows in core."""


def rows(stack: contextlib.ExitStack, programs: Native, work: Workload) -> Iterator[Row | Fact]:
    """Yield the durable rows; the journals lie under var/, whose disk is measured with them."""
    Path("var").mkdir(exist_ok=True)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="var", prefix="bench-")))
    yield from _open_loop(folder, work)
    yield _closed_loop(folder, work)
    yield _replay(folder, programs, work)
    yield _snapshot_pause(work)


def _open_loop(folder: Path, work: Workload) -> Iterator[Fact]:
    disks: list[Histogram] = []
    ours: list[measuring.Timed] = []
    for number in range(ROUNDS):
        disks.append(measuring.sync_latencies(folder, record_bytes=SYNC_BYTES, rounds=SYNC_ROUNDS))
        sequencer = measuring.durable(folder / f"open-{number}", FACTORY, work)
        ours.append(measuring.open_loop(sequencer, work, per_second=OFFERED_PER_SECOND))
        sequencer.stop()
    sync_ns = round(statistics.median(disk.percentile(500_000) for disk in disks))
    sync_p99_ns = round(statistics.median(disk.percentile(990_000) for disk in disks))
    group = round(statistics.median(timed.commands_per_call for timed in ours))
    cpu_ns = round(statistics.median(timed.ns_per_command for timed in ours))
    for name, ppm, times in (("p50", 500_000, P50_OF_SYNC), ("p99", 990_000, P99_OF_SYNC)):
        ns = round(statistics.median(timed.latencies.percentile(ppm) for timed in ours))
        yield Fact(
            job="engine, w1, durable",
            what=f"{name} from arrival to durable answer, {OFFERED_PER_SECOND:,}/s offered, one "
            f"thread; {group} a group, {cpu_ns} ns of CPU a command",
            ours=duration(ns),
            beside=f"the disk's own sync: p50 {duration(sync_ns)}, p99 {duration(sync_p99_ns)}",
            goal=f"<= {times} x the sync's p50: {ns / sync_ns:.1f} x",
            is_met=ns <= times * sync_ns,
            why=f"{group} commands in a group cost {duration(group * cpu_ns)} beside one sync, of "
            f"which one in a hundred takes {duration(sync_p99_ns)} and more",
        )


def _closed_loop(folder: Path, work: Workload) -> Row:
    rates, cpus = [], []
    for number in range(ROUNDS):
        sequencer = measuring.durable(folder / f"closed-{number}", FACTORY, work)
        timed = measuring.closed_loop(sequencer, work, CLOSED_BATCH)
        sequencer.stop()
        rates.append(timed.per_second)
        cpus.append(timed.ns_per_command)
    rate, cpu_ns = round(statistics.median(rates)), round(statistics.median(cpus))
    disk = measuring.sync_latencies(folder, record_bytes=CLOSED_BATCH * 64, rounds=SYNC_ROUNDS // 4)
    floor = CLOSED_BATCH * SECOND_NS // disk.percentile(500_000)
    met = rate >= CLOSED_PER_SECOND
    return Row(
        job="engine, w1, durable, closed loop",
        unit=f"commands, {CLOSED_BATCH} a block",
        ours=rate,
        peer=None,
        peer_name="",
        floor=floor,
        floor_name="the same bytes to the same disk, synced",
        goal=f"{'met' if met else 'MISSED'}: >= {CLOSED_PER_SECOND:,}; {cpu_ns} ns of CPU and "
        f"{SECOND_NS // rate} ns of time a command, the disk alone {SECOND_NS // floor} ns",
    )


def _replay(folder: Path, programs: Native, work: Workload) -> Row:
    """Replay a journal from a snapshot after its opening; on the clock, for two threads do it."""
    journal = folder / "replayed"
    sequencer = measuring.durable(journal, FACTORY, work)
    sequencer.snapshot(DiskStorage(journal))
    measuring.closed_loop(sequencer, work, BATCH)
    with sequencer.reading() as engine:
        wanted = engine.state_hash()
    sequencer.stop()
    storage = DiskStorage(journal)
    ours, reads, core = [], [], []
    snapshot = next(sound_snapshots(storage, up_to=SEQUENCE_LIMIT))
    for _ in range(ROUNDS):
        core.append(asked(programs.bench, "w1", work.count, BATCH, 1)["ours_ns"])
        again = FACTORY.load(snapshot.dump)
        start, began = again.sequence, time.perf_counter_ns()
        for block in blocks_ahead(JournalReader(storage), start):  # as recovery does
            if block.first_sequence > start:
                again.apply_records(
                    block.records, first_sequence=block.first_sequence, time_ns=block.time_ns
                )
        ours.append((time.perf_counter_ns() - began) / work.count)
        assert again.state_hash() == wanted
        began = time.process_time_ns()
        for block in JournalReader(storage).blocks_from(start):
            assert block.count
        reads.append((time.process_time_ns() - began) / work.count)
    ours_ns, core_ns = statistics.median(ours), statistics.median(core)
    met = core_ns >= REPLAY_OF_CORE * ours_ns
    return Row(
        job="engine, w1, replay",
        unit="commands, every checksum and hash verified",
        ours=round(SECOND_NS / ours_ns),
        peer=None,
        peer_name="",
        floor=round(SECOND_NS / core_ns),
        floor_name="in core, 1024 a batch",
        goal=f"{'met' if met else 'MISSED'}: >= {REPLAY_OF_CORE} x in core; "
        f"{core_ns / ours_ns:.2f} x, {ours_ns:.0f} ns a command beside {core_ns:.0f}; reading and "
        f"checking alone {statistics.median(reads):.0f} ns",
    )


def _snapshot_pause(work: Workload) -> Fact:
    engine = measuring.opened(NativeEngine(), work)
    resting = shape_of(engine).orders
    pauses, images = Histogram(), deque[StateImage](maxlen=1)
    for _ in range(COPIES):
        before = time.perf_counter_ns()
        images.append(engine.copy_image())
        pauses.record(time.perf_counter_ns() - before)
    before = time.perf_counter_ns()
    dumped = len(images[0].dump())
    dump_ns = time.perf_counter_ns() - before
    p50, p99 = pauses.percentile(500_000), pauses.percentile(990_000)
    return Fact(
        job="engine, w1, snapshot",
        what=f"pause for {resting:,} resting orders and 10,000 customers, p50 of {COPIES} copies",
        ours=f"{duration(p50)} (p99 {duration(p99)})",
        beside=f"then {duration(dump_ns)} for {dumped:,} bytes while the engine goes on",
        goal=f"< {duration(PAUSE_NS_MOST)}",
        is_met=p50 < PAUSE_NS_MOST,
        why="the copy is as long as the memory that is in use",
    )
