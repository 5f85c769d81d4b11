"""Identifiers. The id is the idempotency key; facts of the outside world have derived ids."""

from __future__ import annotations

import hashlib
from typing import NewType

from core.clock import Clock
from core.entropy import Entropy

CustomerNo = NewType("CustomerNo", int)
AssetNo = NewType("AssetNo", int)
MarketNo = NewType("MarketNo", int)
OrderId = NewType("OrderId", int)
TransferId = NewType("TransferId", bytes)
"""16 bytes."""
DepositId = NewType("DepositId", str)
WithdrawalId = NewType("WithdrawalId", str)
SpendId = NewType("SpendId", str)
ChainId = NewType("ChainId", str)
"""The name a chain is configured under, unique in the platform."""

CUSTOMER_NO_LIMIT = 1 << 32
ASSET_NO_LIMIT = 1 << 16
MARKET_NO_LIMIT = 1 << 16

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def derived_digest(kind: str, *parts: str | int | bytes) -> bytes:
    """Hash a kind and its parts into 32 bytes.

    Every part is tagged with type and length, so no two lists collide.
    """
    digest = hashlib.sha256(b"strongroom/derived-id/v1")
    for part in (kind, *parts):
        if isinstance(part, bytes):
            tag, body = b"b", part
        elif isinstance(part, str):
            tag, body = b"s", part.encode()
        elif type(part) is int:
            tag, body = b"i", str(part).encode()
        else:
            raise TypeError(f"an id part is str, int or bytes, not {type(part).__name__}")
        digest.update(tag + len(body).to_bytes(8, "big") + body)
    return digest.digest()


def derived_id(kind: str, *parts: str | int | bytes) -> str:
    """Return `<kind>_<26 characters>` that depends on its parts alone (130 bits of SHA-256)."""
    return f"{kind}_{_base32(int.from_bytes(derived_digest(kind, *parts), 'big') >> 126)}"


def transfer_id(kind: str, *parts: str | int | bytes) -> TransferId:
    """Return the 16-byte derived id of a ledger transfer."""
    return TransferId(derived_digest(f"transfer/{kind}", *parts)[:16])


def new_id(prefix: str, *, clock: Clock, entropy: Entropy) -> str:
    """Return `<prefix>_<26 characters>`.

    48 bits of milliseconds, then 80 random bits (the ULID layout).
    """
    milliseconds = (clock.now_ns() // 1_000_000) & ((1 << 48) - 1)
    random_bits = int.from_bytes(entropy.token_bytes(10), "big")
    return f"{prefix}_{_base32(milliseconds << 80 | random_bits)}"


def _base32(number: int) -> str:
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
