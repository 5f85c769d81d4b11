"""Transactions: strict reading and writing, canonical bytes only.

Sources: BIP-141 and BIP-144 (witnesses); numbers are little-endian. Whatever is not the one
spelling of a transaction (a longer count, a witness mark without a witness, trailing bytes) is
refused, so that equal transactions have equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from chains.bitcoin.hashes import sha256_twice
from chains.bitcoin.params import SUPPLY_MAX
from core.errors import Reason, Refused

TX_BYTES_MAX = 4_000_000
"""A block's limit, and so the limit of any transaction that a coin comes from."""
OUTPOINT_BYTES = 36

_INPUT_BYTES_MIN = OUTPOINT_BYTES + 1 + 4
_OUTPUT_BYTES_MIN = 8 + 1


class Cursor:
    """A place in some bytes, moving forward. Every step is Refused (undecodable) beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """Return how many bytes are left."""
        return len(self._data) - self._place

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count > self.left:
            raise undecodable("the bytes end too early")
        self._place += count
        return self._data[self._place - count : self._place]

    def peek(self) -> bytes:
        """Return the next byte without moving, nothing at the end."""
        return self._data[self._place : self._place + 1]

    def number(self, size: int) -> int:
        """Return the next unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def count(self) -> int:
        """Return the next number of variable size, in its shortest form."""
        first = self.number(1)
        if first < 0xFD:
            return first
        size = 1 << (first - 0xFC)
        number = self.number(size)
        if number < 0xFD or (size > 2 and not number >> 4 * size):
            raise undecodable("a count is not in its shortest form")
        return number

    def items(self, size_min: int) -> int:
        """Return how many items of at least size_min bytes follow; never more than fit."""
        count = self.count()
        if count * size_min > self.left:
            raise undecodable("more is announced than there is")
        return count

    def blob(self) -> bytes:
        """Return the next bytes that carry their length in front."""
        return self.take(self.count())

    def end(self) -> None:
        """Return when nothing is left."""
        if self.left:
            raise undecodable("bytes follow after the end")


def write_count(number: int) -> bytes:
    """Return a number of variable size in its shortest form."""
    if number < 0xFD:
        return bytes((number,))
    for mark, size in ((0xFD, 2), (0xFE, 4), (0xFF, 8)):
        if not number >> 8 * size:
            return bytes((mark,)) + number.to_bytes(size, "little")
    raise ValueError("a count fits 64 bits")


def write_blob(data: bytes) -> bytes:
    """Return bytes with their length in front."""
    return write_count(len(data)) + data


@dataclass(frozen=True, slots=True)
class OutPoint:
    """One output of one transaction: a coin."""

    tx_hash: bytes
    """As hashed; written text has the bytes in the other order."""
    index: int

    @property
    def tx_id(self) -> str:
        """Return the transaction's id as nodes write it."""
        return self.tx_hash[::-1].hex()

    @property
    def text(self) -> str:
        """Return `transaction id:index`."""
        return f"{self.tx_id}:{self.index}"

    def serialise(self) -> bytes:
        """Return the 36 bytes."""
        return self.tx_hash + self.index.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class TxIn:
    """A coin that is spent."""

    outpoint: OutPoint
    sequence: int
    script: bytes = b""

    def serialise(self) -> bytes:
        """Return its bytes, without its witness."""
        return (
            self.outpoint.serialise()
            + write_blob(self.script)
            + self.sequence.to_bytes(4, "little")
        )


@dataclass(frozen=True, slots=True)
class TxOut:
    """A coin that is made."""

    amount: int
    script: bytes

    def serialise(self) -> bytes:
        """Return its bytes."""
        return self.amount.to_bytes(8, "little") + write_blob(self.script)


@dataclass(frozen=True)
class Tx:
    """A transaction, signed or not."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int
    witnesses: tuple[tuple[bytes, ...], ...] = ()
    """One per input, or none at all."""

    @cached_property
    def stripped(self) -> bytes:
        """Return the bytes without witnesses: what the transaction's id names."""
        return self._head + self._body + self._tail

    def serialise(self) -> bytes:
        """Return the bytes as the network takes them."""
        if not any(self.witnesses):
            return self.stripped
        witnesses = b"".join(
            write_count(len(items)) + b"".join(map(write_blob, items)) for items in self.witnesses
        )
        return self._head + b"\x00\x01" + self._body + witnesses + self._tail

    @cached_property
    def tx_hash(self) -> bytes:
        """Return the 32 bytes that outpoints name the transaction by."""
        return sha256_twice(self.stripped)

    @property
    def tx_id(self) -> str:
        """Return the transaction's id as nodes write it."""
        return self.tx_hash[::-1].hex()

    @property
    def weight(self) -> int:
        """Return four times the virtual size. Source: BIP-141."""
        return 3 * len(self.stripped) + len(self.serialise())

    def signed(self, witnesses: tuple[tuple[bytes, ...], ...]) -> Tx:
        """Return the same transaction with its witnesses."""
        return replace(self, witnesses=witnesses)

    @property
    def _head(self) -> bytes:
        return self.version.to_bytes(4, "little")

    @property
    def _tail(self) -> bytes:
        return self.locktime.to_bytes(4, "little")

    @property
    def _body(self) -> bytes:
        inputs = b"".join(one.serialise() for one in self.inputs)
        outputs = b"".join(one.serialise() for one in self.outputs)
        return write_count(len(self.inputs)) + inputs + write_count(len(self.outputs)) + outputs


def parse_tx(data: bytes, *, may_be_signed: bool = True) -> Tx:
    """Read exactly one transaction with inputs and outputs.

    Refused: undecodable (not canonical, no input, no output, signed where it may not be),
    amount_out_of_range (an output, or all together, above the supply).
    """
    if len(data) > TX_BYTES_MAX:
        raise undecodable("no transaction is that long")
    cursor = Cursor(data)
    version = cursor.number(4)
    is_marked = cursor.peek() == b"\x00"
    if is_marked and not (may_be_signed and cursor.take(2) == b"\x00\x01"):
        raise undecodable("no inputs, or signed where it may not be")
    inputs = tuple(_input(cursor) for _ in range(cursor.items(_INPUT_BYTES_MIN)))
    outputs = tuple(_output(cursor) for _ in range(cursor.items(_OUTPUT_BYTES_MIN)))
    if not inputs or not outputs:
        raise undecodable("a transaction has inputs and outputs")
    if sum(output.amount for output in outputs) > SUPPLY_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the outputs exceed all coins that can exist")
    witnesses = tuple(_witness(cursor) for _ in inputs) if is_marked else ()
    if is_marked and not any(witnesses):
        raise undecodable("marked as signed, but no input has a witness")
    locktime = cursor.number(4)
    cursor.end()
    return Tx(version, inputs, outputs, locktime, witnesses)


def parse_output(data: bytes) -> TxOut:
    """Read exactly one output. Refused: undecodable, amount_out_of_range."""
    cursor = Cursor(data)
    output = _output(cursor)
    cursor.end()
    return output


def outpoint_of(text: str) -> OutPoint:
    """Return the coin that a text names. Refused: malformed."""
    tx_id, _, index = text.partition(":")
    malformed = Refused(Reason.MALFORMED, "a coin is named `transaction id:index`")
    try:
        outpoint = OutPoint(bytes.fromhex(tx_id)[::-1], int(index))
        size = len(outpoint.serialise())
    except (ValueError, OverflowError) as error:
        raise malformed from error
    if size != OUTPOINT_BYTES or outpoint.text != text:
        raise malformed
    return outpoint


def undecodable(detail: str) -> Refused:
    """Return the refusal of bytes that are not understood completely."""
    return Refused(Reason.UNDECODABLE, detail)


def _input(cursor: Cursor) -> TxIn:
    outpoint = OutPoint(cursor.take(32), cursor.number(4))
    script = cursor.blob()
    return TxIn(outpoint, cursor.number(4), script)


def _output(cursor: Cursor) -> TxOut:
    amount = cursor.number(8)
    if amount > SUPPLY_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "an output exceeds all coins that can exist")
    return TxOut(amount, cursor.blob())


def _witness(cursor: Cursor) -> tuple[bytes, ...]:
    return tuple(cursor.blob() for _ in range(cursor.items(1)))
