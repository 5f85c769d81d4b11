"""A node's JSON into frozen values. Pure: every field is checked for shape and range, nothing is
believed.

A malformed field is `Unavailable`: it is the world's, and another node or another try may do
better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from core.errors import Unavailable

Json: TypeAlias = Mapping[str, object]

_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})", re.ASCII)
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)
HEIGHT_LIMIT = 1 << 63


class MalformedAnswer(Unavailable):
    """A node's answer does not have the shape that the protocol prescribes."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"node_answer_malformed: {detail}")


def mapping(value: object, what: str) -> Json:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise MalformedAnswer(f"{what} is not an object")
    return value


def sequence(value: object, what: str) -> list[object]:
    """Return a JSON array."""
    if not isinstance(value, list):
        raise MalformedAnswer(f"{what} is not an array")
    return value


def quantity(value: object, what: str, *, limit: int = 1 << 256) -> int:
    """Return a canonical hexadecimal number below limit."""
    if not isinstance(value, str) or _QUANTITY.fullmatch(value) is None:
        raise MalformedAnswer(f"{what} is not a quantity")
    number = int(value, 16)
    if number >= limit:
        raise MalformedAnswer(f"{what} is out of range")
    return number


def data(value: object, what: str, *, size: int | None = None) -> bytes:
    """Return hexadecimal bytes, of exactly `size` when given."""
    if not isinstance(value, str) or _DATA.fullmatch(value) is None:
        raise MalformedAnswer(f"{what} is not hexadecimal data")
    raw = bytes.fromhex(value[2:])
    if size is not None and len(raw) != size:
        raise MalformedAnswer(f"{what} has {len(raw)} bytes instead of {size}")
    return raw


def hash_text(value: object, what: str) -> str:
    """Return a 32-byte hash as canonical text."""
    return "0x" + data(value, what, size=32).hex()


def address(value: object, what: str) -> bytes:
    """Return 20 bytes."""
    return data(value, what, size=20)


def optional_address(value: object, what: str) -> bytes | None:
    """Return 20 bytes, None for null (a contract creation)."""
    return None if value is None else data(value, what, size=20)


@dataclass(frozen=True, slots=True)
class Log:
    """One event. `place` counts inside its transaction, so it survives a reorganisation."""

    emitter: bytes
    topics: tuple[bytes, ...]
    data: bytes
    tx_id: str
    place: int


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction of a block, and what its receipt says."""

    tx_id: str
    sender: bytes
    to: bytes | None
    value: int
    input: bytes
    nonce: int
    succeeded: bool
    gas_used: int
    fee: int
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a header that are used later, all covered by its hash."""

    hash: str
    parent_hash: str
    height: int
    time_s: int
    miner: bytes
    bloom: bytes
    transactions_root: bytes
    receipts_root: bytes
    withdrawals_root: bytes | None
    base_fee: int


@dataclass(frozen=True, slots=True)
class BlockContents:
    """Everything a header commits to, verified against it."""

    header: Header
    transactions: tuple[Tx, ...]
    withdrawal_addresses: tuple[bytes, ...]
