"""Signatures: 65 bytes r ‖ s ‖ v with v 0 or 1, low s only, checked by recovering the signer."""

from __future__ import annotations

from dataclasses import dataclass

import coincurve
from eth_hash.auto import keccak

from core.errors import Reason, Refused

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNATURE_SIZE = 65


@dataclass(frozen=True, slots=True)
class Signature:
    """A recoverable signature in canonical (low s) form."""

    r: int
    s: int
    parity: int


def parse_signature(signature: bytes) -> Signature:
    """Read 65 bytes. Refused: bad_signature (length, v above 1, r or s out of range, high s)."""
    if len(signature) != SIGNATURE_SIZE:
        raise Refused(Reason.BAD_SIGNATURE, "a signature has 65 bytes: r, s, v")
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:64], "big")
    parity = signature[64]
    if parity > 1:
        raise Refused(Reason.BAD_SIGNATURE, "v is 0 or 1")
    if not 0 < r < CURVE_ORDER or not 0 < s <= CURVE_ORDER // 2:
        raise Refused(Reason.BAD_SIGNATURE, "r or s is out of range, or s is high")
    return Signature(r, s, parity)


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the 20-byte address that signed a digest. Refused: bad_signature."""
    parts = parse_signature(signature)
    if len(digest) != 32:
        raise Refused(Reason.BAD_SIGNATURE, "a digest has 32 bytes")
    return recover_loose(digest, r=parts.r, s=parts.s, parity=parts.parity)


def recover_loose(digest: bytes, *, r: int, s: int, parity: int) -> bytes:
    """Return who signed what stands on a chain, where old signatures may be high.

    Refused: bad_signature.
    """
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER and parity in (0, 1)):
        raise Refused(Reason.BAD_SIGNATURE, "r, s or parity is out of range")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((parity,))
    try:
        key = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError as error:
        raise Refused(Reason.BAD_SIGNATURE, "no key made this signature") from error
    return keccak(key.format(compressed=False)[1:])[12:]


def personal_digest(message: bytes) -> bytes:
    """Return the digest of a personal message, which no transaction can share.

    Source: EIP-191, version 0x45.
    """
    return keccak(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)
