"""Addresses: 20 bytes with the mixed-case checksum of EIP-55.

Canonical text is always the checksummed one.
"""

from __future__ import annotations

import re
from functools import lru_cache

import coincurve
from eth_hash.auto import keccak

from core.errors import Reason, Refused

_SYNTAX = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_BURN_ADDRESSES = frozenset(
    {
        (0xDEAD).to_bytes(20, "big"),
        bytes.fromhex("dead" * 10),
        bytes.fromhex("dead" + "00" * 18),
        bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead0000"),
        b"\xff" * 20,
    }
)
PRECOMPILE_LIMIT = 0x1000
"""Addresses 1 and up to here are reserved for precompiles (0x1..0x11 and 0x100 are in use)."""


@lru_cache(maxsize=1 << 16)
def checksum(raw: bytes) -> str:
    """Return the canonical text of 20 bytes. Source: EIP-55."""
    if len(raw) != 20:
        raise ValueError("an address has 20 bytes")
    text = raw.hex()
    digest = keccak(text.encode()).hex()
    return "0x" + "".join(char.upper() if digest[i] >= "8" else char for i, char in enumerate(text))


def raw_address(text: object) -> bytes:
    """Read an address: all lower-case, or with a correct checksum.

    Refused: invalid_address (not exactly `0x` and 40 ASCII hex digits, wrong case).
    """
    if not isinstance(text, str) or _SYNTAX.fullmatch(text) is None:
        raise Refused(Reason.INVALID_ADDRESS, "an address is 0x and 40 hexadecimal digits")
    raw = bytes.fromhex(text[2:])
    digits = text[2:]
    if digits not in (digits.lower(), checksum(raw)[2:]):
        raise Refused(Reason.INVALID_ADDRESS, "the checksum (letter case) does not match")
    return raw


def is_unspendable(raw: bytes) -> bool:
    """Tell whether nobody can hold the key: zero, well-known burn addresses, precompiles."""
    return int.from_bytes(raw, "big") < PRECOMPILE_LIMIT or raw in _BURN_ADDRESSES


def from_public_key(public_key: bytes) -> bytes:
    """Return the 20 bytes that belong to a compressed secp256k1 point. Refused: malformed."""
    if len(public_key) != 33:
        raise Refused(Reason.MALFORMED, "a public key is a compressed point of 33 bytes")
    try:
        point = coincurve.PublicKey(public_key).format(compressed=False)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "the public key is not a point of the curve") from error
    return keccak(point[1:])[12:]
