"""A raw block, proven by the hash that nodes agreed on and read without an object per output.

The header must hash to the agreed hash and have the work that it claims; the ids of all
transactions, hashed again without witnesses, must give its merkle root; the first transaction must
name the height. So whatever one node hands over is either what the chain says or IncompleteBlock.
What is not the one spelling of a block (an unknown kind of serialisation, a longer count, a byte
too many) stops whoever follows: a payment could hide in what is not understood.

Witnesses are walked over and not proven: no id and no payment depends on them.
Sources: BIP-34, BIP-141, BIP-144; Bitcoin Core, consensus/merkle.cpp (twins), pow.cpp.

Interface, all that readers use: `parse_block`, and of its answer the plain fields, `paid`, `used`
and `coinbase`. The arrays behind it may change their form.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Container
from dataclasses import dataclass, field

from chains.bitcoin.hashes import sha256_twice
from chains.bitcoin.params import SUPPLY_MAX, Network
from chains.bitcoin.watch import Keys
from chains.native import IS_BUILT
from core.errors import Unavailable

HEADER_BYTES = 80
BLOCK_BYTES_MAX = 4_000_000
"""Of a serialised block, witnesses included. Source: consensus (MAX_BLOCK_SERIALIZED_SIZE)."""
WEIGHT_MAX = 4_000_000

_TX_BYTES_MIN = 60
_NO_COIN = bytes(32) + b"\xff\xff\xff\xff"
"""What the one input of a coinbase names."""
_WITNESS_MARK = b"\x00\x01"


class IncompleteBlock(Unavailable):
    """A node's answer contradicts the block's hash, or itself: never read as 'no payments'."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"incomplete_block: {detail}")


@dataclass(frozen=True, slots=True)
class Paid:
    """One output to a script that was asked for."""

    tx_hash: bytes
    index: int
    script: bytes
    amount: int
    is_coinbase: bool


@dataclass(frozen=True, slots=True)
class Used:
    """One input that uses up a coin that was asked for."""

    coin: bytes
    """The 36 bytes that name it, as in the transaction."""
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A proven block: its bytes and where in them outputs and inputs begin."""

    hash: str
    height: int
    parent_hash: str
    time_s: int
    raw: bytes = field(repr=False)
    hashes: bytes = field(repr=False)
    """32 bytes of every transaction, in the byte order of outpoints; text has the other one."""
    outputs: array[int] = field(repr=False)
    """Place of every output: 8 bytes of amount, then the script with its length."""
    outputs_end: array[int] = field(repr=False)
    """By transaction, how many outputs there are up to its end."""
    inputs: array[int] = field(repr=False)
    """Place of every coin that is used up: 36 bytes."""
    inputs_end: array[int] = field(repr=False)

    @property
    def tx_hashes(self) -> tuple[bytes, ...]:
        """Return what names the transactions, in order."""
        return tuple(self._tx_hash(number) for number in range(len(self.outputs_end)))

    def paid(self, scripts: Container[bytes]) -> list[Paid]:
        """Return the outputs whose script is one of these, byte for byte, in order."""
        places = scripts.paid(self.raw, self.outputs) if isinstance(scripts, Keys) else None
        if places is None:
            places = [place for place, at in enumerate(self.outputs) if self._script(at) in scripts]
        return [self._output(place) for place in places]

    def used(self, coins: Container[bytes]) -> list[Used]:
        """Return the inputs that use up one of these coins (36 bytes each), in order."""
        raw = self.raw
        places = coins.used(raw, self.inputs) if isinstance(coins, Keys) else None
        if places is None:
            places = [place for place, at in enumerate(self.inputs) if raw[at : at + 36] in coins]
        found = []
        for place in places:
            at, number = self.inputs[place], bisect_right(self.inputs_end, place)
            found.append(Used(raw[at : at + 36], self._tx_hash(number)))
        return found

    def coinbase(self) -> list[Paid]:
        """Return all outputs of the first transaction."""
        return [self._output(place) for place in range(self.outputs_end[0])]

    def _output(self, place: int) -> Paid:
        number, at = bisect_right(self.outputs_end, place), self.outputs[place]
        return Paid(
            tx_hash=self._tx_hash(number),
            index=place - (self.outputs_end[number - 1] if number else 0),
            script=self._script(at),
            amount=int.from_bytes(self.raw[at : at + 8], "little"),
            is_coinbase=number == 0,
        )

    def _script(self, at: int) -> bytes:
        size, begin = _count(self.raw, at + 8)
        return self.raw[begin : begin + size]

    def _tx_hash(self, number: int) -> bytes:
        return self.hashes[32 * number : 32 * number + 32]


def parse_block(
    raw: bytes, *, block_hash: str, height: int, network: Network, native: bool = IS_BUILT
) -> RawBlock:
    """Read exactly one block and prove it; with the native kernel or without, which is slower.

    IncompleteBlock: it is not the block of this hash at this height, or not understood completely.
    """
    if not HEADER_BYTES < len(raw) <= BLOCK_BYTES_MAX:
        raise IncompleteBlock(f"{len(raw)} bytes are no block")
    check_header(raw[:HEADER_BYTES], block_hash, network)
    walk = _NativeWalk(raw) if native else _Walk(raw)
    try:
        walk.transactions()
    except IndexError as error:
        raise IncompleteBlock("the bytes end too early") from error
    if walk.merkle_root() != raw[36:68]:
        raise IncompleteBlock("the transactions do not give the merkle root")
    if height >= network.heights_from and not walk.names_height(height):
        raise IncompleteBlock(f"the first transaction does not name height {height}")
    return RawBlock(
        hash=block_hash,
        height=height,
        parent_hash=raw[4:36][::-1].hex(),
        time_s=int.from_bytes(raw[68:72], "little"),
        raw=raw,
        hashes=bytes(walk.hashes),
        outputs=walk.outputs,
        outputs_end=walk.outputs_end,
        inputs=walk.inputs,
        inputs_end=walk.inputs_end,
    )


def check_header(header: bytes, block_hash: str, network: Network) -> None:
    """Return when a header has this hash and the work it claims. IncompleteBlock otherwise."""
    digest = sha256_twice(header)
    if len(header) != HEADER_BYTES or digest[::-1].hex() != block_hash:
        raise IncompleteBlock(f"the header does not hash to {block_hash}")
    target = target_of(int.from_bytes(header[72:76], "little"))
    if not 0 < target <= target_of(network.easiest_bits):
        raise IncompleteBlock("the header claims less work than any block of this network")
    if int.from_bytes(digest, "little") > target:
        raise IncompleteBlock("the header does not have the work that it claims")


def target_of(bits: int) -> int:
    """Return the target in its compact form; 0 for what is none. Source: Core, arith_uint256."""
    size, word = bits >> 24, bits & 0x7FFFFF
    if bits & 0x800000 or size > 32:
        return 0
    return word << 8 * (size - 3) if size > 3 else word >> 8 * (3 - size)


def merkle_root(hashes: list[bytes]) -> bytes:
    """Return the root over these hashes.

    IncompleteBlock: two neighbours are equal, so a list with repetitions has the same root
    (CVE-2012-2459).
    """
    level = hashes
    while len(level) > 1:
        for place in range(0, len(level) - 1, 2):
            if level[place] == level[place + 1]:
                raise IncompleteBlock("transactions are repeated")
        if len(level) % 2:
            level = [*level, level[-1]]
        level = [sha256_twice(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


class _Walk:
    """One pass over the transactions. IndexError beyond the end."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.view = memoryview(raw)
        self.hashes = bytearray()
        self.outputs, self.outputs_end = array("I"), array("I")
        self.inputs, self.inputs_end = array("I"), array("I")
        self.stripped_bytes = 0

    def transactions(self) -> None:
        """Read all transactions up to the end of the block."""
        count, place = _count(self.raw, HEADER_BYTES)
        if not 0 < count <= (len(self.raw) - place) // _TX_BYTES_MIN:
            raise IncompleteBlock(f"{count} transactions do not fit")
        head = place
        place = self._transactions(place, count)
        if place != len(self.raw):
            raise IncompleteBlock("bytes follow after the last transaction")
        if 3 * (head + self.stripped_bytes) + len(self.raw) > WEIGHT_MAX:
            raise IncompleteBlock("heavier than any block")
        self._check_coinbase()

    def merkle_root(self) -> bytes:
        """Return the root over the ids. IncompleteBlock: as merkle_root."""
        hashes = self.hashes
        return merkle_root([bytes(hashes[at : at + 32]) for at in range(0, len(hashes), 32)])

    def names_height(self, height: int) -> bool:
        """Tell whether the first transaction begins with the height. Source: BIP-34."""
        size, begin = _count(self.raw, self.inputs[0] + 36)
        if height <= 16:
            mark = bytes((0x50 + height,)) if height else b"\x00"
        else:
            number = height.to_bytes(height.bit_length() // 8 + 1, "little")
            mark = bytes((len(number),)) + number
        return self.raw[begin : begin + min(size, len(mark))] == mark

    def _transactions(self, place: int, count: int) -> int:
        """Read so many transactions, return the place after them."""
        for _ in range(count):
            place = self._transaction(place)
        return place

    def _transaction(self, start: int) -> int:
        """Read one transaction, return the place after it."""
        raw, place = self.raw, start + 4
        is_marked = raw[place] == 0
        if is_marked:
            if raw[place : place + 2] != _WITNESS_MARK:
                raise IncompleteBlock("a serialisation of an unknown kind")
            place += 2
        body = place
        inputs, place = self._inputs(place)
        place = self._outputs(place)
        end = place
        if is_marked:
            place = self._witnesses(place, inputs)
        place += 4
        if place > len(raw):
            raise IndexError(place)
        hasher = hashlib.sha256(self.view[start : start + 4])
        hasher.update(self.view[body:end])
        hasher.update(self.view[place - 4 : place])
        self.hashes += hashlib.sha256(hasher.digest()).digest()
        self.stripped_bytes += 8 + end - body
        return place

    def _inputs(self, place: int) -> tuple[int, int]:
        raw = self.raw
        count, place = _count(raw, place)
        if not 0 < count <= (len(raw) - place) // 41:
            raise IncompleteBlock("a transaction without inputs, or with more than there are")
        for _ in range(count):
            self.inputs.append(place)
            size, place = _count(raw, place + 36)
            place = self._within(place + size + 4)
        self.inputs_end.append(len(self.inputs))
        return count, place

    def _outputs(self, place: int) -> int:
        raw = self.raw
        count, place = _count(raw, place)
        if not 0 < count <= (len(raw) - place) // 9:
            raise IncompleteBlock("a transaction without outputs, or with more than there are")
        total = 0
        for _ in range(count):
            self.outputs.append(place)
            total += int.from_bytes(raw[place : place + 8], "little")
            size, place = _count(raw, place + 8)
            place = self._within(place + size)
        if total > SUPPLY_MAX:
            raise IncompleteBlock("outputs exceed all coins that can exist")
        self.outputs_end.append(len(self.outputs))
        return place

    def _within(self, place: int) -> int:
        """Return a place that is not beyond the end; IndexError otherwise."""
        if place > len(self.raw):
            raise IndexError(place)
        return place

    def _witnesses(self, place: int, inputs: int) -> int:
        raw, items = self.raw, 0
        for _ in range(inputs):
            count, place = _count(raw, place)
            if count > len(raw) - place:
                raise IndexError(place)
            items += count
            for _ in range(count):
                size, place = _count(raw, place)
                place += size
        if not items:
            raise IncompleteBlock("marked as signed, but no input has a witness")
        return place

    def _check_coinbase(self) -> None:
        """Return when the first transaction alone makes new coins, from the one input of such."""
        first = self.inputs[0]
        is_one = self.inputs_end[0] == 1
        if not is_one or self.raw[first : first + 36] != _NO_COIN:
            raise IncompleteBlock("the first transaction is not a coinbase")


class _NativeWalk(_Walk):
    """The same pass, by chains/native/blocks.hpp.

    What that does not take is read again in Python, which says why.
    """

    def merkle_root(self) -> bytes:
        from chains.native import _blocks

        try:
            return _blocks.merkle_root(bytes(self.hashes))
        except ValueError:
            return super().merkle_root()

    def _transactions(self, place: int, count: int) -> int:
        from chains.native import _blocks

        try:
            found = _blocks.walk(self.raw, place, count)
        except ValueError:
            return super()._transactions(place, count)
        end, self.stripped_bytes, hashes, *numbers = found
        self.hashes = bytearray(hashes)
        of_fields = (self.outputs, self.outputs_end, self.inputs, self.inputs_end)
        for into, places in zip(of_fields, numbers, strict=True):
            into.frombytes(places)
        return end


def _count(raw: bytes, place: int) -> tuple[int, int]:
    """Return a number of variable size in its shortest form, and the place after it."""
    first = raw[place]
    if first < 0xFD:
        return first, place + 1
    size = 1 << (first - 0xFC)
    end = place + 1 + size
    if end > len(raw):
        raise IndexError(end)
    number = int.from_bytes(raw[place + 1 : end], "little")
    if number < 0xFD or (size > 2 and not number >> 4 * size):
        raise IncompleteBlock("a count is not in its shortest form")
    return number, end
