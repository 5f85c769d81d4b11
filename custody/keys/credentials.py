"""An officer's credentials: three kinds of keys, and the one check of a signature by any of them.

    ed25519    a key in a file signs the message itself; its key has 32 bytes
    webauthn   a passkey signs a challenge made of the message (custody.keys.passkey); its key has
               33 bytes, a compressed point of P-256 (ES256), or 32, Ed25519
    eip712     a wallet key signs a typed message (custody.keys.typed_approval); its key is the
               wallet's address of 20 bytes

The row of the roster says which kind a key is, so a signature of another kind never counts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from custody.keys import passkey as passkeys
from custody.keys import typed_approval
from custody.keys.edwards import check_signature
from custody.keys.passkey import Passkey
from custody.keys.signable import Signable


class CredentialKind(enum.StrEnum):
    """How an officer signs."""

    ED25519 = "ed25519"
    WEBAUTHN = "webauthn"
    EIP712 = "eip712"


@dataclass(frozen=True, slots=True)
class Credential:
    """One key that may sign: `passkey` is there for webauthn and for no other kind."""

    kind: CredentialKind
    public_key: bytes
    passkey: Passkey | None = None


def check_credential(
    credential: Credential, signable: Signable, signature: bytes, evidence: bytes = b""
) -> None:
    """Return when a signature is this credential's over this message; needs nothing but these.

    evidence is what a passkey signed besides the challenge, empty for other kinds.
    Refused: bad_signature.
    """
    if credential.kind is CredentialKind.WEBAUTHN:
        assert credential.passkey is not None
        passkeys.check_assertion(
            credential.passkey, credential.public_key, signable.message, signature, evidence
        )
        return
    if evidence:
        raise passkeys.bad("only a passkey's signature comes with evidence")
    if credential.kind is CredentialKind.EIP712:
        typed_approval.check_typed(credential.public_key, signable, signature)
    else:
        check_signature(credential.public_key, signature, signable.message)
