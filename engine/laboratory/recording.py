"""Commands in a file, to be applied again: a workload, or the few commands that show a difference.

A header, then journal blocks: each carries its time, its checksum and the hash of the one before.

    header  magic @0, format u16 @4, record version u16 @6, seed u64 @8, opening count u64 @16,
            limits in the order of engine.base.Limits, u64 each @24, name in UTF-8 (32 B) @64,
            count of commands u64 @96, CRC32C of all that @124
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from pathlib import Path

from core.errors import Corrupt, Unavailable
from engine.base import Limits
from engine.blocks import GENESIS, Block, pack_block, parse_block
from engine.crc32c import crc32c
from engine.laboratory.workloads import NOW_NS, Workload
from engine.records import RECORD_BYTES, RECORD_VERSION
from engine.reference import DEFAULT_LIMITS

FORMAT = 1
HEADER_BYTES = 128
BATCH = 1024
EPOCH = 1

_MAGIC = b"SRLB"
_LIMITS = tuple(field.name for field in fields(Limits))
_HEADER = struct.Struct(f"<4sHHQQ{len(_LIMITS)}Q{40 - 8 * len(_LIMITS)}x32sQ20x")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Command records that are applied at one time."""

    time_ns: int
    records: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a file of commands says of itself, and its blocks."""

    name: str
    seed: int
    limits: Limits
    opening_count: int
    """How many commands, from the first, only prepare what is looked at."""
    blocks: tuple[Block, ...]

    @property
    def count(self) -> int:
        """Return how many commands it holds."""
        return self.blocks[-1].last_sequence if self.blocks else 0


def record(
    name: str,
    batches: Iterable[Batch],
    *,
    seed: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    opening_count: int = 0,
) -> Recording:
    """Return the recording of batches that are applied one after another."""
    position, blocks = GENESIS, []
    for batch in batches:
        _, block = pack_block(batch.records, epoch=EPOCH, time_ns=batch.time_ns, after=position)
        position = block.end
        blocks.append(block)
    return Recording(
        name=name, seed=seed, limits=limits, opening_count=opening_count, blocks=tuple(blocks)
    )


def record_workload(work: Workload) -> Recording:
    """Return a workload as a recording; a block ends where the opening does."""
    step = BATCH * RECORD_BYTES
    starts = [*range(0, len(work.opening), step), len(work.opening)]
    pieces = [work.opening[at:to] for at, to in pairwise(starts)]
    pieces += [work.timed[at : at + step] for at in range(0, len(work.timed), step)]
    return record(
        work.name,
        (Batch(time_ns=NOW_NS, records=piece) for piece in pieces),
        seed=work.seed,
        opening_count=work.opening_count,
    )


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording. Unavailable: the disk failed."""
    name = recording.name.encode()
    if len(name) > 32:
        raise ValueError(f"{recording.name} is too long a name")
    header = _HEADER.pack(
        _MAGIC,
        FORMAT,
        RECORD_VERSION,
        recording.seed,
        recording.opening_count,
        *astuple(recording.limits),
        name,
        recording.count,
    )
    try:
        with path.open("wb") as file:
            file.write(header + _CRC.pack(crc32c(header)))
            position = GENESIS
            for block in recording.blocks:
                data, again = pack_block(
                    block.records, epoch=EPOCH, time_ns=block.time_ns, after=position
                )
                file.write(data)
                position = again.end
    except OSError as error:
        raise Unavailable(f"write {path}: {error.strerror or error}") from error


def is_recording(data: bytes) -> bool:
    """Return whether the first bytes of a file are those of a recording."""
    return data[:4] == _MAGIC


def read_recording(data: bytes, name: str) -> Recording:
    """Return the recording in a file's bytes. Corrupt: any byte of it is not what was written."""
    header = data[:HEADER_BYTES]
    if len(header) < HEADER_BYTES or _CRC.unpack(header[-4:])[0] != crc32c(header[:-4]):
        raise Corrupt(f"{name}: header is damaged")
    magic, format_no, records, seed, opening_count, *limits, title, count = _HEADER.unpack(
        header[:-4]
    )
    if (magic, format_no, records) != (_MAGIC, FORMAT, RECORD_VERSION):
        raise Corrupt(f"{name}: written by another version")
    blocks = tuple(_blocks(data, name))
    if sum(block.count for block in blocks) != count:
        raise Corrupt(f"{name}: the header counts {count} commands")
    return Recording(
        name=title.rstrip(b"\0").decode(),
        seed=seed,
        limits=Limits(**dict(zip(_LIMITS, limits, strict=True))),
        opening_count=opening_count,
        blocks=blocks,
    )


def _blocks(data: bytes, name: str) -> Iterator[Block]:
    position, offset = GENESIS, HEADER_BYTES
    while offset < len(data):
        block = parse_block(data, offset)
        if block is None:
            raise Corrupt(f"{name} offset {offset}: damaged")
        if (block.first_sequence, block.previous_hash) != (position.sequence + 1, position.hash):
            raise Corrupt(f"{name} offset {offset}: block does not follow {position}")
        position, offset = block.end, offset + block.size
        yield block
