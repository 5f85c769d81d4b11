"""How every command answers: data as a table or JSON on standard output, talk on standard error.

Exit codes (published, never reused):

    0  ok, also an empty list          5    refused by policy or permission
    1  the platform failed or is down  6    conflict or precondition
    2  usage, settings                 7    outcome unknown: do not repeat blindly
    3  not found                       8    verification failed, records contradict each other
    4  not authenticated               9    waited long enough, still pending
                                       130  interrupted
"""

from __future__ import annotations

import contextlib
import enum
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import typer

from core.errors import Corrupt, OutcomeUnknown, Reason, Refused, Unavailable


class Exit(enum.IntEnum):
    """Exit codes."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAUTHENTICATED = 4
    REFUSED = 5
    CONFLICT = 6
    UNKNOWN = 7
    VERIFICATION = 8
    PENDING = 9
    INTERRUPTED = 130


class Output(enum.StrEnum):
    """How data is written."""

    TABLE = "table"
    JSON = "json"


_NOT_FOUND = frozenset(
    {Reason.NOT_FOUND} | {reason for reason in Reason if reason.value.startswith("unknown_")}
)
_CONFLICT = frozenset(
    {
        Reason.IDEMPOTENCY_KEY_MISSING,
        Reason.IDEMPOTENCY_KEY_REUSED,
        Reason.IN_PROGRESS,
        Reason.EXISTS_WITH_OTHER_CONTENT,
        Reason.DUPLICATE_OTHER_CONTENT,
        Reason.ILLEGAL_TRANSITION,
        Reason.ALREADY_APPROVED,
    }
)
_VERIFICATION = frozenset({Reason.BAD_SIGNATURE, Reason.BAD_ATTESTATION, Reason.INTENT_MISMATCH})


class Talk:
    """How this run talks; set once by the global options."""

    output: Output = Output.TABLE
    quiet: bool = False


def say(text: str) -> None:
    """Say something to people, on standard error."""
    if not Talk.quiet:
        typer.echo(text, err=True)


def emit(rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> None:
    """Write rows: aligned columns for people, or a JSON list. No rows is an empty answer."""
    if Talk.output is Output.JSON:
        typer.echo(json.dumps([dict(row) for row in rows], default=str))
        return
    names = list(columns or (rows[0].keys() if rows else ()))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for line in ([name.upper() for name in names], *cells) if rows else ():
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


def emit_one(row: Mapping[str, object]) -> None:
    """Write one object: a line per field, or JSON."""
    if Talk.output is Output.JSON:
        typer.echo(json.dumps(dict(row), default=str))
        return
    width = max((len(name) for name in row), default=0)
    for name, value in row.items():
        typer.echo(f"{name.ljust(width)}  {_cell(value)}")


def fail(
    code: Exit,
    text: str,
    *,
    reason: str = "failed",
    retryable: bool = False,
    has_data: bool = False,
) -> NoReturn:
    """Say why, and end; with -o json the error is an object on standard output too.

    has_data: what was found stands there already, and one document is enough.
    """
    if Talk.output is Output.JSON and not has_data:
        typer.echo(json.dumps({"code": reason, "detail": text, "retryable": retryable}))
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(int(code))


@contextlib.contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Turn the drawn tree of errors into exit codes."""
    from app.settings_values import SettingsError

    try:
        yield
    except SettingsError as error:
        fail(Exit.USAGE, str(error), reason="settings")
    except Refused as error:
        fail(exit_of(error.reason), str(error), reason=error.reason.value)
    except OutcomeUnknown as error:
        fail(Exit.UNKNOWN, error.what, reason="outcome_unknown")
    except Unavailable as error:
        fail(Exit.FAILED, error.what, reason="unavailable", retryable=True)
    except Corrupt as error:
        fail(Exit.VERIFICATION, f"CORRUPT: {error}", reason="corrupt")
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(int(Exit.FAILED)) from None


def exit_of(reason: Reason) -> Exit:
    """Return the exit code of a refusal."""
    if reason is Reason.UNAUTHENTICATED:
        return Exit.UNAUTHENTICATED
    if reason in _NOT_FOUND:
        return Exit.NOT_FOUND
    if reason in _CONFLICT:
        return Exit.CONFLICT
    return Exit.VERIFICATION if reason in _VERIFICATION else Exit.REFUSED


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
