"""`strongroom keys`: ceremonies, drills and rotations, for the persons who answer for the keys."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import drill, keys_log, rotate
from app.cli.keys_parts import networks_of, officer_key_of, person_of, terminal_of
from app.cli.officer import passphrase_of
from app.cli.options import settings
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from app.cli.keys_parts import Screen
    from custody.keys.ceremony import Home, Order

app = typer.Typer(help="Make, back up, prove and replace the keys.")
transcript = typer.Typer(help="Check what a ceremony left behind.")
app.add_typer(transcript, name="transcript")
app.add_typer(keys_log.app, name="log")
app.command(name="export")(keys_log.export_accounts)
app.command(name="anchor")(keys_log.make_anchor)
app.command()(drill.drill)
app.command()(drill.drills)
app.add_typer(rotate.app, name="rotate")

ChainOption = Annotated[
    list[str] | None, typer.Option("--chain", help="A chain of the settings; all without it.")
]


@app.command()
def ceremony(
    name: Annotated[str, typer.Argument(help="What this ceremony is called, like 2026-11-prod.")],
    presiding: Annotated[str, typer.Option(metavar="PERSON=KEYFILE", help="Who leads; signs.")],
    witness: Annotated[str, typer.Option(metavar="PERSON=KEYFILE", help="Who watches; signs.")],
    holder: Annotated[list[str], typer.Option(metavar="PERSON", help="Gets a share; repeat.")],
    transcript_file: Annotated[Path, typer.Option("--transcript", help="Where it is written.")],
    keystore: Annotated[
        Path | None,
        typer.Option(help="A keystore file for the seed; where the signer's settings say without."),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="The keystore's, mode 0600; asked for without it.")
    ] = None,
    xpubs_file: Annotated[
        Path | None, typer.Option("--xpubs", help="Where extended public keys are written.")
    ] = None,
    threshold: Annotated[int, typer.Option(help="Shares that restore the seed.")] = 3,
    exponent: Annotated[int, typer.Option(help="Cost of guessing: 10,000 x 2^this rounds.")] = 1,
    with_passphrase: Annotated[
        bool, typer.Option("--with-passphrase", help="The shares need a passphrase too.")
    ] = False,
    dice: Annotated[bool, typer.Option("--dice", help="Mix throws of a die in.")] = False,
    share_files: Annotated[
        Path | None,
        typer.Option(help="Shares go to files here, mode 0600, not to the screen: for printing."),
    ] = None,
    chain: ChainOption = None,
) -> None:
    """Make a seed, share it, verify every set of shares, store it, sign what happened.

    Nothing is kept when it breaks off. Shares are shown at this terminal only, one at a time.
    """
    with errors_as_exit_codes():
        from app.cli.machine import quiet_machine
        from custody.keys.ceremony import Order
        from custody.keys.shares import Scheme

        machine = quiet_machine()
        terminal = terminal_of(needed=share_files is None)
        for path in (transcript_file, xpubs_file):
            _refuse_existing(path)
        (leader, leader_key), (watcher, watcher_key) = person_of(presiding), person_of(witness)
        order = Order(
            ceremony=name,
            presiding=leader,
            witness=watcher,
            holders=tuple(holder),
            networks=networks_of(chain),
            scheme=Scheme(threshold, len(holder), iteration_exponent=exponent),
            with_dice=dice,
            with_passphrase=with_passphrase,
            tool=_tool(),
            machine=machine,
        )
        officers = (officer_key_of(leader_key, terminal), officer_key_of(watcher_key, terminal))
        with _home(keystore, passphrase_file, terminal) as home:
            _hold(order, home, officers, terminal, share_files, transcript_file, xpubs_file)
            emit_one({"transcript": transcript_file, "xpubs": xpubs_file, "home": home.about})


def _hold(
    order: Order,
    home: Home,
    officers: tuple[Ed25519PrivateKey, Ed25519PrivateKey],
    terminal: Screen,
    share_files: Path | None,
    transcript_file: Path,
    xpubs_file: Path | None,
) -> None:
    from core.clock import SystemClock
    from core.entropy import SystemEntropy
    from custody.keys.ceremony import Ceremony
    from custody.keys.private_file import write_private_file
    from custody.keys.share_delivery import InFiles, OnScreen
    from custody.keys.transcript import render

    outcome = Ceremony(
        order,
        home,
        officers,
        terminal,
        OnScreen(terminal) if share_files is None else InFiles(share_files, terminal),
        entropy=SystemEntropy(),
        clock=SystemClock(),
    ).hold()
    write_private_file(transcript_file, render(outcome.transcript))
    if xpubs_file is not None:
        write_private_file(xpubs_file, outcome.keys.as_toml().encode("ascii"))


@transcript.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The transcript.")],
    officer_key: Annotated[
        list[str] | None,
        typer.Option(help="An officer's public key, hex; both signers must be among those given."),
    ] = None,
) -> None:
    """Check both signatures of a transcript and show who signed."""
    with errors_as_exit_codes():
        from custody.keys.transcript import ROLES
        from custody.keys.transcript import verify as verify_transcript

        try:
            trusted = [bytes.fromhex(key) for key in officer_key or ()]
            data = file.read_bytes()
        except (ValueError, OSError) as error:
            fail(Exit.USAGE, f"{file}: {error}", reason="malformed")
        signed = verify_transcript(data, trusted=trusted)
        body = signed.transcript
        persons = (body.presiding, body.witness)
        emit(
            [
                {
                    "role": role,
                    "person": person,
                    "public_key": one.public_key.hex(),
                    "known": "as given" if trusted else "compare by hand",
                }
                for role, person, one in zip(ROLES, persons, signed.signatures, strict=True)
            ]
        )


@contextlib.contextmanager
def _home(keystore: Path | None, passphrase_file: Path | None, terminal: Screen) -> Iterator[Home]:
    from core.entropy import SystemEntropy
    from core.errors import Reason, Refused

    if keystore is None:
        from app.ceremony_home import signers_home

        with signers_home(settings().signer, entropy=SystemEntropy()) as home:
            yield home
        return
    from custody.keys.homes import KeystoreHome

    passphrase = passphrase_of(passphrase_file)
    if passphrase is None:
        passphrase = terminal.ask_secret(f"New passphrase of {keystore.name}: ")
        if terminal.ask_secret("Again: ") != passphrase:
            raise Refused(Reason.WRONG_PASSPHRASE, "not the same twice")
    yield KeystoreHome(keystore, passphrase, entropy=SystemEntropy())


def _refuse_existing(path: Path | None) -> None:
    from core.errors import Reason, Refused

    if path is not None and path.exists():
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, str(path))


def _tool() -> str:
    import importlib.metadata

    return f"strongroom {importlib.metadata.version('strongroom')}"
