"""An officer's own key as a PEM file, Ed25519 or a wallet's: made and kept where the officer is."""

from __future__ import annotations

from pathlib import Path

from coincurve import PrivateKey, PublicKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.entropy import Entropy
from core.errors import Reason, Refused
from custody.keys.private_file import read_private_file, write_private_file
from custody.keys.secret import Secret
from custody.keys.typed_approval import CURVE_ORDER, address_of


def officer_keygen(path: Path, *, entropy: Entropy, passphrase: Secret | None = None) -> bytes:
    """Make a key, write it as PKCS #8 PEM with mode 0600, and return the public key for the roster.

    Without a passphrase the file is protected by its mode alone. Refused:
    exists_with_other_content.
    """
    key = Ed25519PrivateKey.from_private_bytes(entropy.token_bytes(32))
    _write(path, key, passphrase)
    return key.public_key().public_bytes_raw()


def wallet_keygen(path: Path, *, entropy: Entropy, passphrase: Secret | None = None) -> bytes:
    """Make a wallet key, write it likewise, and return the wallet's address of 20 bytes.

    Refused: exists_with_other_content.
    """
    key = _drawn(entropy)
    _write(path, key, passphrase)
    encoding, form = serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    return address_of(PublicKey(key.public_key().public_bytes(encoding, form)))


def _drawn(entropy: Entropy) -> ec.EllipticCurvePrivateKey:
    # The number leaves this frame only as a key, so that no traceback shows it.
    number = 0
    while not 0 < number < CURVE_ORDER:
        number = int.from_bytes(entropy.token_bytes(32), "big")
    return ec.derive_private_key(number, ec.SECP256K1())


def _write(
    path: Path, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, passphrase: Secret | None
) -> None:
    cipher: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        cipher = serialization.BestAvailableEncryption(passphrase.reveal())
    write_private_file(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher),
    )


def load_signing_key(
    path: Path, *, passphrase: Secret | None = None
) -> Ed25519PrivateKey | PrivateKey:
    """Open a key file of either kind. Refused: as load_officer_key."""
    key = _open(read_private_file(path), passphrase)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256K1):
        return PrivateKey.from_int(key.private_numbers().private_value)
    return _edwards(key, path)


def load_officer_key(path: Path, *, passphrase: Secret | None = None) -> Ed25519PrivateKey:
    """Open a key file.

    Refused: wrong_passphrase, malformed, forbidden (readable by others), not_found.
    """
    return _edwards(_open(read_private_file(path), passphrase), path)


def _edwards(key: object, path: Path) -> Ed25519PrivateKey:
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
