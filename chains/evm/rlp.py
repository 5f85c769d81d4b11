"""Recursive Length Prefix: a small strict reader and writer.

The reader is the one the independent transaction decoder stands on; it accepts canonical bytes
only, so that one value has one encoding. Source: Ethereum Yellow Paper, appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from core.errors import Reason, Refused

Item: TypeAlias = "bytes | Sequence[Item]"

DEPTH_MAX = 8
_SHORT = 55


def encode_int(number: int) -> bytes:
    """Return the shortest big-endian bytes; zero is the empty string."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode(item: Item) -> bytes:
    """Encode bytes, or a sequence of items."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefix(len(item), 0x80) + item
    body = b"".join(map(encode, item))
    return _prefix(len(body), 0xC0) + body


def _prefix(length: int, offset: int) -> bytes:
    if length <= _SHORT:
        return bytes((offset + length,))
    size = encode_int(length)
    return bytes((offset + _SHORT + len(size),)) + size


def decode(data: bytes) -> Item:
    """Decode exactly one item that fills the data.

    Refused: undecodable (not canonical, trailing bytes).
    """
    item, end = _read(data, 0, 0)
    if end != len(data):
        raise _refusal("trailing bytes")
    return item


def decode_int(item: Item) -> int:
    """Read an integer. Refused: undecodable (a list, leading zeros)."""
    if not isinstance(item, bytes):
        raise _refusal("a number is not a list")
    if item[:1] == b"\0":
        raise _refusal("leading zero")
    return int.from_bytes(item, "big")


def decode_bytes(item: Item) -> bytes:
    """Read a byte string. Refused: undecodable (a list)."""
    if not isinstance(item, bytes):
        raise _refusal("a byte string is not a list")
    return item


def _read(data: bytes, start: int, depth: int) -> tuple[Item, int]:
    if start >= len(data):
        raise _refusal("ends early")
    first = data[start]
    if first < 0x80:
        return data[start : start + 1], start + 1
    if first < 0xC0:
        body, end = _span(data, start, first - 0x80)
        if end - body == 1 and data[body] < 0x80:
            raise _refusal("a small byte has no prefix")
        return data[body:end], end
    if depth >= DEPTH_MAX:
        raise _refusal("nested too deeply")
    position, end = _span(data, start, first - 0xC0)
    items: list[Item] = []
    while position < end:
        item, position = _read(data, position, depth + 1)
        items.append(item)
    if position != end:
        raise _refusal("an item overruns its list")
    return items, end


def _span(data: bytes, start: int, code: int) -> tuple[int, int]:
    body = start + 1
    length = code
    if code > _SHORT:
        size = code - _SHORT
        length = int.from_bytes(data[body : body + size], "big")
        if len(data) < body + size or data[body] == 0 or length <= _SHORT:
            raise _refusal("length is not canonical")
        body += size
    if body + length > len(data):
        raise _refusal("ends early")
    return body, body + length


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, f"rlp: {detail}")
