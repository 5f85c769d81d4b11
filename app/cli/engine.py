"""`strongroom engine`: measure it, replay what was written down, look at a state."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import settings
from app.cli.output import (
    Exit,
    Output,
    Talk,
    emit,
    emit_one,
    errors_as_exit_codes,
    fail,
    say,
)
from app.cli.progress import progress

if TYPE_CHECKING:
    from engine.base import Engine
    from engine.factory import EngineKind
    from engine.laboratory.replaying import Replayed, Source
    from engine.laboratory.workloads import Workload

app = typer.Typer(help="The engine's laboratory: measure, replay, look for differences.")


class WorkloadName(enum.StrEnum):
    """See engine.laboratory.workloads."""

    W1 = "w1"
    W100 = "w100"
    ADV = "adv"
    CRASH = "crash"


class Engines(enum.StrEnum):
    """Which engines do the work."""

    AUTO = "auto"
    NATIVE = "native"
    REFERENCE = "reference"
    BOTH = "both"


SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Decides every command.")]
EngineOption = Annotated[Engines, typer.Option("--engine", help="auto: native where it was built.")]


def kinds_of(engines: Engines) -> list[EngineKind]:
    """Return the kinds that are asked for, the quicker first. Unavailable: native is not built."""
    from engine.factory import EngineKind, engine_factory, native_is_built

    if engines is Engines.BOTH:
        engine_factory(EngineKind.NATIVE)
        return [EngineKind.NATIVE, EngineKind.REFERENCE]
    if engines is Engines.AUTO:
        return [EngineKind.NATIVE if native_is_built() else EngineKind.REFERENCE]
    return [EngineKind(engines.value)]


def drawn(name: str, *, seed: int, commands: int, waiting: int | None = None) -> Workload:
    """Draw a workload with a bar; the quickest engine that there is runs along."""
    from engine.factory import engine_factory
    from engine.laboratory.workloads import make, size_of

    size = size_of(name, commands=commands, waiting=waiting)
    with progress(f"{name}: drawing commands", size) as told:
        return make(
            name, seed=seed, commands=commands, waiting=waiting, engine=engine_factory().new(),
            told=told,
        )  # fmt: skip


# ---- bench


@app.command()
def bench(
    workload: Annotated[
        list[WorkloadName] | None, typer.Option("--workload", help="May be repeated; else w1.")
    ] = None,
    engine: EngineOption = Engines.AUTO,
    seed: SeedOption = 1,
    commands: Annotated[int, typer.Option("--commands", min=1, help="Timed ones.")] = 200_000,
    waiting: Annotated[
        int | None,
        typer.Option("--waiting", min=0, help="Orders before the clock starts; else its own."),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, max=65_536, help="Else 1, 1024, 8192.")
    ] = None,
    offered: Annotated[
        list[int] | None,
        typer.Option(
            "--offered", min=1, help="Commands a second, open loop; else 100000, 1000000."
        ),
    ] = None,
    closed: Annotated[
        list[int] | None,
        typer.Option("--closed", min=1, max=65_536, help="Batch of a closed loop; else 8192."),
    ] = None,
    durable: Annotated[
        bool, typer.Option("--durable/--no-durable", help="Measure with a journal, too.")
    ] = True,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Folder for recordings of what was asked.")
    ] = None,
    report: Annotated[
        Path, typer.Option("--report", help="Folder of the report; its disk is measured.")
    ] = Path("var/engine-report"),
) -> None:
    """Measure rates and latencies, alone and behind the journal, and write a report with plots."""
    with errors_as_exit_codes():
        from app.cli.engine_bench import Wanted
        from app.cli.engine_bench import bench as run

        names = [name.value for name in workload or [WorkloadName.W1]]
        works = (
            _kept(drawn(name, seed=seed, commands=commands, waiting=waiting), keep)
            for name in names
        )
        wanted = Wanted(
            kinds=kinds_of(engine),
            batches=batch or [1, 1024, 8192],
            offered=(offered or [100_000, 1_000_000]) if durable else [],
            closed=(closed or [8192]) if durable else [],
            folder=report,
        )
        run(works, wanted, seed=seed)


def _kept(work: Workload, folder: Path | None) -> Workload:
    """Write a recording of a workload, which `replay` takes, where that was asked for."""
    if folder is not None:
        from engine.laboratory.recording import record_workload, write_recording

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{work.name}-{work.seed}.recording"
        write_recording(path, record_workload(work))
        say(f"recorded: {path}")
    return work


# ---- replay


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="A journal's folder, a segment, or a recording.")],
    engine: EngineOption = Engines.AUTO,
    until: Annotated[
        int | None, typer.Option("--until", min=1, help="The last sequence that is applied.")
    ] = None,
) -> None:
    """Apply written commands again, every checksum verified; exit 8 when two engines differ."""
    with errors_as_exit_codes():
        from engine.laboratory.replaying import open_source

        source = open_source(path)
        say(f"replaying {source.what}")
        kinds = kinds_of(engine)
        found = [_replayed(source, kind, until) for kind in kinds]
        rows = [_replay_row(kind, one) for kind, one in zip(kinds, found, strict=True)]
        if Talk.output is Output.JSON:
            emit(rows)
        for row in rows if Talk.output is Output.TABLE else ():
            emit_one({name: _grouped(value) for name, value in row.items()})
        ends = {(row["state_hash"], row["events_hash"]) for row in rows}
        if len(ends) > 1:
            fail(
                Exit.VERIFICATION, "the engines do not agree", reason="engines_differ",
                has_data=True,
            )  # fmt: skip
        if len(rows) > 1:
            say("both engines agree: every event, and the state")


def _grouped(value: object) -> object:
    return f"{value:,}" if type(value) is int else value


def _replayed(source: Source, kind: EngineKind, until: int | None) -> Replayed:
    from core.clock import SystemClock
    from engine.laboratory.replaying import replay_blocks

    with progress(f"{kind}: replaying", until or source.count) as told:
        return replay_blocks(source, kind, clock=SystemClock(), until=until, told=told)


def _replay_row(kind: EngineKind, found: Replayed) -> dict[str, object]:
    per_second = found.commands * 10**9 // max(found.read_ns + found.apply_ns, 1)
    return {
        "engine": kind.value,
        "blocks": found.blocks,
        "commands": found.commands,
        "events": found.events,
        "read_ms": found.read_ns // 10**6,
        "apply_ms": found.apply_ns // 10**6,
        "commands_per_second": per_second,
        "sequence": found.engine.sequence,
        "state_hash": found.engine.state_hash().hex(),
        "events_hash": found.events_hash.hex(),
    }


# ---- fuzz


@app.command()
def fuzz(
    seed: Annotated[int, typer.Argument(min=0, help="The first one.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many, one after another.")] = 1,
    commands: Annotated[
        int, typer.Option("--commands", min=1, help="For each seed and weather.")
    ] = 5_000,
    weather: Annotated[str | None, typer.Option("--weather", help="Its name; else all.")] = None,
    keep: Annotated[
        Path, typer.Option("--keep", help="Folder for a recording of what differs.")
    ] = Path("var/engine-differences"),
) -> None:
    """Ask the native engine and the reference the same; exit 1 with the smallest difference."""
    with errors_as_exit_codes():
        from app.cli.engine_fuzz import fuzz as run
        from app.cli.engine_fuzz import weathers

        run(range(seed, seed + seeds), weathers(weather), commands, keep)


# ---- shape


@app.command()
def shape(
    path: Annotated[
        Path | None,
        typer.Argument(help="A journal's folder, a segment, a recording; else the configured one."),
    ] = None,
    workload: Annotated[
        WorkloadName | None, typer.Option("--workload", help="Draw this one and look at its end.")
    ] = None,
    seed: SeedOption = 1,
    commands: Annotated[int, typer.Option("--commands", min=0)] = 20_000,
    market: Annotated[
        int | None, typer.Option("--market", min=1, help="Draw this market's depth; else the most.")
    ] = None,
    levels: Annotated[
        int, typer.Option("--levels", min=1, help="How many levels a side the drawing reaches.")
    ] = 200,
) -> None:
    """Show what a state looks like: books, queues, depth drawn, and the bytes of each part."""
    with errors_as_exit_codes():
        from app.cli.engine_shape import describe, draw
        from engine.laboratory.shape import shape_of

        if path is not None and workload is not None:
            fail(Exit.USAGE, "a path or a workload, not both", reason="malformed")
        if workload is not None:
            looked_at = _drawn_engine(workload.value, seed, commands)
        else:
            looked_at = _recovered_engine(path)
        found = shape_of(looked_at)
        if market is not None and market not in looked_at.markets():
            fail(Exit.NOT_FOUND, f"there is no market {market}", reason="unknown_market")
        if Talk.output is Output.JSON:
            emit_one(describe(found))
        else:
            draw(found, market, levels)


def _drawn_engine(name: str, seed: int, commands: int) -> Engine:
    from engine.factory import engine_factory
    from engine.laboratory.measuring import opened
    from engine.laboratory.workloads import NOW_NS

    work = drawn(name, seed=seed, commands=commands)
    engine = opened(engine_factory().new(), work)
    engine.apply_records(work.timed, first_sequence=engine.sequence + 1, time_ns=NOW_NS)
    return engine


def _recovered_engine(path: Path | None) -> Engine:
    """Return the state at the end of what is written; a journal's snapshots are used."""
    from app.data_folder import JOURNAL_NAME
    from engine.factory import engine_factory
    from engine.files import DiskStorage
    from engine.laboratory.replaying import newest_state, open_source

    folder = path or settings().data.folder / JOURNAL_NAME
    if folder.is_dir():
        open_source(folder)
        with progress("reading the journal") as told:
            return newest_state(DiskStorage(folder), engine_factory(), told=told)
    return _replayed(open_source(folder), kinds_of(Engines.AUTO)[0], None).engine
