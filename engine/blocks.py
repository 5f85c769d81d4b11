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
    position magic @0, format u16 @4, epoch u64 @8, sequence u64 @16, hash 32 B @24, CRC32C @56

Every block begins at a multiple of 64 bytes, so nothing inside a record can pass for one. What
follows the last block of a segment is zeros, made ahead of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

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
BLOCK_MAGIC = b"SRBK"  # no record kind begins with its first byte, so no record looks like a block
_SEGMENT = struct.Struct("<4sHHI4xQQQ32s52x")
_BLOCK = struct.Struct("<4sHHI4xQQq32s48xI")
_POSITION_MAGIC = b"SRPO"
_POSITION = struct.Struct("<4sH2xQQ32s")
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


def pack_header(records: bytes, *, epoch: int, time_ns: int, after: Projected) -> bytes:
    """Return the header of the block that follows a position with these records."""
    count = len(records) // RECORD_BYTES
    assert len(records) % RECORD_BYTES == 0
    assert 0 < count <= BLOCK_RECORDS_MAX
    header = _BLOCK.pack(
        BLOCK_MAGIC,
        FORMAT,
        RECORD_VERSION,
        count,
        epoch,
        after.sequence + 1,
        time_ns,
        after.hash,
        crc32c(records),
    )
    return header + _CRC.pack(crc32c(header))


def block_hash(header: bytes, records: bytes) -> bytes:
    """Return the running hash after a block: its header holds the one before."""
    running = hashlib.sha256(header)
    running.update(records)
    return running.digest()


class BlockHeader(NamedTuple):
    """What a sound header says; whether its records are sound is not said."""

    commands: int
    epoch: int
    first_sequence: int
    time_ns: int
    previous_hash: bytes
    records_crc: int

    @property
    def records_bytes(self) -> int:
        """Return how many bytes of records follow the header."""
        return self.commands * RECORD_BYTES

    @property
    def before(self) -> Projected:
        """Return the position that a block within a segment continues from."""
        return Projected(
            epoch=self.epoch, sequence=self.first_sequence - 1, hash=self.previous_hash
        )


def parse_header(header: bytes) -> BlockHeader | None:
    """Return what 128 bytes say, or None when they are no sound header.

    Corrupt: written by another version.
    """
    if len(header) != HEADER_BYTES or header[:4] != BLOCK_MAGIC:
        return None
    if _CRC.unpack_from(header, HEADER_BYTES - 4)[0] != crc32c(header[:-4]):
        return None
    _, format_no, record_version, count, *rest = _BLOCK.unpack_from(header)
    if (format_no, record_version) != (FORMAT, RECORD_VERSION):
        raise Corrupt("a journal block was written by another version")
    return BlockHeader(count, *rest) if 0 < count <= BLOCK_RECORDS_MAX else None


def checked_block(header: bytes, said: BlockHeader, records: bytes) -> Block | None:
    """Return the block of a sound header, or None when its records are not whole and sound."""
    if len(records) != said.records_bytes or crc32c(records) != said.records_crc:
        return None
    return Block(
        epoch=said.epoch,
        first_sequence=said.first_sequence,
        time_ns=said.time_ns,
        previous_hash=said.previous_hash,
        hash=block_hash(header, records),
        records=records,
    )


def pack_block(
    records: bytes, *, epoch: int, time_ns: int, after: Projected
) -> tuple[bytes, Block]:
    """Return the bytes of the block that follows a position, and the block."""
    header = pack_header(records, epoch=epoch, time_ns=time_ns, after=after)
    said = parse_header(header)
    assert said is not None
    block = checked_block(header, said, records)
    assert block is not None
    return header + records, block


def parse_block(data: bytes, offset: int) -> Block | None:
    """Return the block at offset, or None when its bytes are not one whole sound block.

    Corrupt: written by another version.
    """
    header = data[offset : offset + HEADER_BYTES]
    said = parse_header(header)
    if said is None:
        return None
    start = offset + HEADER_BYTES
    return checked_block(header, said, data[start : start + said.records_bytes])


@dataclass(frozen=True, slots=True)
class PositionFile:
    """A position kept in a file of its own: where a pruned journal begins, how far a backup is."""

    name: str

    def pack(self, position: Projected) -> bytes:
        """Return the bytes."""
        body = _POSITION.pack(
            _POSITION_MAGIC, FORMAT, position.epoch, position.sequence, position.hash
        )
        return body + _CRC.pack(crc32c(body))

    def parse(self, data: bytes) -> Projected:
        """Return the position. Corrupt: such a file is written whole or not at all."""
        size = _POSITION.size + _CRC.size
        if len(data) != size or _CRC.unpack(data[-4:])[0] != crc32c(data[:-4]):
            raise Corrupt(f"{self.name}: damaged")
        magic, format_no, epoch, sequence, hash_ = _POSITION.unpack(data[:-4])
        if (magic, format_no) != (_POSITION_MAGIC, FORMAT):
            raise Corrupt(f"{self.name}: written by another version")
        return Projected(epoch=epoch, sequence=sequence, hash=hash_)


JOURNAL_START = PositionFile("journal-start.pos")
"""There once the journal was pruned: the cut of the first segment that was kept."""
