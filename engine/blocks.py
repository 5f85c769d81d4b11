"""The bytes of the journal: segment headers, blocks, and how a damaged one is told from a torn one.

A segment begins with a 128-byte header naming its epoch and the cut: the position (epoch, sequence,
running hash) it continues from. Blocks follow, each a 128-byte header and its 64-byte records. The
running hash is SHA-256 over a block's header and records; the header holds the hash before it, so
the blocks form a chain across segments. All numbers little-endian.

    segment  magic @0, format u16 @4, record version u16 @6, index u32 @8, epoch u64 @16,
             cut epoch u64 @24, cut sequence u64 @32, cut hash 32 B @40, CRC32C of all that @124
    block    magic @0, format u16 @4, record version u16 @6, count u32 @8, epoch u64 @16,
             first sequence u64 @24, time i64 @32, previous hash 32 B @40,
             CRC32C of the records @120, CRC32C of the header before it @124
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Corrupt
from engine.commands import Command
from engine.crc32c import crc32c
from engine.events import GENESIS_HASH, Projected
from engine.records import RECORD_BYTES, RECORD_VERSION, unpack_command

FORMAT = 1
HEADER_BYTES = 128
BLOCK_RECORDS_MAX = 1 << 16

GENESIS = Projected(epoch=0, sequence=0, hash=GENESIS_HASH)
"""The position before the first command."""

_SEGMENT_MAGIC = b"SRSG"
_BLOCK_MAGIC = b"SRBK"  # no record kind begins with its first byte, so no record looks like a block
_SEGMENT = struct.Struct("<4sHHI4xQQQ32s52x")
_BLOCK = struct.Struct("<4sHHI4xQQq32s48xI")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The header of one journal file."""

    epoch: int
    index: int
    cut: Projected

    @property
    def name(self) -> str:
        """Return the file name; ascending names are the order of writing, epoch by epoch."""
        return f"journal-{self.epoch:020d}-{self.index:010d}.seg"

    def pack(self) -> bytes:
        """Return the 128 bytes."""
        body = _SEGMENT.pack(
            _SEGMENT_MAGIC,
            FORMAT,
            RECORD_VERSION,
            self.index,
            self.epoch,
            self.cut.epoch,
            self.cut.sequence,
            self.cut.hash,
        )
        return body + _CRC.pack(crc32c(body))


def is_segment(name: str) -> bool:
    """Return whether a file of this name belongs to the journal."""
    return name.startswith("journal-") and name.endswith(".seg")


def parse_segment(name: str, data: bytes) -> Segment:
    """Return the header of a segment. Corrupt: headers are written whole or not at all."""
    header = data[:HEADER_BYTES]
    if len(header) < HEADER_BYTES or _CRC.unpack(header[-4:])[0] != crc32c(header[:-4]):
        raise Corrupt(f"{name}: segment header is damaged")
    magic, format_no, records, index, epoch, cut_epoch, cut_sequence, cut_hash = _SEGMENT.unpack(
        header[:-4]
    )
    cut = Projected(epoch=cut_epoch, sequence=cut_sequence, hash=cut_hash)
    segment = Segment(epoch=epoch, index=index, cut=cut)
    if (magic, format_no, records) != (_SEGMENT_MAGIC, FORMAT, RECORD_VERSION):
        raise Corrupt(f"{name}: written by another version")
    if segment.name != name:
        raise Corrupt(f"{name}: the header says {segment.name}")
    return segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One durable group of commands."""

    epoch: int
    first_sequence: int
    time_ns: int
    previous_hash: bytes
    hash: bytes
    records: bytes

    @property
    def count(self) -> int:
        """Return how many commands it holds."""
        return len(self.records) // RECORD_BYTES

    @property
    def last_sequence(self) -> int:
        """Return the sequence of its last command."""
        return self.first_sequence + self.count - 1

    @property
    def end(self) -> Projected:
        """Return the position after it."""
        return Projected(epoch=self.epoch, sequence=self.last_sequence, hash=self.hash)

    @property
    def size(self) -> int:
        """Return its bytes in the file."""
        return HEADER_BYTES + len(self.records)

    def commands(self) -> Iterator[Command]:
        """Yield the commands in order. Corrupt: a record this program does not know."""
        for at in range(0, len(self.records), RECORD_BYTES):
            yield unpack_command(self.records[at : at + RECORD_BYTES])


def pack_block(
    records: bytes, *, epoch: int, time_ns: int, after: Projected
) -> tuple[bytes, Block]:
    """Return the bytes of the block that follows a position, and the block."""
    count = len(records) // RECORD_BYTES
    assert len(records) % RECORD_BYTES == 0
    assert 0 < count <= BLOCK_RECORDS_MAX
    header = _BLOCK.pack(
        _BLOCK_MAGIC,
        FORMAT,
        RECORD_VERSION,
        count,
        epoch,
        after.sequence + 1,
        time_ns,
        after.hash,
        crc32c(records),
    )
    data = header + _CRC.pack(crc32c(header)) + records
    return data, Block(
        epoch=epoch,
        first_sequence=after.sequence + 1,
        time_ns=time_ns,
        previous_hash=after.hash,
        hash=hashlib.sha256(data).digest(),
        records=records,
    )


def parse_block(data: bytes, offset: int) -> Block | None:
    """Return the block at offset, or None when its bytes are not one whole sound block."""
    header = data[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES or header[:4] != _BLOCK_MAGIC:
        return None
    if _CRC.unpack(header[-4:])[0] != crc32c(header[:-4]):
        return None
    _, format_no, record_version, count, epoch, first_sequence, time_ns, previous, body_crc = (
        _BLOCK.unpack(header[:-4])
    )
    if (format_no, record_version) != (FORMAT, RECORD_VERSION):
        raise Corrupt(f"journal block at {offset} was written by another version")
    end = offset + HEADER_BYTES + count * RECORD_BYTES
    records = data[offset + HEADER_BYTES : end]
    if count == 0 or len(data) < end or crc32c(records) != body_crc:
        return None
    return Block(
        epoch=epoch,
        first_sequence=first_sequence,
        time_ns=time_ns,
        previous_hash=previous,
        hash=hashlib.sha256(data[offset:end]).digest(),
        records=records,
    )


def sound_block_after(data: bytes, offset: int) -> int | None:
    """Return where the first sound block after a damaged one begins.

    A block is written only after its predecessor is durable, so a sound successor proves that the
    damaged one was whole once.
    """
    at = data.find(_BLOCK_MAGIC, offset + 1)
    while at >= 0:
        if parse_block(data, at) is not None:
            return at
        at = data.find(_BLOCK_MAGIC, at + 1)
    return None
