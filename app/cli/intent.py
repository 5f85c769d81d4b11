"""`strongroom intent`: what the bytes that officers sign say, and what they hash to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import Exit, Output, Talk, emit_one, errors_as_exit_codes, fail

app = typer.Typer(help="Show and hash canonical intents; needs no platform and no network.")

FileArgument = Annotated[
    Path,
    typer.Argument(help="Canonical bytes, their hex digits, or the JSON form; - is standard input"),
]


@app.command()
def show(file: FileArgument) -> None:
    """Show what an intent says: nothing but its bytes decides what is written here."""
    with errors_as_exit_codes():
        from custody.keys import intent as intents
        from custody.keys.intent_forms import to_json

        data = _read(file)
        if Talk.output is Output.JSON:
            emit_one(to_json(intents.decode(data)))
        else:
            typer.echo(intents.render_bytes(data), nl=False)


@app.command(name="hash")
def hash_of(file: FileArgument) -> None:
    """Write the SHA-256 of an intent's canonical bytes."""
    with errors_as_exit_codes():
        import hashlib

        data = _read(file)
        digest = hashlib.sha256(data).hexdigest()
        if Talk.output is Output.JSON:
            emit_one({"intent_hash": digest, "intent": data.hex()})
        else:
            typer.echo(digest)


def _read(file: Path) -> bytes:
    from custody.keys.intent_forms import FORM_BYTES_MAX, read_any

    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(FORM_BYTES_MAX + 1)
        else:
            data = file.read_bytes()
    except OSError as error:
        fail(Exit.USAGE, f"{file}: {error}", reason="malformed")
    return read_any(data)
