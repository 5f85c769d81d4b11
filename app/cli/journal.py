"""`strongroom journal`: the engine's journal, read while nobody writes or while somebody does.

Whatever is damaged ends a command with exit code 8, and the message names segment and offset.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.engine import EngineOption, Engines, kinds_of
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
    from engine.replay_check import SnapshotCheck

app = typer.Typer(help="Verify, show and replay the engine's journal.")

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="The journal's folder; else the configured one.")
]


@app.command()
def verify(folder: FolderOption = None) -> None:
    """Check every checksum and the chain of hashes, and that the books' position is in it."""
    with errors_as_exit_codes():
        from app.data_folder import JOURNAL_NAME
        from app.opening import open_database
        from custody import settlement
        from engine.blocks import GENESIS
        from engine.files import DiskStorage
        from engine.journal import verify as run

        if folder is None:
            chosen = settings()
            with open_database(chosen).read() as conn:
                projected = settlement.position(conn)
            folder = chosen.data.folder / JOURNAL_NAME
        else:
            folder, projected = _folder(folder), GENESIS
        report = run(DiskStorage(folder), projected)
        emit_one(
            {
                "blocks": report.blocks,
                "commands": report.commands,
                "epoch": report.end.epoch,
                "sequence": report.end.sequence,
                "hash": report.end.hash.hex(),
                "books_sequence": projected.sequence,
                "torn": report.torn,
            }
        )
        say("the journal is sound")


@app.command()
def stat(folder: FolderOption = None) -> None:
    """Show the segments and snapshots of the journal; reads headers only, verifies nothing."""
    with errors_as_exit_codes():
        from dataclasses import asdict

        from engine.files import DiskStorage
        from engine.journal_stat import segments_of
        from engine.snapshot import sequence_of, snapshot_names

        folder = _folder(folder)
        storage = DiskStorage(folder)
        segments = [asdict(segment) for segment in segments_of(storage)]
        snapshots = [
            {"name": name, "sequence": sequence_of(name), "file_bytes": storage.size(name)}
            for name in reversed(snapshot_names(storage))
        ]
        summary = {
            "folder": str(folder),
            "segments": len(segments),
            "segment_bytes": sum(segment["file_bytes"] for segment in segments),
            "commands": sum(
                segment["last_sequence"] - segment["first_sequence"] + 1
                for segment in segments
                if segment["first_sequence"]
            ),
            "snapshots": len(snapshots),
        }
        if Talk.output is Output.JSON:
            emit_one(summary | {"each_segment": segments, "each_snapshot": snapshots})
            return
        for rows in (segments, snapshots):
            if rows:
                emit(rows)
                typer.echo()
        emit_one(summary)


@app.command()
def dump(
    folder: FolderOption = None,
    first: Annotated[int, typer.Option("--from", min=1, help="First sequence.")] = 1,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last sequence.")] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Also what each command caused, by replaying.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Write the journalled commands, one per line."""
    with errors_as_exit_codes():
        from app.cli.journal_dump import dumped, line_for_programs, lines_for_people

        if last is not None and last < first:
            fail(Exit.USAGE, "--to lies before --from", reason="malformed")
        count = 0
        is_for_programs = as_json or Talk.output is Output.JSON
        for each in dumped(_folder(folder), first=first, last=last, with_events=events):
            lines = (line_for_programs(each),) if is_for_programs else lines_for_people(each)
            for line in lines:
                typer.echo(line)
            count += 1
        say(f"{count} commands")


@app.command()
def replay(
    folder: FolderOption = None,
    until: Annotated[
        int | None, typer.Option("--until", min=1, help="The last sequence that is applied.")
    ] = None,
    engine: EngineOption = Engines.AUTO,
) -> None:
    """Replay the journal and compare the state with every snapshot on the way (I12).

    Exit 8 when a snapshot is another state, or two engines (--engine both) do not agree.
    """
    with errors_as_exit_codes():
        from core.clock import SECOND_NS, SystemClock
        from engine.factory import engine_factory
        from engine.files import DiskStorage
        from engine.replay_check import replay_beside_snapshots

        factories = {kind.value: engine_factory(kind) for kind in kinds_of(engine)}
        clock = SystemClock()
        began_ns = clock.monotonic_ns()
        with progress("replaying", until) as told:
            found = replay_beside_snapshots(
                DiskStorage(_folder(folder)), factories, until=until, told=told
            )
        took_ns = max(1, clock.monotonic_ns() - began_ns)
        if Talk.output is not Output.JSON and found.snapshots:
            emit([_snapshot_row(check) for check in found.snapshots])
        summary: dict[str, object] = {
            "engines": ", ".join(factories),
            "begin": found.begin,
            "sequence": found.sequence,
            "blocks": found.blocks,
            "events": found.events,
            "commands_per_second": (found.sequence - found.begin) * SECOND_NS // took_ns,
            "state_hash": found.state_hash.hex(),
            "torn": found.torn,
        }
        if Talk.output is Output.JSON:
            summary["snapshots"] = [_snapshot_row(check) for check in found.snapshots]
            summary["differences"] = found.differences
        emit_one(summary)
        if not found.is_sound:
            what = "; ".join(found.differences) or "a snapshot is not what the journal makes"
            fail(Exit.VERIFICATION, what, reason="corrupt", has_data=True)
        say("the replay agrees with every whole snapshot")


@app.command()
def depth(
    market: Annotated[int, typer.Argument(min=1, help="The market's number in the engine.")],
    at: Annotated[int, typer.Option("--at", min=1, help="After this sequence.")],
    folder: FolderOption = None,
    levels: Annotated[int, typer.Option("--levels", min=1)] = 20,
) -> None:
    """Show a book as it stood after a command, in ticks and lots."""
    with errors_as_exit_codes():
        from engine.factory import engine_factory
        from engine.files import DiskStorage
        from engine.history import depth_at

        found = depth_at(
            DiskStorage(_folder(folder)), factory=engine_factory(), market_no=market, sequence=at,
            levels=levels,
        )  # fmt: skip
        rows = [("ask", level) for level in reversed(found.asks)]
        rows += [("bid", level) for level in found.bids]
        emit(
            [
                {"side": side, "ticks": level.price_ticks, "lots": level.quantity_lots,
                 "orders": level.orders}
                for side, level in rows
            ]
        )  # fmt: skip


def _snapshot_row(check: SnapshotCheck) -> dict[str, object]:
    return {"snapshot": check.name, "sequence": check.sequence, "state": check.verdict.value}


def _folder(chosen: Path | None) -> Path:
    """Return the folder to look at. Refused: not_found when there is no journal in it."""
    from app.data_folder import JOURNAL_NAME
    from core.errors import Reason, Refused
    from engine.blocks import is_segment

    folder = chosen or settings().data.folder / JOURNAL_NAME
    if not (folder.is_dir() and any(is_segment(path.name) for path in folder.iterdir())):
        raise Refused(Reason.NOT_FOUND, f"{folder} holds no journal")
    return folder
