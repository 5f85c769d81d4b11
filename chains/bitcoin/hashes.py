"""The hashes of this chain."""

from __future__ import annotations

import hashlib

_IS_QUICK = "ripemd160" in hashlib.algorithms_available
"""Whether the system's library has it: five times as fast."""


def sha256(data: bytes) -> bytes:
    """Return SHA-256."""
    return hashlib.sha256(data).digest()


def sha256_twice(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256: what names transactions and blocks."""
    return sha256(sha256(data))


def hash160(data: bytes) -> bytes:
    """Return RIPEMD-160 of SHA-256: what names keys and scripts."""
    if _IS_QUICK:
        return hashlib.new("ripemd160", sha256(data)).digest()
    from Crypto.Hash import RIPEMD160

    return RIPEMD160.new(sha256(data)).digest()


def tagged(tag: str, data: bytes) -> bytes:
    """Return the hash of data in the domain of a tag. Source: BIP-340."""
    domain = sha256(tag.encode())
    return sha256(domain + domain + data)
