"""CRC32C (Castagnoli), as in RFC 3720: the checksum of journal blocks."""

from __future__ import annotations

import struct
from functools import cache

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK = 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of data, two bytes at a time."""
    table = _table()
    crc = _MASK
    even = len(data) & ~1
    for (pair,) in struct.iter_unpack("<H", data[:even]):
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    if even != len(data):
        crc = _step((crc ^ data[-1]) & 0xFF, 8) ^ (crc >> 8)
    return crc ^ _MASK


@cache
def _table() -> tuple[int, ...]:
    of_byte = [_step(byte, 8) for byte in range(256)]
    after_low = (of_byte[pair & 0xFF] ^ pair >> 8 for pair in range(1 << 16))
    return tuple(of_byte[crc & 0xFF] ^ crc >> 8 for crc in after_low)


def _step(crc: int, bits: int) -> int:
    for _ in range(bits):
        crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
