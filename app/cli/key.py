"""`strongroom key`: API keys, made beside the database; the first one has no other way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import settings
from app.cli.output import emit, emit_one, errors_as_exit_codes, say

app = typer.Typer(help="Issue, list and revoke API keys.")

BY = "command-line"


@app.command()
def issue(
    role: Annotated[str, typer.Argument(help="customer, officer, ops or auditor")],
    subject: Annotated[str, typer.Argument(help="The person, or the customer's number.")],
    to: Annotated[Path, typer.Option("--to", help="File for the token, mode 0600.")],
) -> None:
    """Make a key. Its token goes into a file and nowhere else; nobody can read it again."""
    with errors_as_exit_codes():
        from app.opening import open_database
        from core.clock import SystemClock
        from core.entropy import SystemEntropy
        from core.errors import Reason, Refused
        from custody import access
        from custody.keys.private_file import write_private_file

        if role not in {one.value for one in access.Role}:
            raise Refused(Reason.MALFORMED, f"there is no role {role!r}")
        made = open_database(settings()).run(
            lambda conn: access.issue(
                conn,
                access.Role(role),
                subject,
                by=BY,
                clock=SystemClock(),
                entropy=SystemEntropy(),
            )
        )
        write_private_file(to, made.token.reveal() + b"\n")
        emit_one({"key_id": made.key.key_id, "role": role, "subject": made.key.subject})
        say(f"the token is in {to}")


@app.command(name="list")
def list_keys() -> None:
    """Show the keys, revoked ones too."""
    with errors_as_exit_codes():
        from app.opening import open_database
        from custody import access

        with open_database(settings()).read() as conn:
            found = access.find(conn, limit=10_000)
        emit(
            [
                {
                    "key_id": one.key_id,
                    "role": one.role.value,
                    "subject": one.subject,
                    "revoked": one.revoked_at_ns is not None,
                }
                for one in found
            ]
        )


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, key_…")]) -> None:
    """End a key at once and for ever."""
    with errors_as_exit_codes():
        from app.opening import open_database
        from core.clock import SystemClock
        from custody import access

        now_ns = SystemClock().now_ns()
        open_database(settings()).run(
            lambda conn: access.revoke(conn, key_id, by=BY, now_ns=now_ns)
        )
        say(f"{key_id} is revoked")
