"""Transactions as they stand in blocks, read by a parser that follows nobody else's code.

A version that is not read here, a byte too many or too few: Unavailable, and whoever follows stops,
for a payment could hide in what is not understood. Only blocks are read with it; what we sign is
judged by another parser.

Sources: Solana documentation, transactions (legacy, v0); SIMD-0385 (v1).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import Unavailable

KEY_BYTES, SIGNATURE_BYTES = 32, 64
TX_BYTES_MAX = 4_096
"""Source: SIMD-0385; older versions have at most 1,232."""
LEGACY = "legacy"
VERSION_NEWEST = 1
_VERSIONED = 0x80


class UnreadableTransaction(Unavailable):
    """Bytes that are no transaction of a version that is read here."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"unreadable_transaction: {detail}")


@dataclass(frozen=True, slots=True)
class Call:
    """One instruction: the places of its program and accounts among the keys, and its data."""

    program: int
    accounts: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class WireTx:
    """One transaction. Its keys are followed by `looked_up` ones that only the node can name."""

    signature: bytes
    version: str | int
    keys: tuple[bytes, ...]
    calls: tuple[Call, ...]
    looked_up: tuple[int, int]
    """How many writable and how many other keys come from lookup tables."""


def read_transaction(raw: bytes) -> WireTx:
    """Read one transaction and nothing beside it. UnreadableTransaction: anything else."""
    if len(raw) > TX_BYTES_MAX:
        raise UnreadableTransaction(f"{len(raw)} bytes")
    try:
        if raw[0] & _VERSIONED:
            return _read_v1(raw)
        return _read_enveloped(raw)
    except (IndexError, ValueError) as error:
        raise UnreadableTransaction(str(error)) from error


def _read_enveloped(raw: bytes) -> WireTx:
    """Read legacy and v0: signatures first, then the message."""
    signatures, at = _count(raw, 0)
    signature, at = _cut(raw, at, SIGNATURE_BYTES), at + signatures * SIGNATURE_BYTES
    version: str | int = LEGACY
    if raw[at] & _VERSIONED:
        version = raw[at] & ~_VERSIONED
        at += 1
        if version != 0:
            raise UnreadableTransaction(f"version {version}")
    if raw[at] != signatures or signatures == 0:
        raise UnreadableTransaction("another number of signatures than of signers")
    keys, at = _keys(raw, *_count(raw, at + 3))
    at += KEY_BYTES  # the blockhash
    calls, at = _calls(raw, at)
    looked_up = (0, 0)
    if version == 0:
        looked_up, at = _lookups(raw, at)
    return _whole(raw, at, WireTx(signature, version, keys, calls, looked_up))


def _read_v1(raw: bytes) -> WireTx:
    """Read v1: the message first, the heads of all calls before their bodies, no lookups."""
    version = raw[0] & ~_VERSIONED
    if version != VERSION_NEWEST:
        raise UnreadableTransaction(f"version {version}")
    signatures, mask = raw[1], int.from_bytes(_cut(raw, 4, 4), "little")
    at = 8 + KEY_BYTES
    count, (keys, at) = raw[at], _keys(raw, raw[at + 1], at + 2)
    at += 4 * mask.bit_count()
    heads, at = [_cut(raw, at + 4 * each, 4) for each in range(count)], at + 4 * count
    calls: list[Call] = []
    for head in heads:
        accounts, size = head[1], int.from_bytes(head[2:], "little")
        body = _cut(raw, at, accounts + size)
        calls.append(Call(head[0], body[:accounts], body[accounts:]))
        at += accounts + size
    if signatures == 0:
        raise UnreadableTransaction("nobody signed it")
    signature, at = _cut(raw, at, SIGNATURE_BYTES), at + signatures * SIGNATURE_BYTES
    return _whole(raw, at, WireTx(signature, version, keys, tuple(calls), (0, 0)))


def _whole(raw: bytes, at: int, transaction: WireTx) -> WireTx:
    if at != len(raw):
        raise UnreadableTransaction(f"{len(raw)} bytes, {at} of them explained")
    known = len(transaction.keys) + sum(transaction.looked_up)
    for call in transaction.calls:
        if call.program >= known or any(place >= known for place in call.accounts):
            raise UnreadableTransaction("a call names a key that is not there")
    return transaction


def _count(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number in its one compact spelling, and where it ends."""
    value = 0
    for place in range(3):
        byte = raw[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < _VERSIONED:
            if value >= 1 << 16 or (place and byte == 0):
                break
            return value, at + place + 1
    raise UnreadableTransaction("a count")


def _cut(raw: bytes, at: int, size: int) -> bytes:
    part = raw[at : at + size]
    if len(part) != size:
        raise UnreadableTransaction("it ends too early")
    return part


def _keys(raw: bytes, count: int, at: int) -> tuple[tuple[bytes, ...], int]:
    end = at + KEY_BYTES * count
    if end > len(raw):
        raise UnreadableTransaction("it ends too early")
    return tuple(raw[place : place + KEY_BYTES] for place in range(at, end, KEY_BYTES)), end


def _calls(raw: bytes, at: int) -> tuple[tuple[Call, ...], int]:
    count, at = _count(raw, at)
    calls: list[Call] = []
    for _ in range(count):
        program, (accounts, at) = raw[at], _bytes(raw, at + 1)
        data, at = _bytes(raw, at)
        calls.append(Call(program, accounts, data))
    return tuple(calls), at


def _bytes(raw: bytes, at: int) -> tuple[bytes, int]:
    size, at = _count(raw, at)
    return _cut(raw, at, size), at + size


def _lookups(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    count, at = _count(raw, at)
    writable = others = 0
    for _ in range(count):
        places, at = _bytes(raw, at + KEY_BYTES)
        writable += len(places)
        places, at = _bytes(raw, at)
        others += len(places)
    return (writable, others), at
