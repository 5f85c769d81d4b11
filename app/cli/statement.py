"""`strongroom statement`: decisions that need a quorum of officers, as files that travel.

draft on the platform's machine -> sign on each officer's own -> carry out on the platform's
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.officer import PassphraseOption, passphrase_of
from app.cli.options import settings
from app.cli.output import Exit, emit_one, errors_as_exit_codes, fail, say

if TYPE_CHECKING:
    from custody.keys.statement import Statement, StatementSignature

app = typer.Typer(help="Draft, sign and carry out what needs a quorum of officers.")

HoursOption = Annotated[int, typer.Option("--hours", min=1, max=720, help="Valid for so long.")]


@app.command()
def resolution(chain: str, hours: HoursOption = 24) -> None:
    """Draft how a frozen chain goes on: where to resume, and which deposits are taken back."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from app.statements import draft_resolution
        from core.ids import ChainId

        platform = open_platform(settings())
        _emit(draft_resolution(platform, ChainId(chain), expires_ns=_expires(hours)))


@app.command()
def funding(deposit: str, hours: HoursOption = 24) -> None:
    """Draft that an arrival in an own wallet is the operator's money."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from app.statements import draft_recognition
        from core.ids import DepositId

        platform = open_platform(settings())
        _emit(draft_recognition(platform, DepositId(deposit), expires_ns=_expires(hours)))


@app.command()
def screening(withdrawal: str, hours: HoursOption = 24) -> None:
    """Draft that a withdrawal which a screening provider holds may go on."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from app.statements import draft_screening
        from core.ids import WithdrawalId

        platform = open_platform(settings())
        _emit(draft_screening(platform, WithdrawalId(withdrawal), expires_ns=_expires(hours)))


@app.command()
def sign(
    file: Annotated[Path, typer.Argument(help="The statement: the hex of its canonical bytes.")],
    key_file: Annotated[Path, typer.Option("--key", help="The officer's private key file.")],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Show a statement and sign exactly it; needs no platform and no network."""
    with errors_as_exit_codes():
        from custody.keys.officer_keys import load_officer_key
        from custody.keys.statement import render, sign_statement

        statement = read_statement(file)
        say(render(statement))
        key = load_officer_key(key_file, passphrase=passphrase_of(passphrase_file))
        given = sign_statement(key, statement)
        emit_one(
            {
                "statement_id": statement.statement_id,
                "signature": f"{given.public_key.hex()}:{given.signature.hex()}",
            }
        )


@app.command(name="carry-out")
def carry_out(
    file: Annotated[Path, typer.Argument(help="The statement.")],
    signatures: Annotated[
        list[str], typer.Option("--signature", help="<public key>:<signature>, once per officer.")
    ],
) -> None:
    """Do what a quorum signed. Refused when the world has moved on since it was drafted."""
    with errors_as_exit_codes():
        from app.opening import open_platform
        from app.statements import carry_out as do

        statement = read_statement(file)
        do(open_platform(settings()), statement, [signature_of(text) for text in signatures])
        emit_one({"statement_id": statement.statement_id, "carried_out": True})


def _emit(statement: Statement) -> None:
    from custody.keys.statement import encode, render

    say(render(statement))
    emit_one({"statement_id": statement.statement_id, "statement": encode(statement).hex()})


def _expires(hours: int) -> int:
    from core.clock import SECOND_NS, SystemClock

    return SystemClock().now_ns() + hours * 3_600 * SECOND_NS


def read_statement(path: Path) -> Statement:
    """Return the statement in a file; ends the program when it is none."""
    from custody.keys.statement import decode

    try:
        data = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, f"{path}: {error}", reason="malformed")
    return decode(data)


def signature_of(text: str) -> StatementSignature:
    """Return the signature of an option; ends the program when it is none."""
    from custody.keys.statement import StatementSignature as Given

    try:
        key, signature, *evidence = [bytes.fromhex(part) for part in text.split(":", 2)]
        return Given(key, signature, *evidence)
    except ValueError:
        fail(
            Exit.USAGE,
            "a signature is <public key>:<signature>, of a passkey with :<evidence>, in hex",
            reason="malformed",
        )
