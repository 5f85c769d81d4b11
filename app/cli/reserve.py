"""`strongroom reserve`: fetch published reports and one's own proof; check them offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli import client
from app.cli.output import emit, say

app = typer.Typer(help="Proofs of reserves: list, fetch, verify.")

NumberArgument = Annotated[int, typer.Argument(min=1, help="The report's number.")]
ToOption = Annotated[Path, typer.Option("--to", help="File to write.")]


@app.command(name="list")
def list_reports(limit: Annotated[int, typer.Option("--limit", min=1)] = 100) -> None:
    """List published reports, newest first."""
    emit(client.pages("/v1/reserves", limit=limit))


@app.command()
def report(number: NumberArgument, to: ToOption) -> None:
    """Fetch a report, byte by byte."""
    to.write_bytes(client.ask_bytes(f"/v1/reserves/{number}"))
    say(f"report {number} is in {to}")


@app.command()
def proof(number: NumberArgument, to: ToOption) -> None:
    """Fetch one's own inclusion proof."""
    to.write_bytes(client.ask_bytes(f"/v1/reserves/{number}/proof"))
    say(f"the proof is in {to}")


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="A report, then proofs or other reports.")],
) -> None:
    """Check a report and proofs offline, with the file that stands alone; exit 8 when refuted."""
    from custody.reserves import verify as alone

    raise typer.Exit(alone.main([str(path) for path in files]))
