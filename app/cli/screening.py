"""`strongroom screening`: the sanctions list, cases, travel-rule data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli import client
from app.cli.options import settings
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail

app = typer.Typer(help="The sanctions list, what providers say, and travel-rule data.")

IdArgument = Annotated[str, typer.Argument(help="The withdrawal's id, wd_…")]


@app.command()
def update(
    source: Annotated[
        str, typer.Argument(help="File or https URL; without it screening.list_url.")
    ] = "",
) -> None:
    """Bring a published list into force; runs on the platform's machine."""
    with errors_as_exit_codes():
        from app.opening import open_database
        from app.screening_sources import read_list
        from core.clock import SystemClock
        from custody.screening import lists

        chosen = settings()
        where = source or chosen.screening.list_url
        if not where:
            fail(Exit.USAGE, "name a file or a URL, or set screening.list_url", reason="malformed")
        fetched = read_list(where)
        db, now_ns = open_database(chosen), SystemClock().now_ns()
        made = db.run(
            lambda conn: lists.put(conn, fetched.list, fetched.sha256, by="operator", now_ns=now_ns)
        )
        emit_one(
            {
                "list_no": made.list_no,
                "sha256": made.sha256.hex(),
                "published": made.published,
                "parties": made.parties,
                "addresses": made.addresses,
            }
        )


@app.command()
def status() -> None:
    """Show the list in force and how old it is."""
    emit_one(client.ask("GET", "/v1/screening"))


@app.command()
def cases(limit: Annotated[int, typer.Option("--limit", min=1)] = 100) -> None:
    """List withdrawals that are screened, with what providers answered."""
    emit(client.pages("/v1/screening/cases", limit=limit))


@app.command()
def attach(
    withdrawal_id: IdArgument,
    file: Annotated[Path, typer.Argument(help="The IVMS101 message as JSON.")],
) -> None:
    """Attach travel-rule data to a withdrawal."""
    try:
        message = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, f"{file}: {type(error).__name__}", reason="malformed")
    path = f"/v1/withdrawals/{withdrawal_id}/travel-rule"
    emit_one(client.ask("POST", path, body={"ivms101": message}))


@app.command()
def attached(withdrawal_id: IdArgument) -> None:
    """List what is attached to a withdrawal: numbers and hashes, not what it says."""
    emit(client.ask("GET", f"/v1/withdrawals/{withdrawal_id}/travel-rule")["records"])
