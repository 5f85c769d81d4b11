"""Every kind of credential behind one face: what an officer can hold, and signs with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.entropy import SeededEntropy
from custody.keys import passkey as passkeys
from custody.keys import typed_approval
from custody.keys.credentials import CredentialKind
from custody.keys.intent import WithdrawalIntent
from custody.keys.passkey import Passkey
from custody.keys.passkey_answers import read_answer
from custody.keys.roster import Approval, Officer, Verdict, approval_signable
from custody.keys.signable import Signable
from tests.support.authenticator import EDDSA, ES256, ORIGIN, RP_ID, SoftAuthenticator


class Rail(Protocol):
    """One credential of somebody."""

    def row(self, person: str, **fields: Any) -> Officer:
        """Return its row of the roster."""
        ...

    def sign(self, signable: Signable) -> tuple[bytes, bytes]:
        """Return signature and evidence."""
        ...


@dataclass(frozen=True, slots=True)
class FileKey:
    """Ed25519 in a file."""

    name: str

    @property
    def key(self) -> Ed25519PrivateKey:
        """Return the private key; a name has the same one as in tests.unit.custody.keys."""
        return Ed25519PrivateKey.from_private_bytes(SeededEntropy(1, self.name).token_bytes(32))

    def row(self, person: str, **fields: Any) -> Officer:
        """Return its row."""
        return Officer(person, self.key.public_key().public_bytes_raw(), **fields)

    def sign(self, signable: Signable) -> tuple[bytes, bytes]:
        """Sign the message."""
        return self.key.sign(signable.message), b""


@dataclass(frozen=True, slots=True)
class WalletKey:
    """A wallet."""

    name: str

    @property
    def key(self) -> PrivateKey:
        """Return the private key."""
        return PrivateKey(SeededEntropy(1, f"wallet/{self.name}").token_bytes(32))

    def row(self, person: str, **fields: Any) -> Officer:
        """Return its row."""
        address = typed_approval.address_of(self.key.public_key)
        return Officer(person, address, kind=CredentialKind.EIP712, **fields)

    def sign(self, signable: Signable) -> tuple[bytes, bytes]:
        """Sign typed data."""
        return typed_approval.sign_typed(self.key, signable), b""


@dataclass(frozen=True, slots=True)
class PasskeyOf:
    """A passkey in a security key, on a page of the console."""

    name: str
    algorithm: int = ES256
    synced: bool = False

    @property
    def device(self) -> SoftAuthenticator:
        """Return the device."""
        return SoftAuthenticator(self.name, self.algorithm, synced=self.synced)

    def row(self, person: str, **fields: Any) -> Officer:
        """Return its row."""
        device = self.device
        passkey = Passkey(device.credential_id, RP_ID, (ORIGIN,), self.synced)
        return Officer(
            person, device.public_key, kind=CredentialKind.WEBAUTHN, passkey=passkey, **fields
        )

    def sign(self, signable: Signable, **lies: Any) -> tuple[bytes, bytes]:
        """Have the device answer the message's challenge."""
        return kept(self.device.get(options_of(signable.message), **lies), self.device.public_key)


def options_of(message: bytes) -> dict[str, Any]:
    """Return what the page hands to the browser."""
    challenge = passkeys.base64url(passkeys.challenge_of(message))
    return {"challenge": challenge, "rpId": RP_ID, "userVerification": "required"}


def kept(answer: dict[str, Any], public_key: bytes) -> tuple[bytes, bytes]:
    """Return signature and evidence of a browser's answer, as they are stored."""
    _, assertion = read_answer(answer)
    signature = passkeys.one_spelling(assertion.signature, public_key)
    return signature, passkeys.evidence_of(assertion)


def give(rail: Rail, intent: WithdrawalIntent, verdict: Verdict = Verdict.APPROVE) -> Approval:
    """Return a verdict by a credential."""
    signature, evidence = rail.sign(approval_signable(intent, verdict))
    return Approval(rail.row("anyone").public_key, verdict, signature, evidence)


def of_every_kind(name: str) -> dict[str, Rail]:
    """Return a credential of every kind."""
    return {
        "file": FileKey(name),
        "wallet": WalletKey(name),
        "passkey": PasskeyOf(name),
        "passkey-ed25519": PasskeyOf(name, EDDSA),
        "passkey-synced": PasskeyOf(f"{name} synced", synced=True),
    }


KINDS = tuple(of_every_kind("anyone"))


def person_with(person: str, *rails: Rail, **fields: Any) -> tuple[Officer, ...]:
    """Return the rows of a person who holds several credentials."""
    return tuple(replace(rail.row(person), **fields) for rail in rails)
