"""`strongroom up`: a local node and the whole platform, from nothing, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import errors_as_exit_codes, say

FOLDER = Path("var/up")


def up(
    folder: Annotated[Path, typer.Option("--folder", help="Where everything is kept.")] = FOLDER,
    port: Annotated[int, typer.Option("--port", help="Port of the HTTP API.")] = 8700,
    node_port: Annotated[int, typer.Option("--node-port", help="Port of the local node.")] = 8545,
    block_time_s: Annotated[
        int, typer.Option("--block-time", help="Seconds between blocks of the local node.")
    ] = 1,
    reset: Annotated[bool, typer.Option("--reset", help="Forget everything first.")] = False,
) -> None:
    """Run a local node, the engine and the worker. Development only: every key is a toy."""
    with errors_as_exit_codes():
        from app.devsetup import remove_dev
        from app.up import run_up

        if reset:
            remove_dev(folder)
            say(f"{folder} is empty now")
        code = run_up(
            folder, http_port=port, node_port=node_port, block_time_s=block_time_s, tell=typer.echo
        )
        raise typer.Exit(code)
