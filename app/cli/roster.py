"""`strongroom roster`: how officers write, sign and check the next version of the roster.

propose (anywhere) -> diff, sign (each officer, at an own machine) -> check -> pin the hash
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.officer import PassphraseOption, passphrase_of
from app.cli.output import Exit, Output, Talk, emit, emit_one, errors_as_exit_codes, fail, say

if TYPE_CHECKING:
    from custody.keys.roster_files import SignedRoster

app = typer.Typer(help="Write, sign and check rosters; needs no platform and no network.")

FileArgument = Annotated[Path, typer.Argument(help="A roster's file, roster-0001.toml.")]
FolderArgument = Annotated[Path, typer.Argument(help="The folder of every roster so far.")]


@app.command()
def show(file: FileArgument) -> None:
    """Show a roster's body, its hash, and whose keys signed it; nothing is believed yet."""
    with errors_as_exit_codes():
        from custody.keys.roster_text import render_body

        signed = _read(file)
        if Talk.output is Output.TABLE:
            typer.echo(render_body(signed.roster).decode("ascii"))
        emit_one(_summary(signed))


@app.command()
def diff(file: FileArgument) -> None:
    """Show what a roster changes of the one before it, which lies in the same folder."""
    with errors_as_exit_codes():
        typer.echo(_changes(file, _read(file)), nl=False)


@app.command()
def check(
    folder: FolderArgument,
    sha256: Annotated[
        str | None, typer.Option("--hash", help="The pinned hash; without it, the newest file's.")
    ] = None,
) -> None:
    """Check a chain of rosters: each is signed by the quorum of the one before it."""
    with errors_as_exit_codes():
        from core.errors import Refused
        from custody.keys.roster_files import load_rosters, newest

        try:
            pinned = newest(folder).roster.hash if sha256 is None else bytes.fromhex(sha256)
            versions = load_rosters(folder, pinned).versions
        except ValueError:
            fail(Exit.USAGE, "--hash is 64 hex digits", reason="malformed")
        except Refused as refused:
            fail(Exit.VERIFICATION, str(refused), reason=refused.reason.value)
        emit(
            [
                {
                    "serial": roster.serial,
                    "hash": roster.hash.hex(),
                    "threshold": roster.threshold,
                    "officers": ",".join(sorted({one.person for one in roster.officers})),
                    "mandates": len(roster.mandates),
                }
                for roster in versions
            ]
        )


@app.command()
def sign(
    file: FileArgument,
    key_file: Annotated[Path, typer.Option("--key", help="The officer's private key file.")],
    expect_hash: Annotated[
        str | None, typer.Option("--expect-hash", help="Sign only the roster of this hash.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Show what a roster says anew, and add an officer's signature to its file."""
    with errors_as_exit_codes():
        from custody.keys.officer_keys import load_officer_key
        from custody.keys.roster_files import add_signature, render_file, sign_roster

        signed = _read(file)
        if expect_hash is not None and signed.roster.hash.hex() != expect_hash.lower():
            fail(
                Exit.VERIFICATION,
                f"the roster hashes to {signed.roster.hash.hex()}",
                reason="roster_mismatch",
            )
        say(_changes(file, signed))
        key = load_officer_key(key_file, passphrase=passphrase_of(passphrase_file))
        signed = add_signature(signed, sign_roster(key, signed.roster))
        file.write_bytes(render_file(signed))
        emit_one(_summary(signed))


@app.command()
def propose(
    draft: Annotated[Path, typer.Argument(help="What the next version says, as TOML.")],
    folder: FolderArgument,
) -> None:
    """Write the next version's file: the draft in its one spelling, under the next serial.

    The draft has the tables of a roster; serial, previous and issued_ns are filled in. Nothing of
    the version before is taken over that the draft does not say.
    """
    with errors_as_exit_codes():
        from core.clock import SystemClock
        from custody.keys.roster_files import (
            SignedRoster,
            file_name,
            newest,
            render_file,
        )
        from custody.keys.roster_text import parse_draft

        text = _bytes(draft)
        previous = newest(folder).roster if any(folder.glob("roster-*.toml")) else None
        roster = parse_draft(text, previous=previous, issued_ns=SystemClock().now_ns())
        signed, path = SignedRoster(roster, ()), folder / file_name(roster.serial)
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(render_file(signed))
        say(f"written {path}; have a quorum of the officers before it sign it")
        emit_one(_summary(signed))


def _read(file: Path) -> SignedRoster:
    from custody.keys.roster_files import parse_file

    return parse_file(_bytes(file))


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fail(Exit.USAGE, f"{file}: {error}", reason="malformed")


def _changes(file: Path, signed: SignedRoster) -> str:
    """Return the lines that differ from the version before; of the first one, all of them.

    Refused: roster_mismatch, the file before is another one than this roster names.
    """
    import difflib

    from core.errors import Reason, Refused
    from custody.keys.roster_files import file_name, parse_file
    from custody.keys.roster_text import render_body

    before = b""
    if signed.roster.serial > 1:
        previous = parse_file(_bytes(file.with_name(file_name(signed.roster.serial - 1)))).roster
        if previous.hash != signed.roster.previous:
            raise Refused(Reason.ROSTER_MISMATCH, "the file before is not the roster it follows")
        before = render_body(previous)
    old, new = (body.decode("ascii").splitlines() for body in (before, render_body(signed.roster)))
    lines = difflib.unified_diff(old, new, "the roster before", "this roster", lineterm="", n=1)
    return "".join(f"{line}\n" for line in lines)


def _summary(signed: SignedRoster) -> dict[str, object]:
    return {
        "serial": signed.roster.serial,
        "hash": signed.roster.hash.hex(),
        "previous": signed.roster.previous.hex() or None,
        "threshold": signed.roster.threshold,
        "signed_by": ",".join(one.public_key.hex() for one in signed.signatures) or None,
    }
