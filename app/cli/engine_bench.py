"""`strongroom engine bench`: rates and latencies, a table, and a report that a person opens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.output import Output, Talk, emit, say
from app.cli.progress import progress
from engine.base import Engine
from engine.factory import EngineKind, engine_factory, native_is_built
from engine.laboratory import measuring
from engine.laboratory.histogram import Histogram
from engine.laboratory.machine import machine
from engine.laboratory.measuring import Timed
from engine.laboratory.report import Measured, Report, cells, disk_figures, write_report
from engine.laboratory.workloads import Workload
from engine.recovery import EngineFactory

REFERENCE_COMMANDS = 10_000
"""The reference engine is asked no more than this: its pace needs no more."""
SYNC_ROUNDS, SYNC_BYTES = 500, 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is measured."""

    kinds: Sequence[EngineKind]
    batches: Sequence[int]
    offered: Sequence[int]
    closed: Sequence[int]
    folder: Path
    """The report goes here, and meanwhile the journals: it is their disk that is measured."""


def bench(works: Iterator[Workload], wanted: Wanted, *, seed: int) -> None:
    """Measure, write the table and the report."""
    measured: list[Measured] = []
    wanted.folder.mkdir(parents=True, exist_ok=True)
    disk: Histogram | None = None
    if wanted.offered or wanted.closed:
        disk = measuring.sync_latencies(wanted.folder, record_bytes=SYNC_BYTES, rounds=SYNC_ROUNDS)
    for work in works:
        for kind in wanted.kinds:
            measured += _in_batches(work, kind, wanted.batches)
        measured += _durable(work, wanted)
    report = Report(machine=machine(), seed=seed, measured=measured, disk=disk)
    page = write_report(wanted.folder, report)
    rows = [row.figures() for row in measured] + ([disk_figures(disk)] if disk else [])
    emit(rows if Talk.output is Output.JSON else [cells(row) for row in rows])
    say(" · ".join(f"{name} {value}" for name, value in report.machine.items()))
    say(f"the report is {page}")


def _in_batches(work: Workload, kind: EngineKind, batches: Sequence[int]) -> Iterator[Measured]:
    state = _opened_dump(work) if kind is EngineKind.REFERENCE and native_is_built() else None
    count = min(work.count, REFERENCE_COMMANDS) if kind is EngineKind.REFERENCE else work.count
    for batch in batches:
        way = f"in batches of {batch:,}"
        with progress(f"{work.name}, {kind}, {way}", count) as told:
            engine = _opened(work, kind, state)
            timed = measuring.in_batches(engine, work, batch, commands=count, told=told)
        yield Measured(workload=work.name, engine=kind.value, way=way, timed=timed)


def _opened(work: Workload, kind: EngineKind, state: bytes | None) -> Engine:
    factory = engine_factory(kind)
    return measuring.opened(factory.new(), work) if state is None else factory.load(state)


def _opened_dump(work: Workload) -> bytes:
    """Return the state after the opening, which the native engine reaches sooner."""
    return measuring.opened(engine_factory(EngineKind.NATIVE).new(), work).dump()


def _durable(work: Workload, wanted: Wanted) -> Iterator[Measured]:
    kind = wanted.kinds[0]
    count = min(work.count, REFERENCE_COMMANDS) if kind is EngineKind.REFERENCE else work.count
    for batch in wanted.closed:
        way = f"durable, closed loop of {batch:,}"
        with (
            tempfile.TemporaryDirectory(dir=wanted.folder, prefix="journal-") as folder,
            progress(f"{work.name}, {kind}, {way}", count) as told,
        ):
            sequencer = measuring.durable(Path(folder), _at_start(kind, work), work)
            timed = measuring.closed_loop(sequencer, work, batch, commands=count, told=told)
            sequencer.stop()
        yield Measured(workload=work.name, engine=kind.value, way=way, timed=timed)
    for per_second in wanted.offered:
        way = f"durable, {per_second:,}/s offered"
        with (
            tempfile.TemporaryDirectory(dir=wanted.folder, prefix="journal-") as folder,
            progress(f"{work.name}, {kind}, {way}", count) as told,
        ):
            timed = _open_loop(Path(folder), work, kind, count, per_second, told)
        yield Measured(workload=work.name, engine=kind.value, way=way, timed=timed)


def _at_start(kind: EngineKind, work: Workload) -> EngineFactory:
    # As with `engine.reserve_orders`: what is measured is not the growing of a table.
    return engine_factory(kind, reserve_orders=work.opening_count + work.count)


def _open_loop(
    folder: Path,
    work: Workload,
    kind: EngineKind,
    count: int,
    per_second: int,
    told: measuring.Told,
) -> Timed:
    sequencer = measuring.durable(folder, _at_start(kind, work), work)
    timed = measuring.open_loop(sequencer, work, per_second=per_second, commands=count, told=told)
    sequencer.stop()
    return timed
