"""Addresses of the fake chain: twenty bytes of a hash, and a checksum bound to the network."""

from __future__ import annotations

import hashlib
import re

from core.errors import Reason, Refused

BODY_SIZE = 20
ZERO_BODY = bytes(BODY_SIZE)
BURN_BODY = bytes.fromhex("dead".rjust(2 * BODY_SIZE, "0"))

_GRAMMAR = re.compile(r"f([0-9a-f]{40})([0-9a-f]{8})", re.ASCII)


def key_body(public_key: bytes) -> bytes:
    """Return the 20 bytes that stand for a compressed public key."""
    if len(public_key) != 33 or public_key[0] not in (2, 3):
        raise ValueError("a compressed public key has 33 bytes and begins with 02 or 03")
    return hashlib.sha256(b"strongroom/fake/key/v1" + public_key).digest()[:BODY_SIZE]


def named_body(name: str) -> bytes:
    """Return the 20 bytes that stand for something without a key: a token, an outsider."""
    return hashlib.sha256(b"strongroom/fake/name/v1" + name.encode()).digest()[:BODY_SIZE]


def to_text(body: bytes, network: str) -> str:
    """Return the canonical text of an address on one network."""
    if len(body) != BODY_SIZE:
        raise ValueError("an address has 20 bytes")
    return f"f{body.hex()}{_checksum(body, network)}"


def to_body(text: str, network: str) -> bytes:
    """Return the 20 bytes of a canonical text.

    Refused: invalid_address (syntax, checksum, another network).
    """
    match = _GRAMMAR.fullmatch(text) if type(text) is str else None
    if match is None:
        raise Refused(Reason.INVALID_ADDRESS, "an address is f and 48 lower-case hex digits")
    body = bytes.fromhex(match.group(1))
    if match.group(2) != _checksum(body, network):
        raise Refused(Reason.INVALID_ADDRESS, "the checksum does not fit address and network")
    return body


def _checksum(body: bytes, network: str) -> str:
    tagged = b"strongroom/fake/address/v1" + network.encode() + b"\0" + body
    return hashlib.sha256(tagged).digest()[:4].hex()
