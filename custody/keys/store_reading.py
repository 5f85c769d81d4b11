"""The signer's file as it is read: its blocks and entries, each checked, nothing changed."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Corrupt
from custody.keys.signing_record import GENESIS, Entry, Mark, decode
from custody.keys.store_blocks import (
    BLOCK_MAGIC,
    FILE_BYTES,
    FILE_HEADER,
    HEADER_BYTES,
    Header,
    is_torn,
    messages_of,
    parse_header,
)
from engine.files import Storage

NAME = "signatures"
PIECE_BYTES = 1 << 22


def read_log(storage: Storage) -> list[Entry]:
    """Return every entry of a folder, or of a copy of one, without changing anything. Corrupt."""
    found: list[Entry] = []
    if NAME not in storage.names():
        return found
    for offset, header, block in blocks_of(storage):
        after = found[-1].mark if found else GENESIS
        found += [entry for entry, _, _ in entries_in(offset, header, block, after=after)]
    return found


def blocks_of(storage: Storage) -> Iterator[tuple[int, Header, bytes]]:
    """Yield offset, header and bytes of each whole block; a torn one is the end. Corrupt."""
    size = storage.size(NAME)
    if storage.read(NAME, limit=FILE_BYTES) != FILE_HEADER:
        raise Corrupt("the signer's store has a damaged header")
    offset = FILE_BYTES
    while offset < size:
        head = storage.read(NAME, offset=offset, limit=HEADER_BYTES)
        header = parse_header(head)
        if header is None:
            _check_end(storage, offset, head.ljust(HEADER_BYTES, b"\0"))
            return
        block = storage.read(NAME, offset=offset, limit=header.size)
        if messages_of(header, block) is None:
            _check_end(storage, offset, block.ljust(header.size, b"\0"))
            return
        yield offset, header, block
        offset += header.size


def entries_in(
    offset: int, header: Header, block: bytes, *, after: Mark
) -> Iterator[tuple[Entry, int, int]]:
    """Yield entry, offset in the file and length of each message. Corrupt: they do not follow."""
    if (header.first, header.previous) != (after.position + 1, after.hash):
        raise Corrupt(f"signatures offset {offset}: does not follow record {after.position}")
    for start, message in messages_of(header, block) or ():
        entry = decode(message)
        if (entry.position, entry.previous) != (after.position + 1, after.hash):
            raise Corrupt(f"signatures offset {offset}: does not follow record {after.position}")
        after = entry.mark
        yield entry, offset + start, len(message)


def _check_end(storage: Storage, offset: int, seen: bytes) -> None:
    """Return when what stands at offset is zeros or a write that never ended. Corrupt: damage.

    seen: the head of the block there, or all of it where its head is sound.
    """
    where = f"signatures offset {offset}"
    if not is_torn(seen, offset):
        raise Corrupt(f"{where}: damaged")
    whole = parse_header(seen[:HEADER_BYTES]) is not None
    at = offset + (len(seen) if whole else 1)
    while data := storage.read(NAME, offset=at, limit=PIECE_BYTES):
        if whole and data.strip(b"\0"):
            raise Corrupt(f"{where}: damaged, and something follows at {at}")
        found = data.find(BLOCK_MAGIC)
        while found >= 0:
            header = parse_header(storage.read(NAME, offset=at + found, limit=HEADER_BYTES))
            if header is not None:
                raise Corrupt(f"{where}: damaged, and a block follows at {at + found}")
            found = data.find(BLOCK_MAGIC, found + 1)
        at += max(1, len(data) - HEADER_BYTES)
