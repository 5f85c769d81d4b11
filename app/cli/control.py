"""`strongroom control`: pause at once, freeze for a time, resume with a quorum, see what holds.

A pause goes to the platform and from there to the signer. With --signer it goes to the signer's own
socket and needs no platform: it holds even when the platform is in wrong hands.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import client
from app.cli.officer import PassphraseOption, passphrase_of
from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail, say
from app.cli.statement import read_statement, signature_of

if TYPE_CHECKING:
    from custody.keys.statement import Statement, StatementSignature

app = typer.Typer(help="Pause, freeze and resume what may be signed.")

COLUMNS = (
    "stop_id", "kind", "scope", "placed_by", "placed_at", "until", "signer_told", "because",
)  # fmt: skip
HOURS_VALID = 24

ScopeArgument = Annotated[
    str, typer.Argument(help="platform, chain:NAME, asset:CHAIN/KEY or customer:NUMBER.")
]
KeyOption = Annotated[Path, typer.Option("--key", help="The officer's private key file.")]
BecauseOption = Annotated[str, typer.Option("--because", help="Why, for the records.")]
SignerOption = Annotated[
    Path | None,
    typer.Option("--signer", help="The signer's socket: tell it directly, without the platform."),
]


@app.command()
def pause(
    scope: ScopeArgument,
    key_file: KeyOption,
    because: BecauseOption = "",
    signer: SignerOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Stop signatures at once; one officer is enough, and a quorum resumes."""
    with errors_as_exit_codes():
        from custody.keys.statement import StatementKind

        statement = _draft(StatementKind.PAUSE, scope, because)
        _deliver(statement, [_sign(statement, key_file, passphrase_file)], signer)


@app.command()
def freeze(
    scope: ScopeArgument,
    key_file: KeyOption,
    hours: Annotated[int, typer.Option("--hours", min=1, max=720, help="Nobody shortens it.")],
    because: BecauseOption = "",
    signer: SignerOption = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Only print it: over 24 hours a quorum must sign.")
    ] = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Stop signatures for a fixed time: one officer for at most 24 hours, a quorum for 30 days."""
    with errors_as_exit_codes():
        from core.clock import SECOND_NS, SystemClock
        from custody.keys.statement import StatementKind

        until_ns = SystemClock().now_ns() + hours * 3_600 * SECOND_NS
        statement = _draft(StatementKind.FREEZE, scope, because, until_ns=until_ns)
        if draft:
            _show(statement)
        else:
            _deliver(statement, [_sign(statement, key_file, passphrase_file)], signer)


@app.command()
def resume(
    scope: ScopeArgument,
    pauses: Annotated[list[str], typer.Option("--stop", help="A pause to lift, by its id.")],
    because: BecauseOption = "",
) -> None:
    """Draft a resumption: a quorum signs it with `statement sign`, `control send` hands it in."""
    with errors_as_exit_codes():
        from custody.keys.statement import StatementKind

        _show(_draft(StatementKind.RESUME, scope, because, lifts=tuple(pauses)))


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="The statement: the hex of its canonical bytes.")],
    signatures: Annotated[
        list[str], typer.Option("--signature", help="<public key>:<signature>, once per officer.")
    ],
    signer: SignerOption = None,
) -> None:
    """Hand in a statement with the signatures of several officers."""
    with errors_as_exit_codes():
        _deliver(read_statement(file), [signature_of(text) for text in signatures], signer)


@app.command(name="list")
def list_stops(
    every: Annotated[bool, typer.Option("--all", help="Also what is over or lifted.")] = False,
    signer: SignerOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
) -> None:
    """List what is stopped; with --signer what the signer itself obeys."""
    if signer is None:
        in_force = "false" if every else "true"
        emit(client.pages("/v1/stops", limit=limit, in_force=in_force), COLUMNS)
        return
    with errors_as_exit_codes():
        from custody.keys.stop_order import order_of

        with _signer(signer) as service:
            orders = [order_of(one.statement) for one in service.stops()]
        emit(
            [
                {"stop_id": one.order_id, "kind": one.kind.value, "scope": one.scope,
                 "because": one.because}
                for one in orders
            ]
        )  # fmt: skip


def _draft(kind: Any, scope: str, because: str, **more: Any) -> Statement:
    from core.clock import SECOND_NS, SystemClock
    from core.entropy import SystemEntropy
    from core.ids import new_id
    from custody.keys.stop_order import StopOrder, statement_of

    clock = SystemClock()
    stop_id = new_id("stop", clock=clock, entropy=SystemEntropy())
    order = StopOrder(stop_id, kind, scope, because=because, **more)
    return statement_of(order, expires_ns=clock.now_ns() + HOURS_VALID * 3_600 * SECOND_NS)


def _sign(statement: Statement, key_file: Path, passphrase_file: Path | None) -> StatementSignature:
    from custody.keys.officer_keys import load_officer_key
    from custody.keys.statement import render, sign_statement

    say(render(statement))
    key = load_officer_key(key_file, passphrase=passphrase_of(passphrase_file))
    return sign_statement(key, statement)


def _show(statement: Statement) -> None:
    from custody.keys.statement import encode, render

    say(render(statement))
    emit_one({"stop_id": statement.statement_id, "statement": encode(statement).hex()})


def _deliver(
    statement: Statement, signatures: list[StatementSignature], signer: Path | None
) -> None:
    from custody.keys.statement import encode

    if signer is not None:
        from custody.keys.stop_order import SignedStop

        with _signer(signer) as service:
            service.obey(SignedStop(statement, tuple(signatures)))
        emit_one({"stop_id": statement.statement_id, "signer_told": True})
        return
    body = {
        "statement": encode(statement).hex(),
        "signatures": [
            {
                "public_key": one.public_key.hex(),
                "signature": one.signature.hex(),
                "evidence": one.evidence.hex(),
            }
            for one in signatures
        ],
    }
    taken = client.ask("POST", "/v1/stops", body=body)
    emit_one(taken)
    if not taken["signer_told"]:
        fail(
            Exit.FAILED,
            "the platform stopped, but the signer was not reached yet: tell it with --signer",
            reason="unavailable",
            retryable=True,
        )


def _signer(path: Path) -> Any:
    import contextlib

    from app.signer_client import SignerClient

    return contextlib.closing(SignerClient(path))
