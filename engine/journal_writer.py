"""The writing end of the journal, for one leader."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

from core.errors import Corrupt, OutcomeUnknown, Unavailable
from engine.blocks import (
    GENESIS,
    HEADER_BYTES,
    Block,
    Segment,
    is_segment,
    pack_header,
)
from engine.events import Projected
from engine.files import Storage, WritableFile
from engine.hashing import Hasher
from engine.journal import JournalReader, Part, Tail, verify
from engine.journal_ahead import Ahead
from engine.journal_index import (
    ENTRY_EVERY_BYTES,
    INDEXED_BYTES_MIN,
    Entry,
    SegmentIndex,
    index_name,
    read_index,
    sparse,
)

SEGMENT_BYTES_MAX = 64 << 20


class Journal:
    """Appends blocks to segments of its own epoch. One thread appends, one more may prepare."""

    def __init__(
        self,
        storage: Storage,
        *,
        epoch: int,
        end: Projected,
        tail: Tail | None = None,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        """Begin a new segment of this epoch after `end`, which the caller has read and checked.

        `tail` is the block that ends there, when the caller has it at hand. A segment holds at most
        `segment_bytes_max`, or one block that is larger. Unavailable: a newer leader has been here,
        or the disk failed.
        """
        self._storage = storage
        self.epoch = epoch
        self.end = end
        self._segment_bytes = segment_bytes_max
        self._index = 0
        self._segment = Segment(epoch=epoch, index=0, cut=end)
        self._file: WritableFile | None = None
        self._offset = 0
        self._ahead = Ahead(storage, segment_bytes_max)
        self._hasher = Hasher()
        self._blocks: list[Entry] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        reader = JournalReader(storage)
        self._to_index: deque[tuple[Segment, SegmentIndex | None]] = deque(
            (part.segment, None) for part in _unindexed(storage, reader)
        )
        older = reader.last_segment
        if older is not None:
            if older.epoch >= epoch:
                raise Unavailable(f"epoch {epoch} is over: epoch {older.epoch} leads the journal")
            storage.discard(Segment(epoch=older.epoch, index=older.index + 1, cut=GENESIS).name)
            self._make_durable(tail or _last_block(storage, older))
            self._to_index.append((older, None))
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
        found = verify(storage, projected or GENESIS)
        return cls(
            storage,
            epoch=epoch,
            end=found.end,
            tail=found.tail,
            segment_bytes_max=segment_bytes_max,
        )

    def append(self, records: bytes, *, time_ns: int) -> Block:
        """Write one block and return once it is on the disk.

        Unavailable: nothing was journalled. OutcomeUnknown: the disk failed in such a way that only
        the next opening of the journal, or the next append that succeeds, decides: that drops it.
        """
        header = pack_header(records, epoch=self.epoch, time_ns=time_ns, after=self.end)
        end = self._offset + HEADER_BYTES + len(records)
        if self._file is None or (end > self._segment_bytes and self._offset > HEADER_BYTES):
            self._begin_segment()
            end = self._offset + HEADER_BYTES + len(records)
        assert self._file is not None
        self._ahead.make_room(self._file, end)
        running = self._hasher.begin(header, records)
        try:
            self._file.write_synced(self._offset, header, records)
        except Unavailable as error:
            if self._abandon_segment():
                raise
            raise OutcomeUnknown(error.what) from error
        finally:
            hash_ = running()
        block = Block(
            epoch=self.epoch,
            first_sequence=self.end.sequence + 1,
            time_ns=time_ns,
            previous_hash=self.end.hash,
            hash=hash_,
            records=records,
        )
        self._note(block)
        self._offset, self.end = end, block.end
        return block

    def blocks_from(self, sequence: int) -> Iterator[Block]:
        """Yield the durable blocks from one not long before a sequence."""
        return JournalReader(self._storage).blocks_from(sequence)

    def prepare(self) -> bool:
        """Do one bounded step of what is better done before it is needed; return whether one was.

        For one thread beside the one that appends; without it the writer makes room as it goes, and
        segments get no index.
        """
        return self._ahead.step() or self._write_index()

    def start_preparing(self) -> None:
        """Prepare on a thread of its own, until close()."""
        assert self._thread is None, "started twice"
        self._wake.set()
        self._thread = threading.Thread(target=self._prepare, name="journal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the file, and of the zeros that nothing was written over."""
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._ahead.close()
        self._hasher.close()
        if self._file is not None:
            self._file.close()
            self._file = None
            with contextlib.suppress(Unavailable):
                self._storage.truncate(self._segment.name, self._offset)

    def _prepare(self) -> None:
        while not self._is_closing:
            if not self.prepare():
                self._wake.wait()
                self._wake.clear()

    def _note(self, block: Block) -> None:
        last = self._blocks[-1].offset if self._blocks else 0
        if self._offset >= last + ENTRY_EVERY_BYTES:
            self._blocks.append(Entry(block.first_sequence, self._offset))
        self._ahead.written(self._offset + block.size)
        if self._thread is not None and (self._to_index or self._ahead.has_work()):
            self._wake.set()

    def _write_index(self) -> bool:
        if not self._to_index:
            return False
        segment, index = self._to_index.popleft()
        # It is only a shortcut: what cannot be read or written now (retention may have taken the
        # segment away) is found and named by whoever needs the blocks themselves.
        with contextlib.suppress(Unavailable, Corrupt):
            if index is None:
                headers = JournalReader(self._storage).headers_of(Part(segment=segment, until=None))
                index = sparse(Entry(said.first_sequence, offset) for offset, said in headers)
            if index.entries:
                self._storage.write_atomic(index_name(segment), index.pack(segment))
        return True

    def _begin_segment(self) -> None:
        segment = Segment(epoch=self.epoch, index=self._index, cut=self.end)
        file = self._ahead.take(segment.name)
        try:
            file.write_synced(0, segment.pack())
            self._check_leads(segment)
            self._storage.put_in_place(segment.name)
        except Unavailable:
            file.close()
            raise
        if self._file is not None:
            self._file.close()
            self._to_index.append((self._segment, SegmentIndex(tuple(self._blocks))))
        self._blocks = []
        self._segment, self._file, self._offset = segment, file, HEADER_BYTES
        self._index += 1
        following = Segment(epoch=self.epoch, index=self._index, cut=self.end)
        self._ahead.began(segment.name, following.name)

    def _check_leads(self, segment: Segment) -> None:
        # A newer leader may have counted the block whose sync has just failed here. A segment that
        # continues before it would then contradict that leader's cut.
        names = self._storage.names()
        if any(name > segment.name for name in filter(is_segment, names)):
            raise Unavailable(f"epoch {self.epoch} is over: a newer one leads the journal")

    def _make_durable(self, tail: Tail | None) -> None:
        """Write the last block over itself.

        A killed process may have left it in the page cache alone, even after a sync that failed,
        and the cut is about to name it. Syncing the old file would prove nothing: pages that failed
        once count as clean. All blocks before it were durable before it was written.
        """
        if tail is None:
            return
        file = self._storage.open(tail.name)
        try:
            file.write_synced(tail.offset, tail.header, tail.records)
        finally:
            file.close()

    def _abandon_segment(self) -> bool:
        """Continue in a new segment from the last durable block. False: the next append will."""
        assert self._file is not None
        self._file.close()
        self._file = None
        try:
            self._begin_segment()
        except Unavailable:
            return False
        return True


def _last_block(storage: Storage, segment: Segment) -> Tail | None:
    reader = JournalReader(storage)
    for _ in reader.blocks_from(segment.cut.sequence):
        pass
    return reader.tail


def _unindexed(storage: Storage, reader: JournalReader) -> Iterator[Part]:
    """Yield the finished segments that are worth an index and have none that is sound."""
    for part in reader.parts:
        is_large = storage.size(part.segment.name) >= INDEXED_BYTES_MIN
        if part.until is not None and is_large and not read_index(storage, part.segment).entries:
            yield part
