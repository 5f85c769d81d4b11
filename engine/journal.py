"""The journal as it is read: the blocks that count, in order, each checked.

A leader never writes into a segment it did not begin itself. Opening the journal begins a new one
whose header names the leader's epoch and the cut; whatever an older segment holds beyond the cut
(torn bytes, or blocks of a leader that lost its lease) is ignored from then on. The same road heals
a failed sync: the segment is abandoned, and a new one continues from the last durable block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import Corrupt
from engine.blocks import (
    BLOCK_MAGIC,
    GENESIS,
    HEADER_BYTES,
    JOURNAL_START,
    Block,
    BlockHeader,
    Segment,
    checked_block,
    is_segment,
    parse_header,
    parse_segment,
)
from engine.events import Projected
from engine.files import Storage
from engine.journal_index import read_index
from engine.records import RECORD_BYTES

PIECE_BYTES = 4 << 20
_ZEROS = bytes(PIECE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The blocks of one segment that count: those up to `until`; None: all sound ones."""

    segment: Segment
    until: Projected | None


class Tail(NamedTuple):
    """Where the last block of a journal stands, and its bytes."""

    name: str
    offset: int
    header: bytes
    records: bytes


class _Place(NamedTuple):
    part: int
    offset: int
    position: Projected


class Pieces:
    """A file read from front to back in pieces of bounded size."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._start = 0
        self._data = b""

    def at(self, offset: int, count: int) -> bytes:
        """Return bytes from offset on; fewer than count at the end of the file."""
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._data):
            size = max(count, PIECE_BYTES)
            self._data = self._storage.read(self._name, offset=offset, limit=size)
            self._start, begin = offset, 0
        return self._data[begin : begin + count]


class JournalReader:
    """Reads the blocks that count, in order, checking every checksum and the chain of hashes.

    Corrupt, naming segment and offset: a damaged block with a sound successor, a break in the
    chain, a segment that ends before the next one begins. A damaged last block is a torn write: it
    is left out and `torn` tells where.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.torn: str | None = None
        self.tail: Tail | None = None
        """The last block that was read."""
        names = storage.names()
        headers = [
            parse_segment(name, storage.read(name, limit=HEADER_BYTES))
            for name in filter(is_segment, names)
        ]
        self.start = GENESIS
        """The position before the first block there is; later than genesis in a pruned journal."""
        if JOURNAL_START.name in names:
            self.start = JOURNAL_START.parse(storage.read(JOURNAL_START.name))
        self.before_start = [
            segment for segment in headers if segment.cut.sequence < self.start.sequence
        ]
        """Segments that pruning has yet to delete."""
        self.last_segment = headers[-1] if headers else None
        self.parts = _parts_that_count(headers, self.start)
        if self.parts and self.parts[0].segment.cut != self.start:
            raise Corrupt(f"{self.parts[0].segment.name}: the journal does not begin at its start")

    def start_for(self, sequence: int) -> Projected:
        """Return where blocks_from(sequence) begins: at that sequence or not long before it."""
        return self._place(sequence).position

    def blocks_from(self, sequence: int) -> Iterator[Block]:
        """Yield the blocks after start_for(sequence), to the end of the journal."""
        first, offset, position = self._place(sequence)
        for part in self.parts[first:]:
            if part.until is None or part.until.sequence > position.sequence:
                for block in self._blocks_of(part, position, offset):
                    position = block.end
                    yield block
            offset = HEADER_BYTES

    def size_from(self, sequence: int) -> int:
        """Return about how many bytes blocks_from(sequence) reads."""
        place = self._place(sequence)
        names = [part.segment.name for part in self.parts[place.part :]]
        return sum(map(self._storage.size, names)) - place.offset

    def headers_of(self, part: Part) -> Iterator[tuple[int, BlockHeader]]:
        """Yield offset and header of each block of a part, as far as sound headers follow."""
        pieces, offset = Pieces(self._storage, part.segment.name), HEADER_BYTES
        while said := parse_header(pieces.at(offset, HEADER_BYTES)):
            yield offset, said
            offset += HEADER_BYTES + said.records_bytes

    def _place(self, sequence: int) -> _Place:
        found = _Place(0, HEADER_BYTES, self.start)
        for number, part in enumerate(self.parts):
            if part.segment.cut.sequence <= sequence:
                found = _Place(number, HEADER_BYTES, part.segment.cut)
        if not self.parts:
            return found
        segment = self.parts[found.part].segment
        entry = read_index(self._storage, segment).before(sequence)
        if entry is None:
            return found
        # The index only says where to look. What stands there must be the block it speaks of, and
        # the chain from it on must reach the position that the caller knows.
        header = self._storage.read(segment.name, offset=entry.offset, limit=HEADER_BYTES)
        said = parse_header(header)
        if said is None or (said.epoch, said.first_sequence) != (segment.epoch, entry.sequence):
            return found
        return _Place(found.part, entry.offset, said.before)

    def _blocks_of(self, part: Part, position: Projected, offset: int) -> Iterator[Block]:
        name = part.segment.name
        if offset == HEADER_BYTES and part.segment.cut != position:
            raise Corrupt(
                f"{name}: continues from {part.segment.cut}, but the journal is at {position}"
            )
        pieces = Pieces(self._storage, name)
        while part.until is None or position.sequence < part.until.sequence:
            header = pieces.at(offset, HEADER_BYTES)
            said = _sound_header(header, name, offset)
            block = None
            if said is not None:
                records = pieces.at(offset + HEADER_BYTES, said.records_bytes)
                block = checked_block(header, said, records)
            if block is None:
                if self._is_end(part, offset, position):
                    return
                pieces = Pieces(self._storage, name)
                continue
            expected = (part.segment.epoch, position.sequence + 1, position.hash)
            if (block.epoch, block.first_sequence, block.previous_hash) != expected:
                raise Corrupt(f"{name} offset {offset}: block does not follow {position}")
            self.tail = Tail(name, offset, header, block.records)
            position, offset = block.end, offset + block.size
            yield block
        if position != part.until:
            raise Corrupt(f"{name} offset {offset}: the next segment continues from {part.until}")

    def _is_end(self, part: Part, offset: int, position: Projected) -> bool:
        """Judge what stands where the next block would: zeros, a torn write, or damage.

        False: it is a block by now, because its leader writes while we read.
        """
        where = f"{part.segment.name} offset {offset}"
        if part.until is not None:
            raise Corrupt(f"{where}: damaged, but the journal goes on to {part.until}")
        end, successor = self._rest(part.segment.name, offset, position.sequence)
        if successor is not None:
            if self._is_block_after(part.segment.name, offset, position.sequence):
                return False
            raise Corrupt(f"{where}: damaged, but a sound block follows at {successor}")
        if end > offset:
            self.torn = f"{where}: {end - offset} bytes of a block that was never whole"
        return True

    def _rest(self, name: str, offset: int, sequence: int) -> tuple[int, int | None]:
        """Return where the last byte that is not zero ends, and the first sound block there.

        A block is written only after its predecessor is durable, so a sound successor proves that
        the damaged one was whole once.
        """
        end, at = offset, offset
        while data := self._storage.read(name, offset=at, limit=PIECE_BYTES):
            if data != _ZEROS[: len(data)]:
                end = at + len(data.rstrip(b"\0"))
                found = data.find(BLOCK_MAGIC)
                while found >= 0:
                    if self._is_block_after(name, at + found, sequence):
                        return end, at + found
                    found = data.find(BLOCK_MAGIC, found + 1)
            at += len(data)
        return end, None

    def _is_block_after(self, name: str, offset: int, sequence: int) -> bool:
        if offset % RECORD_BYTES:
            return False
        header = self._storage.read(name, offset=offset, limit=HEADER_BYTES)
        said = _sound_header(header, name, offset)
        if said is None or said.first_sequence <= sequence:
            return False
        size = said.records_bytes
        records = self._storage.read(name, offset=offset + HEADER_BYTES, limit=size)
        return checked_block(header, said, records) is not None


def _sound_header(header: bytes, name: str, offset: int) -> BlockHeader | None:
    try:
        return parse_header(header)
    except Corrupt as error:
        raise Corrupt(f"{name} offset {offset}: {error}") from None


def _parts_that_count(headers: list[Segment], start: Projected) -> list[Part]:
    """Return the segments in order, each with where its successor takes over.

    Read backwards, because a later epoch overrules what an earlier one wrote beyond its cut. Those
    that end where a pruned journal begins, or before, are left out: they are about to be deleted.
    """
    parts: list[Part] = []
    until: Projected | None = None
    for segment in reversed(headers):
        if until is not None and segment.cut.sequence > until.sequence:
            continue  # begun by an old leader after the new one had cut it off
        if until is not None and start != GENESIS and until.sequence <= start.sequence:
            break
        parts.append(Part(segment=segment, until=until))
        until = segment.cut
    return parts[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalReport:
    """What verify found: how much there is, where it begins and ends, and torn bytes if any."""

    blocks: int
    commands: int
    start: Projected
    end: Projected
    torn: str | None
    tail: Tail | None


def verify(storage: Storage, projected: Projected = GENESIS) -> JournalReport:
    """Read the whole journal. Corrupt: damaged, or the books' position is not in it."""
    reader = JournalReader(storage)
    position, blocks, commands = reader.start, 0, 0
    is_projected_found = projected in (GENESIS, position)
    for block in reader.blocks_from(position.sequence):
        position, blocks, commands = block.end, blocks + 1, commands + block.count
        is_projected_found = is_projected_found or position == projected
    if not is_projected_found:
        raise Corrupt(
            f"the books stand at {projected}, which is not in the journal up to {position}"
        )
    return JournalReport(
        blocks=blocks,
        commands=commands,
        start=reader.start,
        end=position,
        torn=reader.torn,
        tail=reader.tail,
    )
