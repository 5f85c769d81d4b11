"""An officer's own Ed25519 key as a PEM file: made and kept where the officer is."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.entropy import Entropy
from core.errors import Reason, Refused
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.secret import Secret


def officer_keygen(path: Path, *, entropy: Entropy, passphrase: Secret | None = None) -> bytes:
    """Make a key, write it as PKCS #8 PEM with mode 0600, and return the public key for the roster.

    Without a passphrase the file is protected by its mode alone. Refused:
    exists_with_other_content.
    """
    key = Ed25519PrivateKey.from_private_bytes(entropy.token_bytes(32))
    cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        cipher = serialization.BestAvailableEncryption(passphrase.reveal())
    write_private_file(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher),
    )
    return key.public_key().public_bytes_raw()


def load_officer_key(path: Path, *, passphrase: Secret | None = None) -> Ed25519PrivateKey:
    """Open a key file.

    Refused: wrong_passphrase, malformed, forbidden (readable by others), not_found.
    """
    key = _open(read_private_file(path), passphrase)
    if key is None:
        raise Refused(Reason.WRONG_PASSPHRASE, f"{path} does not open with this passphrase")
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(Reason.MALFORMED, f"{path} holds no Ed25519 key")
    return key


def _open(data: bytes, passphrase: Secret | None) -> object:
    # No error leaves this frame, so that no traceback shows what was typed.
    try:
        return serialization.load_pem_private_key(
            data, None if passphrase is None else passphrase.reveal()
        )
    except (ValueError, TypeError):
        return None
