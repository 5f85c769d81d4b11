"""`strongroom db`: the database's shape."""

from __future__ import annotations

import typer

from app.cli.options import settings
from app.cli.output import emit_one, errors_as_exit_codes

app = typer.Typer(help="Bring the database to the newest revision, and show where it stands.")


@app.command()
def upgrade() -> None:
    """Bring the database to the newest revision, in one transaction."""
    with errors_as_exit_codes():
        from app.migrating import current
        from app.migrating import upgrade as run
        from app.opening import open_database

        db = open_database(settings())
        before = current(db)
        emit_one({"before": before, "after": run(db)})


@app.command()
def current() -> None:
    """Show the database's revision and the newest one."""
    with errors_as_exit_codes():
        from app.migrating import current as read
        from app.migrating import newest
        from app.opening import open_database

        emit_one({"current": read(open_database(settings())), "newest": newest()})
