"""A transaction message as bytes: read by own code, no library's.

Read are version 0 and, for looking at what others sent, the legacy form. Compact numbers have one
spelling, nothing trails, no key stands twice. Source: Solana documentation, transaction format.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import Reason, Refused

TRANSACTION_MAX = 1_232
"""Source: an IPv6 packet of 1,280 bytes without its headers."""
SIGNATURE_BYTES = 64
KEY_BYTES = 32
_VERSION = 0x80
_COMPACT_MAX = 0xFFFF


@dataclass(frozen=True, slots=True)
class Instruction:
    """One call: program and accounts as places in the message's keys."""

    program: int
    accounts: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What is signed. Keys: signers that may be changed, that may not; others alike."""

    is_legacy: bool
    signers: int
    readonly_signers: int
    readonly_others: int
    keys: tuple[bytes, ...]
    blockhash: bytes
    instructions: tuple[Instruction, ...]

    def is_signer(self, place: int) -> bool:
        """Tell whether the key at a place must sign."""
        return place < self.signers

    def is_writable(self, place: int) -> bool:
        """Tell whether the message asks to change the account at a place."""
        if place < self.signers:
            return place < self.signers - self.readonly_signers
        return place < len(self.keys) - self.readonly_others


class _Cursor:
    """Bytes that are read once, from the front. Refused: undecodable (too short)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise refusal("the message ends in the middle")
        part = self._data[self._at : end]
        self._at = end
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def compact(self) -> int:
        number = 0
        for step in range(3):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * step
            if byte < 0x80:
                if (byte == 0 and step) or number > _COMPACT_MAX:
                    break
                return number
        raise refusal("a compact number has one spelling of at most 16 bits")

    def end(self) -> None:
        if self._at != len(self._data):
            raise refusal("bytes trail the message")


def read_message(payload: bytes) -> Message:
    """Read a message without lookup tables. Refused: undecodable."""
    if not 0 < len(payload) <= TRANSACTION_MAX:
        raise refusal(f"a message has 1..{TRANSACTION_MAX} bytes")
    is_legacy = payload[0] < _VERSION
    if not is_legacy and payload[0] != _VERSION:
        raise refusal(f"version {payload[0] & 0x7F} is not known")
    cursor = _Cursor(payload if is_legacy else payload[1:])
    signers, readonly_signers, readonly_others = cursor.byte(), cursor.byte(), cursor.byte()
    keys = tuple(cursor.take(KEY_BYTES) for _ in range(_bounded(cursor.compact())))
    if not readonly_signers < signers <= len(keys) or readonly_others > len(keys) - signers:
        raise refusal("the header counts keys that are not there")
    if len(set(keys)) != len(keys):
        raise refusal("a key stands twice")
    blockhash = cursor.take(KEY_BYTES)
    instructions = tuple(_instruction(cursor, len(keys)) for _ in range(_bounded(cursor.compact())))
    if not is_legacy and cursor.compact():
        raise refusal("lookup tables are never used")
    cursor.end()
    if 1 + SIGNATURE_BYTES * signers + len(payload) > TRANSACTION_MAX:
        raise refusal("the transaction is longer than a packet")
    return Message(
        is_legacy, signers, readonly_signers, readonly_others, keys, blockhash, instructions
    )


def split_transaction(raw: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """Return the signatures and the message of a transaction. Refused: undecodable."""
    if not 0 < len(raw) <= TRANSACTION_MAX:
        raise refusal(f"a transaction has 1..{TRANSACTION_MAX} bytes")
    count = raw[0]
    end = 1 + SIGNATURE_BYTES * count
    if not 0 < count < 0x80 or end >= len(raw):
        raise refusal("the transaction has no signature, or no message")
    starts = range(1, end, SIGNATURE_BYTES)
    return tuple(raw[start : start + SIGNATURE_BYTES] for start in starts), raw[end:]


def refusal(detail: str) -> Refused:
    """Return the refusal of bytes that are not understood."""
    return Refused(Reason.UNDECODABLE, detail)


def _bounded(count: int) -> int:
    if count > 0xFF:
        raise refusal("a message has at most 255 keys and calls")
    return count


def _instruction(cursor: _Cursor, keys: int) -> Instruction:
    program = cursor.byte()
    accounts = cursor.take(cursor.compact())
    data = cursor.take(cursor.compact())
    if program == 0 or max(program, *accounts, 0) >= keys:
        raise refusal("a call names a key that is not there, or who pays as its program")
    return Instruction(program, accounts, data)
