"""`strongroom config`: what is set, and where each value came from."""

from __future__ import annotations

import typer

from app.cli.options import settings
from app.cli.output import emit, errors_as_exit_codes

app = typer.Typer(help="Show the settings.")


@app.command()
def show() -> None:
    """Show every setting with its value and its origin; secrets are not settings, only files."""
    with errors_as_exit_codes():
        from app.settings import show as lines

        rows = [
            {"name": one.name, "value": one.value, "origin": one.origin}
            for one in lines(settings())
        ]
        emit(rows)
