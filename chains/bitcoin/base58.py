"""Base58 with a four-byte checksum: the addresses that are older than witness programs."""

from __future__ import annotations

from chains.bitcoin.hashes import sha256_twice

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LENGTH_MAX = 64

_VALUES = {char: value for value, char in enumerate(ALPHABET)}
_CHECKSUM_BYTES = 4


def read(text: str, *, length_max: int = LENGTH_MAX) -> bytes | None:
    """Return the bytes of a text with a right checksum and no second spelling, None of others."""
    if not 0 < len(text) <= length_max or not all(char in _VALUES for char in text):
        return None
    number = 0
    for char in text:
        number = number * 58 + _VALUES[char]
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(data) <= _CHECKSUM_BYTES or sha256_twice(body)[:_CHECKSUM_BYTES] != checksum:
        return None
    return body


def write(body: bytes) -> str:
    """Return the text of some bytes and their checksum."""
    data = body + sha256_twice(body)[:_CHECKSUM_BYTES]
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, value = divmod(number, 58)
        text = ALPHABET[value] + text
    return ALPHABET[0] * (len(data) - len(data.lstrip(b"\0"))) + text
