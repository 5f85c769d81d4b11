"""Where in a finished segment a sequence is to be found, sparsely: a shortcut, never a witness.

Each finished segment has such a file beside it. It may be missing or damaged: then the segment is
read from its front, and the leader makes the file again. Nothing in it is believed: a reader looks
where it points and takes what it finds there by that block's own checksum and hash.

    header  magic @0, format u16 @4, entries u32 @8, segment index u32 @12, epoch u64 @16
    entry   first sequence of a block u64, its offset in the segment u64
    end     CRC32C of all before it
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from engine.blocks import Segment
from engine.crc32c import crc32c
from engine.files import Storage

FORMAT = 1
ENTRY_EVERY_BYTES = 1 << 18
INDEXED_BYTES_MIN = 4 * ENTRY_EVERY_BYTES
"""A smaller segment is read as quickly as its index."""

_MAGIC = b"SRIX"
_HEADER = struct.Struct("<4sH2xIIQ")
_ENTRY = struct.Struct("<QQ")
_CRC = struct.Struct("<I")


class Entry(NamedTuple):
    """A block: its first sequence, and where in the segment it begins."""

    sequence: int
    offset: int


@dataclass(frozen=True, slots=True)
class SegmentIndex:
    """The entries of one segment, ascending."""

    entries: tuple[Entry, ...] = ()

    def before(self, sequence: int) -> Entry | None:
        """Return the last block known to begin at or before the one after a sequence."""
        found = bisect_right(self.entries, sequence + 1, key=lambda entry: entry.sequence)
        return self.entries[found - 1] if found else None

    def pack(self, segment: Segment) -> bytes:
        """Return the bytes of the file."""
        header = _HEADER.pack(_MAGIC, FORMAT, len(self.entries), segment.index, segment.epoch)
        body = header + b"".join(_ENTRY.pack(*entry) for entry in self.entries)
        return body + _CRC.pack(crc32c(body))


NOTHING = SegmentIndex()


def index_name(segment: Segment) -> str:
    """Return the name of a segment's index."""
    return segment.name.removesuffix(".seg") + ".idx"


def sparse(blocks: Iterable[Entry]) -> SegmentIndex:
    """Return an index of about every ENTRY_EVERY_BYTES of the blocks of a segment."""
    kept: list[Entry] = []
    for entry in blocks:
        if entry.offset >= (kept[-1].offset if kept else 0) + ENTRY_EVERY_BYTES:
            kept.append(entry)
    return SegmentIndex(tuple(kept))


def read_index(storage: Storage, segment: Segment) -> SegmentIndex:
    """Return a segment's index; one without entries when there is none, or none that is sound."""
    name = index_name(segment)
    if name not in storage.names():
        return NOTHING
    data = storage.read(name)
    body = data[: -_CRC.size]
    if len(body) < _HEADER.size or _CRC.pack(crc32c(body)) != data[len(body) :]:
        return NOTHING
    magic, format_no, count, index, epoch = _HEADER.unpack_from(body)
    if (magic, format_no, index, epoch) != (_MAGIC, FORMAT, segment.index, segment.epoch):
        return NOTHING
    entries = tuple(map(Entry._make, _ENTRY.iter_unpack(body[_HEADER.size :])))
    return SegmentIndex(entries) if len(entries) == count else NOTHING
