"""`strongroom serve engine`, `worker` and `signer`: the processes, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import settings
from app.cli.output import errors_as_exit_codes

app = typer.Typer(help="Run one of the platform's processes in the foreground.")

ParentOption = Annotated[
    int | None, typer.Option("--parent", help="End when this parent process ends.", hidden=True)
]


@app.command()
def engine(parent: ParentOption = None) -> None:
    """Run the engine: HTTP API, sequencer, funding and settlement."""
    with errors_as_exit_codes():
        _bind_to(parent)
        chosen = settings()
        from app.processes import run_engine

        raise typer.Exit(run_engine(chosen))


@app.command()
def worker(parent: ParentOption = None) -> None:
    """Run the worker: followers, finality, payments, sweeps, reconciliation."""
    with errors_as_exit_codes():
        _bind_to(parent)
        chosen = settings()
        from app.processes import run_worker

        raise typer.Exit(run_worker(chosen))


@app.command()
def signer(parent: ParentOption = None) -> None:
    """Run the signer: keys and guards behind a Unix socket."""
    with errors_as_exit_codes():
        _bind_to(parent)
        chosen = settings()
        from app.signer_process import run_signer

        raise typer.Exit(run_signer(chosen))


def _bind_to(parent: int | None) -> None:
    if parent is not None:
        from app.children import die_with_parent

        die_with_parent(parent)
