"""Signatures: 65 bytes r ‖ s ‖ recovery id from the signer, and how the network takes them.

Low s only (BIP-146), in the strict encoding of BIP-66.
"""

from __future__ import annotations

import coincurve

from chains.bitcoin.tx import write_blob
from core.errors import Reason, Refused

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNATURE_BYTES = 65


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the compressed public key that signed a digest.

    Refused: bad_signature (length, recovery id, r or s out of range, high s, no key's).
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] > 3:
        raise Refused(Reason.BAD_SIGNATURE, "a signature has 65 bytes: r, s, recovery id")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if not 0 < r < CURVE_ORDER or not 0 < s <= CURVE_ORDER // 2:
        raise Refused(Reason.BAD_SIGNATURE, "r or s is out of range, or s is high")
    try:
        key = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError as error:
        raise Refused(Reason.BAD_SIGNATURE, "no key made this signature") from error
    return key.format()


def strict_encoding(signature: bytes) -> bytes:
    """Return r and s in the one encoding that nodes take. Source: BIP-66."""
    parts = b"".join(
        b"\x02" + write_blob(_number(half)) for half in (signature[:32], signature[32:64])
    )
    return b"\x30" + write_blob(parts)


def is_strict(encoded: bytes) -> bool:
    """Tell whether bytes are the one encoding of r and a low s."""
    if len(encoded) < 8 or encoded[3] > 33 or len(encoded) < 6 + encoded[3]:
        return False
    r = int.from_bytes(encoded[4 : 4 + encoded[3]], "big")
    s = int.from_bytes(encoded[6 + encoded[3] :], "big")
    if not 0 < r < CURVE_ORDER or not 0 < s <= CURVE_ORDER // 2:
        return False
    return strict_encoding(r.to_bytes(32, "big") + s.to_bytes(32, "big")) == encoded


def _number(half: bytes) -> bytes:
    digits = half.lstrip(b"\0")
    return b"\0" + digits if digits[0] & 0x80 else digits
