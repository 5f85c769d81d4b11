"""`strongroom journal`: the engine's journal, read while nobody writes or while somebody does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import settings
from app.cli.output import emit_one, errors_as_exit_codes, say

app = typer.Typer(help="Verify and describe the engine's journal.")

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
            projected = GENESIS
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
    """Show the files of the journal: segments, snapshots, bytes."""
    with errors_as_exit_codes():
        from app.data_folder import JOURNAL_NAME
        from engine.blocks import is_segment
        from engine.files import DiskStorage
        from engine.snapshot import snapshot_names

        folder = folder or settings().data.folder / JOURNAL_NAME
        storage = DiskStorage(folder)
        segments = [name for name in storage.names() if is_segment(name)]
        snapshots = snapshot_names(storage)
        emit_one(
            {
                "folder": str(folder),
                "segments": len(segments),
                "segment_bytes": sum((folder / name).stat().st_size for name in segments),
                "last_segment": segments[-1] if segments else None,
                "snapshots": len(snapshots),
                "last_snapshot": snapshots[0] if snapshots else None,
            }
        )
