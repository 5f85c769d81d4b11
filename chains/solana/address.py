"""Addresses: 32 bytes in base58, and those that programs derive.

An address that is a point of the curve may have a key; one that is none belongs to a program.
Sources: RFC 8032 §5.1.3 (decoding a point); Solana documentation, Program-derived addresses.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from core.errors import Reason, Refused

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BYTES = 32
TEXT_MAX = 44
"""32 bytes have at most 44 digits."""

_VALUES = {char: value for value, char in enumerate(ALPHABET)}
_FIELD = 2**255 - 19
_CURVE_D = -121665 * pow(121666, -1, _FIELD) % _FIELD
_DERIVED = b"ProgramDerivedAddress"
_SEED_BYTES, _SEEDS_MAX = 32, 15


def encode58(data: bytes) -> str:
    """Return base58 text of any bytes (addresses, signatures, block hashes)."""
    number, digits = int.from_bytes(data, "big"), []
    while number:
        number, value = divmod(number, 58)
        digits.append(ALPHABET[value])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return ALPHABET[0] * zeros + "".join(reversed(digits))


def decode58(text: object, size: int) -> bytes | None:
    """Return exactly `size` bytes of a canonical text, None of anything else."""
    if not isinstance(text, str) or not 0 < len(text) <= 2 * size:
        return None
    number = 0
    for char in text:
        value = _VALUES.get(char)
        if value is None:
            return None
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes(zeros) + body if zeros + len(body) == size else None


@lru_cache(maxsize=1 << 16)
def to_text(raw: bytes) -> str:
    """Return the canonical text of 32 bytes."""
    if len(raw) != BYTES:
        raise ValueError("an address has 32 bytes")
    return encode58(raw)


def raw_address(text: object) -> bytes:
    """Read an address. Refused: invalid_address (not exactly 32 bytes in base58)."""
    raw = decode58(text, BYTES)
    if raw is None:
        raise Refused(Reason.INVALID_ADDRESS, "an address is 32 bytes in base58")
    return raw


def is_on_curve(raw: bytes) -> bool:
    """Tell whether 32 bytes are a point of Ed25519, as programs of the chain judge it.

    A coordinate above the field's prime and a negative zero count as points.
    """
    y = (int.from_bytes(raw, "little") & ((1 << 255) - 1)) % _FIELD
    square = y * y % _FIELD
    u, v = (square - 1) % _FIELD, (_CURVE_D * square + 1) % _FIELD
    return pow(u * v, (_FIELD - 1) // 2, _FIELD) in (0, 1)


@lru_cache(maxsize=1 << 16)
def derived_address(seeds: tuple[bytes, ...], program: bytes) -> bytes:
    """Return the address that a program derives from seeds: the first one off the curve."""
    if len(seeds) > _SEEDS_MAX or any(len(seed) > _SEED_BYTES for seed in seeds):
        raise ValueError("at most 15 seeds of at most 32 bytes")
    for bump in range(255, -1, -1):
        parts = (*seeds, bytes((bump,)), program, _DERIVED)
        found = hashlib.sha256(b"".join(parts)).digest()
        if not is_on_curve(found):
            return found
    raise ValueError("no bump gives an address off the curve")
