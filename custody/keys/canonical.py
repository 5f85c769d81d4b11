"""One deterministic encoding for everything that is hashed or signed, checkable by hand.

A message is, byte by byte:

    1        length of the domain tag, 1..64
    n        the domain tag, ASCII; no two kinds of message share one
    2        version, big-endian
    2        number of fields, big-endian
    and per field, in the declared order:
    1        type: 's' text, 'i' integer, 'b' bytes, 'l' list
    4        length of the body, big-endian
    n        the body

Text is printable ASCII (0x20..0x7e), so nothing that looks alike can differ. An integer is >= 0,
big-endian, at most 32 bytes, without leading zero bytes; zero is the empty body. A list's body is
its items, each again type, length, body. Every value has exactly one encoding, and `decode` accepts
nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from core.errors import Reason, Refused

Value: TypeAlias = "str | int | bytes | tuple[Value, ...]"

MESSAGE_BYTES_MAX = 1 << 20
INTEGER_BYTES_MAX = 32
_DEPTH_MAX = 4


def encode(tag: str, version: int, values: Sequence[Value]) -> bytes:
    """Encode values under a domain tag.

    Refused: malformed (text that is not printable ASCII, an integer out of range).
    """
    parts = [_head(tag), version.to_bytes(2, "big"), len(values).to_bytes(2, "big")]
    for value in values:
        if type(value) is str and value.isascii() and value.isprintable():  # 0x20..0x7e
            parts += (b"s", len(value).to_bytes(4, "big"), value.encode("ascii"))
        elif type(value) is bytes:
            parts += (b"b", len(value).to_bytes(4, "big"), value)
        else:
            _put(parts, value, 0)
    data = b"".join(parts)
    if len(data) > MESSAGE_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "a canonical message has at most 1 MiB")
    return data


def decode(tag: str, version: int, data: bytes) -> tuple[Value, ...]:
    """Return the values of a message; the strict inverse of encode.

    Refused: malformed (another tag, cut off, trailing bytes, any second spelling of a value),
    unknown_version.
    """
    head = _head(tag)
    if type(data) is not bytes or len(data) > MESSAGE_BYTES_MAX or data[: len(head)] != head:
        raise _malformed(f"not a {tag}")
    position = len(head)
    if len(data) < position + 4:
        raise _malformed("cut off")
    found = int.from_bytes(data[position : position + 2], "big")
    if found != version:
        raise Refused(Reason.UNKNOWN_VERSION, f"{tag} version {found}")
    count = int.from_bytes(data[position + 2 : position + 4], "big")
    values = _decode_values(data[position + 4 :], 0)
    if len(values) != count:
        raise _malformed("wrong number of fields")
    if encode(tag, version, values) != data:
        raise _malformed("not the canonical spelling")
    return values


@lru_cache(64)
def _head(tag: str) -> bytes:
    return len(tag).to_bytes(1, "big") + tag.encode("ascii")


def _put(parts: list[bytes], value: Value, depth: int) -> None:
    """Append type, length and body of a value."""
    if type(value) is str:
        if not (value.isascii() and value.isprintable()):  # exactly 0x20..0x7e
            raise _malformed("text is printable ASCII")
        body = value.encode("ascii")
        parts += (b"s", len(body).to_bytes(4, "big"), body)
    elif type(value) is int:
        size = (value.bit_length() + 7) // 8
        if value < 0 or size > INTEGER_BYTES_MAX:
            raise _malformed("an integer is >= 0 and has at most 32 bytes")
        parts += (b"i", size.to_bytes(4, "big"), value.to_bytes(size, "big"))
    elif type(value) is bytes:
        parts += (b"b", len(value).to_bytes(4, "big"), value)
    elif type(value) is tuple and depth < _DEPTH_MAX:
        items: list[bytes] = []
        for item in value:
            _put(items, item, depth + 1)
        body = b"".join(items)
        parts += (b"l", len(body).to_bytes(4, "big"), body)
    else:
        raise _malformed(f"{type(value).__name__} cannot be encoded")


def _decode_values(data: bytes, depth: int) -> tuple[Value, ...]:
    values: list[Value] = []
    position = 0
    while position < len(data):
        if len(data) < position + 5:
            raise _malformed("cut off")
        kind = data[position : position + 1]
        end = position + 5 + int.from_bytes(data[position + 1 : position + 5], "big")
        if end > len(data):
            raise _malformed("cut off")
        values.append(_decode_body(kind, data[position + 5 : end], depth))
        position = end
    return tuple(values)


def _decode_body(kind: bytes, body: bytes, depth: int) -> Value:
    if kind == b"s" and body.isascii():
        return body.decode("ascii")
    if kind == b"i":
        return int.from_bytes(body, "big")
    if kind == b"b":
        return body
    if kind == b"l" and depth < _DEPTH_MAX:
        return _decode_values(body, depth + 1)
    raise _malformed("unknown type of field")


def _malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, detail)
