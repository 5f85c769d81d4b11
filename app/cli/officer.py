"""`strongroom officer`: what an officer does at an own machine, with an own key and no network.

A key in a file is Ed25519 or a wallet's; a passkey signs in a browser (`officer challenge` says
what), and its answer is handed in with `withdrawal approve ID --passkey FILE`.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import Exit, emit, emit_one, errors_as_exit_codes, fail, say

if TYPE_CHECKING:
    from coincurve import PrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from custody.keys.intent import WithdrawalIntent
    from custody.keys.roster import Verdict
    from custody.keys.secret import Secret

app = typer.Typer(help="Make an officer's key; sign a withdrawal offline.")

PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the key's passphrase, mode 0600."),
]


class KeyKind(enum.StrEnum):
    """Kinds of keys that a file can hold."""

    ED25519 = "ed25519"
    EIP712 = "eip712"


IntentsArgument = Annotated[
    list[Path], typer.Argument(help="Withdrawals' intents: each the hex of canonical bytes.")
]
KeyOption = Annotated[Path, typer.Option("--key", help="The officer's private key file.")]
ExpectOption = Annotated[
    list[str] | None,
    typer.Option("--expect-hash", help="Sign only intents that hash to one of these."),
]


@app.command()
def keygen(
    file: Annotated[Path, typer.Argument(help="Where the private key is written, mode 0600.")],
    person: Annotated[str, typer.Option("--person", help="Name for the roster.")],
    kind: Annotated[
        KeyKind, typer.Option("--kind", help="eip712: a wallet key for typed approvals.")
    ] = KeyKind.ED25519,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a key and show the public half for the roster."""
    with errors_as_exit_codes():
        from core.entropy import SystemEntropy
        from custody.keys.officer_keys import officer_keygen, wallet_keygen
        from custody.keys.typed_approval import address_text

        entropy, secret = SystemEntropy(), passphrase_of(passphrase_file)
        if kind is KeyKind.EIP712:
            address = address_text(wallet_keygen(file, entropy=entropy, passphrase=secret))
            public = {"kind": kind.value, "person": person, "address": address}
        else:
            made = officer_keygen(file, entropy=entropy, passphrase=secret)
            public = {"kind": kind.value, "person": person, "public_key": made.hex()}
        emit_one({**public, "file": str(file)})


@app.command()
def approve(
    intent_files: IntentsArgument,
    key_file: KeyOption,
    reject: Annotated[bool, typer.Option("--reject", help="Sign rejections instead.")] = False,
    expect_hash: ExpectOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Decode intents, show them, and sign exactly those; each answer is what the API takes.

    Every file is decoded before anything is signed.
    """
    _sign_all(intent_files, key_file, expect_hash, passphrase_file, is_yes=not reject)


@app.command(name="reject")
def reject_them(
    intent_files: IntentsArgument,
    key_file: KeyOption,
    expect_hash: ExpectOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Sign rejections of intents: as easy as approvals, and one is enough."""
    _sign_all(intent_files, key_file, expect_hash, passphrase_file, is_yes=False)


@app.command()
def challenge(
    intent_file: Annotated[Path, typer.Argument(help="A withdrawal's intent.")],
    reject: Annotated[bool, typer.Option("--reject", help="To reject it.")] = False,
) -> None:
    """Show what a passkey's challenge and a wallet's digest of one verdict must be."""
    with errors_as_exit_codes():
        from custody.keys import passkey as passkeys
        from custody.keys.intent import intent_hash, render
        from custody.keys.roster import Verdict, approval_signable
        from custody.keys.typed_approval import digest_of

        intent = _read_intent(intent_file)
        verdict = Verdict.REJECT if reject else Verdict.APPROVE
        signable = approval_signable(intent, verdict)
        say(render(intent))
        emit_one(
            {
                "verdict": verdict.value,
                "intent_hash": intent_hash(intent).hex(),
                "message": signable.message.hex(),
                "passkey_challenge": passkeys.base64url(passkeys.challenge_of(signable.message)),
                "typed_digest": "0x" + digest_of(signable).hex(),
            }
        )


def _sign_all(
    intent_files: list[Path],
    key_file: Path,
    expect_hash: list[str] | None,
    passphrase_file: Path | None,
    *,
    is_yes: bool,
) -> None:
    with errors_as_exit_codes():
        from custody.keys.intent import intent_hash
        from custody.keys.officer_keys import load_signing_key
        from custody.keys.roster import Verdict as Verdicts

        found = [_read_intent(path) for path in intent_files]
        key = load_signing_key(key_file, passphrase=passphrase_of(passphrase_file))
        verdict = Verdicts.APPROVE if is_yes else Verdicts.REJECT
        wanted = None if expect_hash is None else {one.lower() for one in expect_hash}
        for intent in found:
            hashed = intent_hash(intent).hex()
            if wanted is not None and hashed not in wanted:
                fail(Exit.VERIFICATION, f"the intent hashes to {hashed}", reason="intent_mismatch")
        signed = [_signed(key, intent, verdict) for intent in found]
        emit_one(signed[0]) if len(signed) == 1 else emit(signed)


@app.command()
def cosign(
    proposal_id: Annotated[str, typer.Argument(help="What `wallet pending` lists.")],
    key_file: Annotated[
        Path | None, typer.Option("--key", help="One's own wallet key, if it lies in a file.")
    ] = None,
    owner: Annotated[str, typer.Option("--owner", help="Else: one's own address,")] = "",
    signature: Annotated[
        str, typer.Option("--signature", help="and what the device answered, 0x and 130 digits.")
    ] = "",
    expect_digest: Annotated[
        str | None, typer.Option("--expect-digest", help="Sign only what hashes to this.")
    ] = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Sign for a wallet of several owners, and hand it in.

    With --key what is shown is hashed here and that is signed; without, a device has signed what
    `wallet show --typed-data` writes.
    """
    with errors_as_exit_codes():
        from app.cli import client
        from app.cli.cosigning import sign_document

        path = f"/v1/cosigning/{proposal_id}"
        if key_file is not None:
            from custody.keys.officer_keys import load_signing_key

            key = load_signing_key(key_file, passphrase=passphrase_of(passphrase_file))
            found = client.ask("GET", path)
            made = sign_document(found["typed_data"], key)
            if made.digest not in {found["digest"]} & {expect_digest or found["digest"]}:
                fail(Exit.VERIFICATION, f"it hashes to {made.digest}", reason="intent_mismatch")
            say(made.shown)
            owner, signature = made.owner, made.signature
        if not (owner and signature):
            fail(Exit.USAGE, "either --key, or --owner and --signature", reason="malformed")
        body = {"owner": owner, "signature": signature.lower()}
        answer = client.ask("POST", f"{path}/signatures", body=body)
        signed = [one["owner"] for one in answer["owners"] if one["signed"]]
        count = f"{len(signed)} of {answer['threshold']}"
        emit_one({"proposal_id": proposal_id, "state": answer["state"], "signed": count})


def _signed(
    key: Ed25519PrivateKey | PrivateKey, intent: WithdrawalIntent, verdict: Verdict
) -> dict[str, object]:
    from app.cli.verdicts import signed_verdict
    from custody.keys.intent import intent_hash

    return {
        "withdrawal_id": intent.withdrawal_id,
        "chain": intent.chain,
        "asset_key": intent.asset_key,
        "destination": intent.destination,
        "amount_minor": str(intent.amount),
        "intent_hash": intent_hash(intent).hex(),
        **signed_verdict(key, intent, verdict),
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
