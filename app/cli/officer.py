"""`strongroom officer`: what an officer does at an own machine, with an own key and no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import Exit, emit_one, errors_as_exit_codes, fail

if TYPE_CHECKING:
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
            file, entropy=SystemEntropy(), passphrase=_passphrase(passphrase_file)
        )
        emit_one({"person": person, "public_key": public.hex(), "file": str(file)})


@app.command()
def approve(
    intent_file: Annotated[
        Path, typer.Argument(help="The withdrawal's intent: hex of its canonical bytes.")
    ],
    key_file: Annotated[Path, typer.Option("--key", help="The officer's private key file.")],
    reject: Annotated[bool, typer.Option("--reject", help="Sign a rejection instead.")] = False,
    expect_hash: Annotated[
        str | None, typer.Option("--expect-hash", help="Sign only if the intent hashes to this.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Decode an intent, show it, and sign exactly that; the answer is what the API takes."""
    with errors_as_exit_codes():
        from custody.keys import intent as intents
        from custody.keys.officer_keys import load_officer_key
        from custody.keys.roster import Verdict, sign_approval

        intent = intents.decode(_read_hex(intent_file))
        if not isinstance(intent, intents.WithdrawalIntent):
            fail(Exit.VERIFICATION, "this is no withdrawal's intent", reason="undecodable")
        found = intents.intent_hash(intent).hex()
        if expect_hash is not None and expect_hash.lower() != found:
            fail(Exit.VERIFICATION, f"the intent hashes to {found}", reason="intent_mismatch")
        key = load_officer_key(key_file, passphrase=_passphrase(passphrase_file))
        verdict = Verdict.REJECT if reject else Verdict.APPROVE
        approval = sign_approval(key, intent, verdict)
        emit_one(
            {
                "withdrawal_id": intent.withdrawal_id,
                "chain": intent.chain,
                "asset_key": intent.asset_key,
                "destination": intent.destination,
                "amount_minor": str(intent.amount),
                "intent_hash": found,
                "verdict": approval.verdict.value,
                "public_key": approval.public_key.hex(),
                "signature": approval.signature.hex(),
            }
        )


def _read_hex(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, f"{path}: {error}", reason="malformed")


def _passphrase(path: Path | None) -> Secret | None:
    from custody.keys.private_file import read_private_file
    from custody.keys.secret import Secret as Box

    return None if path is None else Box(read_private_file(path).strip())
