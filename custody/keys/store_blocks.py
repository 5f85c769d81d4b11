"""The bytes of the signer's file: blocks of entries, and what a torn one looks like.

    file   64 bytes: FILE_MAGIC, zeros; then blocks, then zeros made ahead of them
    block  magic @0, body bytes u32 @4, entries u32 @8, first position u64 @12, previous hash 32 B
           @20, first 11 bytes of SHA-256 of all that @52, 0xa5 @63; body: per entry its length u32
           and its message; SHA-256 of the body, 0xa5. Numbers little-endian.

A block is one write and holds what was signed together; no bit of it can change unseen.

A block is torn when its write never ended: then the disk shows zeros where a sector, or the end of
the block, was not written over yet. Nothing of it was released, and it is cut. Any other block that
does not check was whole once: that is damage, also in the last one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from custody.keys.signing_record import Mark

FILE_BYTES = HEADER_BYTES = 64
FILE_HEADER = b"strongroom/signatures/v1".ljust(FILE_BYTES, b"\0")
BLOCK_MAGIC = b"SRSB"
SECTOR_BYTES = 512
END = b"\xa5"
_HEAD = struct.Struct("<4sIIQ32s")
_LENGTH = struct.Struct("<I")
_CHECK_BYTES = HEADER_BYTES - _HEAD.size - len(END)
TRAILER_BYTES = 32 + len(END)


class Header(NamedTuple):
    """What a block says of itself."""

    body_bytes: int
    entries: int
    first: int
    previous: bytes

    @property
    def size(self) -> int:
        """Return the bytes of the whole block."""
        return HEADER_BYTES + self.body_bytes + TRAILER_BYTES


def pack_block(after: Mark, messages: Sequence[bytes]) -> bytes:
    """Return the bytes of a block of entries that follow a mark."""
    parts = []
    for message in messages:
        parts += [_LENGTH.pack(len(message)), message]
    body = b"".join(parts)
    head = _HEAD.pack(BLOCK_MAGIC, len(body), len(messages), after.position + 1, after.hash)
    return b"".join((head, _check(head), END, body, hashlib.sha256(body).digest(), END))


def parse_header(data: bytes) -> Header | None:
    """Return a block's header, None when there is no sound one."""
    if len(data) != HEADER_BYTES or data[:4] != BLOCK_MAGIC:
        return None
    head = data[: _HEAD.size]
    if data[_HEAD.size :] != _check(head) + END:
        return None
    return Header(*_HEAD.unpack(head)[1:])


def messages_of(header: Header, data: bytes) -> list[tuple[int, bytes]] | None:
    """Return (offset in the block, message) of a whole block's bytes, None when it does not check.

    Whether the messages follow one another is seen from the messages.
    """
    end = HEADER_BYTES + header.body_bytes
    if len(data) != header.size:
        return None
    if data[end:] != hashlib.sha256(memoryview(data)[HEADER_BYTES:end]).digest() + END:
        return None
    found, position = [], HEADER_BYTES
    while position < end:
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        found.append((position, data[position : position + length]))
        position += length
    return found if position == end and len(found) == header.entries else None


def is_torn(data: bytes, offset: int) -> bool:
    """Return whether bytes that should be (the head of) a block look like a write that never ended.

    offset: where they begin in the file.
    """
    if not data or data[-1] == 0:
        return True
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
        if not data[start:end].strip(b"\0"):
            return True
        start = end
    return False


def _check(head: bytes) -> bytes:
    return hashlib.sha256(head).digest()[:_CHECK_BYTES]
