"""A security key and a browser in software: they speak the real protocol, and lie when told to.

W3C Web Authentication level 3: §5.8.1 client data, §6.1 authenticator data, §6.5 attestation
("none" and packed by the credential's own key), §6.5.5 signatures. Keys are COSE (RFC 9053).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from webauthn.helpers import encode_cbor

from core.entropy import SeededEntropy
from custody.keys.passkey import P256_ORDER

ES256, EDDSA = -7, -8
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
ORIGIN = "https://custody.example"
RP_ID = "custody.example"


def to_text(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(slots=True)
class SoftAuthenticator:
    """One passkey. The same name has the same key in every run."""

    name: str
    algorithm: int = ES256
    synced: bool = False
    counter: int = 0
    origin: str = ORIGIN
    """Of the page that the browser shows."""
    _es256: ec.EllipticCurvePrivateKey = field(init=False)
    _edwards: Ed25519PrivateKey = field(init=False)

    def __post_init__(self) -> None:
        seed = SeededEntropy(1, f"passkey/{self.name}").token_bytes(32)
        number = int.from_bytes(seed, "big") % (P256_ORDER - 1) + 1
        self._es256 = ec.derive_private_key(number, ec.SECP256R1())
        self._edwards = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def credential_id(self) -> bytes:
        """Return the id that it gave its credential."""
        return hashlib.sha256(f"id of {self.name}".encode()).digest()

    @property
    def public_key(self) -> bytes:
        """Return the key as a roster spells it."""
        if self.algorithm == EDDSA:
            return self._edwards.public_key().public_bytes_raw()
        return self._es256.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    def create(
        self,
        options: Mapping[str, Any],
        *,
        attestation: str = "none",
        flags: int | None = None,
        client: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Answer navigator.credentials.create(), as PublicKeyCredential.toJSON() writes it."""
        client_data = self._client_data("webauthn.create", options["challenge"], client)
        about = len(self.credential_id).to_bytes(2, "big") + self.credential_id + self._cose()
        data = self._authenticator_data(options["rp"]["id"], flags, AT) + bytes(16) + about
        statement: dict[str, object] = {}
        if attestation == "packed":
            signature = self.sign(data + hashlib.sha256(client_data).digest())
            statement = {"alg": self.algorithm, "sig": signature}
        made = encode_cbor({"fmt": attestation, "attStmt": statement, "authData": data})
        answer = {"attestationObject": to_text(made), "transports": ["usb"]}
        return self._credential(answer, client_data)

    def get(
        self,
        options: Mapping[str, Any],
        *,
        flags: int | None = None,
        rp_id: str | None = None,
        client: Mapping[str, object] | None = None,
        high_s: bool = False,
    ) -> dict[str, Any]:
        """Answer navigator.credentials.get(); an empty text in `client` leaves a name out."""
        client_data = self._client_data("webauthn.get", options["challenge"], client)
        data = self._authenticator_data(rp_id or options["rpId"], flags, 0)
        signature = self.sign(data + hashlib.sha256(client_data).digest(), high_s=high_s)
        answer = {"authenticatorData": to_text(data), "signature": to_text(signature)}
        return self._credential({**answer, "userHandle": None}, client_data)

    def sign(self, data: bytes, *, high_s: bool = False) -> bytes:
        """Sign as the device does: DER for ES256, with the s that is asked for."""
        if self.algorithm == EDDSA:
            return self._edwards.sign(data)
        r, s = decode_dss_signature(
            self._es256.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        )
        if (s > P256_ORDER // 2) != high_s:
            s = P256_ORDER - s
        return encode_dss_signature(r, s)

    def _client_data(
        self, kind: str, challenge: str, changes: Mapping[str, object] | None
    ) -> bytes:
        page = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        page = {name: value for name, value in {**page, **(changes or {})}.items() if value != ""}
        return json.dumps(page, separators=(",", ":")).encode()

    def _authenticator_data(self, rp_id: str, flags: int | None, more: int) -> bytes:
        self.counter += 1
        if flags is None:
            flags = UP | UV | (BE | BS if self.synced else 0)
        marks = bytes([flags | more]) + self.counter.to_bytes(4, "big")
        return hashlib.sha256(rp_id.encode()).digest() + marks

    def _cose(self) -> bytes:
        if self.algorithm == EDDSA:
            return encode_cbor({1: 1, 3: EDDSA, -1: 6, -2: self.public_key})
        numbers = self._es256.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return encode_cbor({1: 2, 3: ES256, -1: 1, -2: x, -3: y})

    def _credential(self, response: dict[str, Any], client_data: bytes) -> dict[str, Any]:
        return {
            "id": to_text(self.credential_id),
            "rawId": to_text(self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {"clientDataJSON": to_text(client_data), **response},
        }
