"""The journal: what was durable before anyone was answered, and how it is read again.

A leader never writes into a segment it did not begin itself. Opening the journal begins a new one
whose header names the leader's epoch and the cut; whatever an older segment holds beyond the cut
(torn bytes, or blocks of a leader that lost its lease) is ignored from then on. The same road heals
a failed sync: the segment is abandoned, and a new one continues from the last durable block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Corrupt, OutcomeUnknown, Unavailable
from engine.blocks import (
    GENESIS,
    HEADER_BYTES,
    Block,
    Segment,
    is_segment,
    pack_block,
    parse_block,
    parse_segment,
    sound_block_after,
)
from engine.events import Projected
from engine.files import AppendFile, Storage

SEGMENT_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The blocks of one segment that count: those up to `until`; None: all sound ones."""

    segment: Segment
    until: Projected | None


class JournalReader:
    """Reads the blocks that count, in order, checking every checksum and the chain of hashes.

    Corrupt, naming segment and offset: a damaged block with a sound successor, a break in the
    chain, a segment that ends before the next one begins. A damaged last block is a torn write: it
    is left out and `torn` tells where.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.torn: str | None = None
        headers = [
            parse_segment(name, storage.read(name, limit=HEADER_BYTES))
            for name in filter(is_segment, storage.names())
        ]
        self.last_segment = headers[-1] if headers else None
        self._parts = _parts_that_count(headers)
        if self._parts and self._parts[0].segment.cut != GENESIS:
            raise Corrupt(f"{self._parts[0].segment.name}: the journal does not begin at its start")

    def start_for(self, sequence: int) -> Projected:
        """Return where blocks_from(sequence) begins: the cut of the segment that holds it."""
        cuts = [part.segment.cut for part in self._parts]
        return max(
            (cut for cut in cuts if cut.sequence <= sequence), key=_sequence, default=GENESIS
        )

    def blocks_from(self, sequence: int) -> Iterator[Block]:
        """Yield the blocks after start_for(sequence), to the end of the journal."""
        position = self.start_for(sequence)
        for part in self._parts:
            if part.until is not None and part.until.sequence <= position.sequence:
                continue
            for block in self._blocks_of(part, position):
                position = block.end
                yield block

    def _blocks_of(self, part: _Part, position: Projected) -> Iterator[Block]:
        name = part.segment.name
        if part.segment.cut != position:
            raise Corrupt(
                f"{name}: continues from {part.segment.cut}, but the journal is at {position}"
            )
        data = self._storage.read(name)
        offset = HEADER_BYTES
        while part.until is None or position.sequence < part.until.sequence:
            if offset == len(data) and part.until is None:
                return
            block = parse_block(data, offset)
            if block is None:
                self._tolerate_torn(part, data, offset)
                return
            expected = (part.segment.epoch, position.sequence + 1, position.hash)
            if (block.epoch, block.first_sequence, block.previous_hash) != expected:
                raise Corrupt(f"{name} offset {offset}: block does not follow {position}")
            position, offset = block.end, offset + block.size
            yield block
        if position != part.until:
            raise Corrupt(f"{name} offset {offset}: the next segment continues from {part.until}")

    def _tolerate_torn(self, part: _Part, data: bytes, offset: int) -> None:
        where = f"{part.segment.name} offset {offset}"
        if part.until is not None:
            raise Corrupt(f"{where}: damaged, but the journal goes on to {part.until}")
        successor = sound_block_after(data, offset)
        if successor is not None:
            raise Corrupt(f"{where}: damaged, but a sound block follows at {successor}")
        self.torn = f"{where}: {len(data) - offset} bytes of a block that was never whole"


def _sequence(position: Projected) -> int:
    return position.sequence


def _parts_that_count(headers: list[Segment]) -> list[_Part]:
    """Return the segments in order, each with where its successor takes over.

    Read backwards, because a later epoch overrules what an earlier one wrote beyond its cut.
    """
    parts: list[_Part] = []
    until: Projected | None = None
    for segment in reversed(headers):
        if until is not None and segment.cut.sequence > until.sequence:
            continue  # begun by an old leader after the new one had cut it off
        parts.append(_Part(segment=segment, until=until))
        until = segment.cut
    return parts[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalReport:
    """What verify found: how much there is, where it ends, and torn bytes if any."""

    blocks: int
    commands: int
    end: Projected
    torn: str | None


def verify(storage: Storage, projected: Projected = GENESIS) -> JournalReport:
    """Read the whole journal. Corrupt: damaged, or the books' position is not in it."""
    reader = JournalReader(storage)
    position, blocks, commands = GENESIS, 0, 0
    is_projected_found = projected == GENESIS
    for block in reader.blocks_from(0):
        position, blocks, commands = block.end, blocks + 1, commands + block.count
        is_projected_found = is_projected_found or position == projected
    if not is_projected_found:
        raise Corrupt(
            f"the books stand at {projected}, which is not in the journal up to {position}"
        )
    return JournalReport(blocks=blocks, commands=commands, end=position, torn=reader.torn)


class Journal:
    """The writing end, for one leader."""

    def __init__(
        self,
        storage: Storage,
        *,
        epoch: int,
        end: Projected,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        """Begin a new segment of this epoch after `end`, which the caller has read and checked.

        Unavailable: a newer leader has been here, or the disk failed.
        """
        self._storage = storage
        self.epoch = epoch
        self.end = end
        self._segment_bytes_max = segment_bytes_max
        self._index = 0
        self._name = ""
        self._file: AppendFile | None = None
        older = JournalReader(storage).last_segment
        if older is not None:
            if older.epoch >= epoch:
                raise Unavailable(f"epoch {epoch} is over: epoch {older.epoch} leads the journal")
            # A killed process may have left its last block in the page cache alone, even after a
            # sync that failed. The cut will name that block, so its segment is written afresh:
            # syncing the old file would prove nothing.
            storage.write_atomic(older.name, storage.read(older.name))
        self._begin_segment()

    @classmethod
    def open(
        cls,
        storage: Storage,
        *,
        epoch: int,
        projected: Projected | None = None,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> Journal:
        """Verify the whole journal and continue after its last sound block.

        Corrupt: damaged in the middle, or the books' position is not in it with exactly that hash.
        """
        end = verify(storage, projected or GENESIS).end
        return cls(storage, epoch=epoch, end=end, segment_bytes_max=segment_bytes_max)

    def append(self, records: bytes, *, time_ns: int) -> Block:
        """Write one block and return once it is on the disk.

        Unavailable: nothing was journalled. OutcomeUnknown: the disk failed in such a way that only
        the next opening of the journal, or the next append that succeeds, decides: that drops it.
        """
        if self._file is None or self._file.size >= self._segment_bytes_max:
            self._begin_segment()
        assert self._file is not None
        data, block = pack_block(records, epoch=self.epoch, time_ns=time_ns, after=self.end)
        durable_bytes = self._file.size
        try:
            self._file.append(data)
        except Unavailable:
            self._cut_back(durable_bytes)
            raise
        try:
            self._file.sync()
        except Unavailable as error:
            if self._abandon_segment():
                raise
            raise OutcomeUnknown(error.what) from error
        self.end = block.end
        return block

    def blocks_from(self, sequence: int) -> Iterator[Block]:
        """Yield the durable blocks from the segment that holds a sequence."""
        return JournalReader(self._storage).blocks_from(sequence)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_segment(self) -> None:
        segment = Segment(epoch=self.epoch, index=self._index, cut=self.end)
        self._storage.write_atomic(segment.name, segment.pack())
        self.close()
        self._file = self._storage.open_append(segment.name)
        self._name = segment.name
        self._index += 1

    def _cut_back(self, size: int) -> None:
        """After a failed write: drop the part of a block (which is no block); else begin anew."""
        self.close()
        try:
            self._storage.truncate(self._name, size)
            self._file = self._storage.open_append(self._name)
        except Unavailable:
            self._file = None

    def _abandon_segment(self) -> bool:
        """Continue in a new segment from the last durable block. False: the next append will."""
        self.close()
        try:
            self._begin_segment()
        except Unavailable:
            return False
        return True
