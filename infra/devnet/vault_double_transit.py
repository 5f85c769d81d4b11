"""The double's transit engine. NOT VAULT: keys in memory, drawn and used without any care.

Shapes and refusals follow the engine's source (OpenBao, builtin/logical/transit and
sdk/helper/keysutil/policy.go), among them: no secp256k1; a derived Ed25519 key has no public key
without a context and returns it with every signature; rewrap takes no associated data; versions
below min_decryption_version open nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.devnet.vault_double_auth import Answer, failed

TYPES = ("aes256-gcm96", "ed25519")


class _UserError(Exception):
    """Answered with 400 and these words."""


@dataclass(slots=True)
class Key:
    """One named key and all its versions."""

    name: str
    type: str
    is_derived: bool
    is_exportable: bool
    versions: list[bytes] = field(default_factory=list)
    min_decryption: int = 1
    min_encryption: int = 0

    def rotate(self) -> None:
        """Add a version: 32 random bytes, on either type."""
        self.versions.append(os.urandom(32))

    @property
    def latest(self) -> int:
        """Return the newest version's number."""
        return len(self.versions)

    def at(self, version: int, context: bytes) -> bytes:
        """Return the 32 bytes to use, derived by HKDF-SHA256 over the context where told."""
        if not 1 <= version <= self.latest:
            raise _UserError("no such key version")
        raw = self.versions[version - 1]
        if not self.is_derived:
            return raw
        if not context:
            raise _UserError("missing 'context' for key derivation")
        if self.type == "ed25519":
            raw += Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=context).derive(raw)

    def describe(self) -> dict[str, Any]:
        """Return what GET keys/:name returns."""
        return {
            "name": self.name,
            "type": self.type,
            "derived": self.is_derived,
            "deletion_allowed": False,
            "min_available_version": 0,
            "min_decryption_version": self.min_decryption,
            "min_encryption_version": self.min_encryption,
            "latest_version": self.latest,
            "exportable": self.is_exportable,
            "allow_plaintext_backup": False,
            "supports_encryption": self.type != "ed25519",
            "supports_decryption": self.type != "ed25519",
            "supports_signing": self.type == "ed25519",
            "supports_derivation": True,
            "auto_rotate_period": 0,
            "imported_key": False,
            "keys": {str(n): self._public(n) for n in range(1, self.latest + 1)},
        }

    def _public(self, version: int) -> object:
        if self.type != "ed25519":
            return 0
        public = "" if self.is_derived else _b64(_signer(self.at(version, b""))[1])
        return {"name": "ed25519", "public_key": public, "creation_time": "2026-01-01T00:00:00Z"}


class TransitEngine:
    """All keys of one mount."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}

    def answer(self, method: str, path: list[str], body: dict[str, Any]) -> Answer:
        """Carry out a request below the mount."""
        verbs: dict[str, Callable[[Key, dict[str, Any]], dict[str, Any]]] = {
            "encrypt": _encrypt,
            "decrypt": _decrypt,
            "rewrap": _rewrap,
            "sign": _sign,
            "verify": _verify,
        }
        try:
            if path[0] == "keys":
                return self._keys(method, path[1:], body)
            if path[0] in verbs and len(path) == 2:
                if path[1] not in self.keys:
                    return failed(400, "encryption key not found")
                return Answer(200, verbs[path[0]](self.keys[path[1]], body))
        except (_UserError, binascii.Error) as error:
            return failed(400, str(error))
        except InvalidTag:
            return failed(400, "cipher: message authentication failed")
        return failed(404, "no handler for route")

    def _keys(self, method: str, path: list[str], body: dict[str, Any]) -> Answer:
        if method == "LIST":
            return Answer(200, {"keys": sorted(self.keys)})
        name, *rest = path
        if method == "POST" and not rest:
            return self._create(name, body)
        key = self.keys.get(name)
        if key is None:
            return failed(404) if method == "GET" else failed(400, f"no existing key named {name}")
        if method == "GET" and not rest:
            return Answer(200, key.describe())
        if rest == ["rotate"]:
            key.rotate()
            return Answer(200, key.describe())
        if rest == ["config"]:
            return _configure(key, body)
        return failed(404, "no handler for route")

    def _create(self, name: str, body: dict[str, Any]) -> Answer:
        kind = body.get("type", "aes256-gcm96")
        if kind not in TYPES:
            return failed(400, f"unknown key type {kind}")
        if name not in self.keys:
            key = Key(name, kind, bool(body.get("derived")), bool(body.get("exportable")))
            key.rotate()
            self.keys[name] = key
        return Answer(200, self.keys[name].describe())


def _configure(key: Key, body: dict[str, Any]) -> Answer:
    version = int(body.get("min_decryption_version", key.min_decryption)) or 1
    if version > key.latest:
        return failed(400, f"cannot set min decryption version of {version}")
    key.min_decryption = version
    return Answer(200, key.describe())


def _encrypt(key: Key, body: dict[str, Any]) -> dict[str, Any]:
    if key.type == "ed25519":
        raise _UserError(f"message encryption not supported for key type {key.type}")
    version = int(body.get("key_version", 0)) or key.latest
    if version < key.min_encryption:
        raise _UserError("requested version for encryption is less than the minimum")
    nonce = os.urandom(12)
    cipher = AESGCM(key.at(version, _context(body)))
    sealed = nonce + cipher.encrypt(nonce, _unb64(body["plaintext"]), _associated(body))
    return {"ciphertext": f"vault:v{version}:{_b64(sealed)}", "key_version": version}


def _decrypt(key: Key, body: dict[str, Any]) -> dict[str, Any]:
    version, sealed = _versioned(key, str(body.get("ciphertext", "")), "ciphertext")
    cipher = AESGCM(key.at(version, _context(body)))
    return {"plaintext": _b64(cipher.decrypt(sealed[:12], sealed[12:], _associated(body)))}


def _rewrap(key: Key, body: dict[str, Any]) -> dict[str, Any]:
    # hashicorp/vault#29532: the parameter does not exist there, whatever is sent.
    known = {**body, "associated_data": ""}
    return _encrypt(key, {**known, **_decrypt(key, known)})


def _sign(key: Key, body: dict[str, Any]) -> dict[str, Any]:
    if key.type != "ed25519":
        raise _UserError(f"key type {key.type} does not support signing")
    version = int(body.get("key_version", 0)) or key.latest
    if "batch_input" in body:
        return {"batch_results": [_sign_item(key, version, item) for item in body["batch_input"]]}
    return _sign_one(key, version, body)


def _sign_item(key: Key, version: int, item: dict[str, Any]) -> dict[str, Any]:
    try:
        return _sign_one(key, version, item)
    except (_UserError, binascii.Error) as error:
        return {"error": str(error)}


def _sign_one(key: Key, version: int, item: dict[str, Any]) -> dict[str, Any]:
    private, public = _signer(key.at(version, _context(item)))
    signature = private.sign(_unb64(item.get("input", "")))
    answer = {"signature": f"vault:v{version}:{_b64(signature)}", "key_version": version}
    return answer | ({"public_key": _b64(public)} if key.is_derived else {})


def _verify(key: Key, body: dict[str, Any]) -> dict[str, Any]:
    version, signature = _versioned(key, str(body.get("signature", "")), "signature")
    private, _ = _signer(key.at(version, _context(body)))
    try:
        private.public_key().verify(signature, _unb64(body["input"]))
    except InvalidSignature:
        return {"valid": False}
    return {"valid": True}


def _versioned(key: Key, text: str, what: str) -> tuple[int, bytes]:
    parts = text.split(":", 2)
    if len(parts) != 3 or parts[0] != "vault" or not parts[1][1:].isdigit():
        raise _UserError(f"invalid {what}: no prefix")
    version = int(parts[1][1:])
    if version > key.latest:
        raise _UserError(f"invalid {what}: version is too new")
    if version < key.min_decryption:
        raise _UserError("ciphertext or signature version is disallowed by policy (too old)")
    return version, _unb64(parts[2])


def _signer(raw: bytes) -> tuple[Ed25519PrivateKey, bytes]:
    private = Ed25519PrivateKey.from_private_bytes(raw)
    return private, private.public_key().public_bytes_raw()


def _context(body: dict[str, Any]) -> bytes:
    return _unb64(body.get("context", ""))


def _associated(body: dict[str, Any]) -> bytes | None:
    text = body.get("associated_data")
    return _unb64(text) if text else None


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
