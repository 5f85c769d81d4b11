"""Snapshots: the state of the engine at the end of a journal block, and where that was.

A snapshot only saves replaying; the journal alone rebuilds everything. So a damaged one is passed
over, and the next older one is used.

    header  magic @0, format u16 @4, epoch u64 @8, sequence u64 @16, running hash 32 B @24,
            state hash 32 B @56, length u64 @88, CRC32C of the header before it @124; then the dump
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Corrupt
from engine.crc32c import crc32c
from engine.events import Projected
from engine.files import Storage

FORMAT = 2
"""Rises with the format of the dump too: a snapshot of an older program is passed over."""
HEADER_BYTES = 128

_MAGIC = b"SRSN"
_HEADER = struct.Struct("<4sH2xQQ32s32sQ28x")
_CRC = struct.Struct("<I")
_NAME = re.compile(r"snapshot-[0-9]{20}-[0-9]{20}\.snap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A dumped state and the journal position it belongs to."""

    position: Projected
    dump: bytes

    @property
    def state_hash(self) -> bytes:
        """Return SHA-256 of the dump: the state hash of the engine."""
        return hashlib.sha256(self.dump).digest()


def write_snapshot(storage: Storage, snapshot: Snapshot) -> str:
    """Write a snapshot whole and durable; return its name. Unavailable: none was written."""
    position = snapshot.position
    header = _HEADER.pack(
        _MAGIC,
        FORMAT,
        position.epoch,
        position.sequence,
        position.hash,
        snapshot.state_hash,
        len(snapshot.dump),
    )
    name = _name_at(position)
    storage.write_atomic(name, header + _CRC.pack(crc32c(header)) + snapshot.dump)
    return name


def read_snapshot(storage: Storage, name: str) -> Snapshot:
    """Return a snapshot. Corrupt: any byte of it is not what was written."""
    data = storage.read(name)
    header, dump = data[:HEADER_BYTES], data[HEADER_BYTES:]
    if len(header) < HEADER_BYTES or _CRC.unpack(header[-4:])[0] != crc32c(header[:-4]):
        raise Corrupt(f"{name}: header is damaged")
    magic, format_no, epoch, sequence, hash_, state_hash, length = _HEADER.unpack(header[:-4])
    if (magic, format_no) != (_MAGIC, FORMAT):
        raise Corrupt(f"{name}: written by another version")
    snapshot = Snapshot(position=Projected(epoch=epoch, sequence=sequence, hash=hash_), dump=dump)
    if len(dump) != length or snapshot.state_hash != state_hash:
        raise Corrupt(f"{name}: state is damaged")
    if name != _name_at(snapshot.position):
        raise Corrupt(f"{name}: the header says {snapshot.position}")
    return snapshot


def _name_at(position: Projected) -> str:
    return f"snapshot-{position.sequence:020d}-{position.epoch:020d}.snap"


def snapshot_names(storage: Storage) -> list[str]:
    """Return the names of all snapshots, newest first."""
    return [name for name in storage.names()[::-1] if _NAME.fullmatch(name)]


def sequence_of(name: str) -> int:
    """Return the sequence a snapshot's name tells."""
    return int(name.split("-")[1])


def sound_snapshots(storage: Storage, *, up_to: int) -> Iterator[Snapshot]:
    """Yield the undamaged snapshots that are not after a sequence, newest first."""
    for name in snapshot_names(storage):
        if sequence_of(name) > up_to:
            continue
        try:
            yield read_snapshot(storage, name)
        except Corrupt:
            continue  # the next older one, or the whole journal, gives the same state


def prune_snapshots(storage: Storage, *, behind: int) -> list[str]:
    """Delete the snapshots nobody can need; return their names.

    `behind` is the smaller of the sequences of the books and of the backups: kept are all after it
    and the newest sound one not after it.
    """
    keep = next(sound_snapshots(storage, up_to=behind), None)
    if keep is None:
        return []
    old = [name for name in snapshot_names(storage) if sequence_of(name) < keep.position.sequence]
    for name in old:
        storage.delete(name)
    return old
