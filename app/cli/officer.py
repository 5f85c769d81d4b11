"""`strongroom officer`: what an officer does at an own machine, with an own key and no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from custody.keys.intent import WithdrawalIntent
    from custody.keys.roster import Verdict
    from custody.keys.secret import Secret

app = typer.Typer(help="Make an officer's key; sign a withdrawal offline.")

PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the key's passphrase, mode 0600."),
]


@app.command()
def keygen(
    file: Annotated[Path, typer.Argument(help="Where the private key is written, mode 0600.")],
    person: Annotated[str, typer.Option("--person", help="Name for the roster.")],
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make an Ed25519 key and show the public half for the roster."""
    with errors_as_exit_codes():
        from core.entropy import SystemEntropy
        from custody.keys.officer_keys import officer_keygen

        public = officer_keygen(
            file, entropy=SystemEntropy(), passphrase=passphrase_of(passphrase_file)
        )
        emit_one({"person": person, "public_key": public.hex(), "file": str(file)})


@app.command()
def approve(
    intent_files: Annotated[
        list[Path], typer.Argument(help="Withdrawals' intents: each the hex of canonical bytes.")
    ],
    key_file: Annotated[Path, typer.Option("--key", help="The officer's private key file.")],
    reject: Annotated[bool, typer.Option("--reject", help="Sign rejections instead.")] = False,
    expect_hash: Annotated[
        list[str] | None,
        typer.Option("--expect-hash", help="Sign only intents that hash to one of these."),
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Decode intents, show them, and sign exactly those; each answer is what the API takes.

    Every file is decoded before anything is signed.
    """
    with errors_as_exit_codes():
        from custody.keys.intent import intent_hash
        from custody.keys.officer_keys import load_officer_key
        from custody.keys.roster import Verdict as Verdicts

        found = [_read_intent(path) for path in intent_files]
        key = load_officer_key(key_file, passphrase=passphrase_of(passphrase_file))
        verdict = Verdicts.REJECT if reject else Verdicts.APPROVE
        wanted = None if expect_hash is None else {one.lower() for one in expect_hash}
        for intent in found:
            hashed = intent_hash(intent).hex()
            if wanted is not None and hashed not in wanted:
                fail(Exit.VERIFICATION, f"the intent hashes to {hashed}", reason="intent_mismatch")
        signed = [_signed(key, intent, verdict) for intent in found]
        emit_one(signed[0]) if len(signed) == 1 else emit(signed)


def _signed(
    key: Ed25519PrivateKey, intent: WithdrawalIntent, verdict: Verdict
) -> dict[str, object]:
    from custody.keys.intent import intent_hash
    from custody.keys.roster import sign_approval

    approval = sign_approval(key, intent, verdict)
    return {
        "withdrawal_id": intent.withdrawal_id,
        "chain": intent.chain,
        "asset_key": intent.asset_key,
        "destination": intent.destination,
        "amount_minor": str(intent.amount),
        "intent_hash": intent_hash(intent).hex(),
        "verdict": approval.verdict.value,
        "public_key": approval.public_key.hex(),
        "signature": approval.signature.hex(),
    }


def _read_intent(path: Path) -> WithdrawalIntent:
    from custody.keys import intent as intents

    try:
        data = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, f"{path}: {error}", reason="malformed")
    intent = intents.decode(data)
    if not isinstance(intent, intents.WithdrawalIntent):
        fail(Exit.VERIFICATION, f"{path} is no withdrawal's intent", reason="undecodable")
    return intent


def passphrase_of(path: Path | None) -> Secret | None:
    """Return the passphrase in a file of mode 0600, None without a file."""
    from custody.keys.private_file import read_private_file
    from custody.keys.secret import Secret as Box

    return None if path is None else Box(read_private_file(path).strip())
