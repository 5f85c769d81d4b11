"""What files a journal is made of: for people who look at a folder. Nothing is verified here."""

from __future__ import annotations

from dataclasses import dataclass

from engine.blocks import HEADER_BYTES, is_segment, parse_segment
from engine.files import Storage
from engine.journal import JournalReader, Part
from engine.journal_index import index_name


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentStat:
    """One segment; blocks beyond the cut of its successor are not counted."""

    name: str
    epoch: int
    first_sequence: int | None
    """None: no block of it counts."""
    last_sequence: int | None
    blocks: int
    used_bytes: int
    """Of the header and the blocks that count; what follows is zeros, or what was cut off."""
    file_bytes: int
    has_index: bool


def segments_of(storage: Storage) -> list[SegmentStat]:
    """Return the segments in the order of their names. Corrupt: a header is damaged."""
    reader = JournalReader(storage)
    parts = {part.segment.name: part for part in reader.parts}
    names = set(storage.names())
    return [
        _stat(storage, reader, name, parts.get(name), names)
        for name in sorted(filter(is_segment, names))
    ]


def _stat(
    storage: Storage, reader: JournalReader, name: str, part: Part | None, names: set[str]
) -> SegmentStat:
    segment = parse_segment(name, storage.read(name, limit=HEADER_BYTES))
    first = last = None
    blocks, used = 0, HEADER_BYTES
    for offset, said in reader.headers_of(part) if part else ():
        until = part.until if part else None
        if until is not None and said.first_sequence > until.sequence:
            break
        first = first or said.first_sequence
        last = said.first_sequence + said.commands - 1
        blocks, used = blocks + 1, offset + HEADER_BYTES + said.records_bytes
    return SegmentStat(
        name=name,
        epoch=segment.epoch,
        first_sequence=first,
        last_sequence=last,
        blocks=blocks,
        used_bytes=used,
        file_bytes=storage.size(name),
        has_index=index_name(segment) in names,
    )
