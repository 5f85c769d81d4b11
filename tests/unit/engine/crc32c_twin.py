"""CRC32C (Castagnoli), as in RFC 3720, readable: what the library is tested against."""

from __future__ import annotations

import struct

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK = 0xFFFFFFFF


def _of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


# Four bytes at a time. The tables are small on purpose: with 2^16 entries each look-up misses the
# cache on real data, and two bytes at a time took twice as long.
_LAST = [_of_byte(byte) for byte in range(256)]
_THIRD = [_LAST[crc & 0xFF] ^ crc >> 8 for crc in _LAST]
_SECOND = [_LAST[crc & 0xFF] ^ crc >> 8 for crc in _THIRD]
_FIRST = [_LAST[crc & 0xFF] ^ crc >> 8 for crc in _SECOND]


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of data."""
    crc = _MASK
    whole = len(data) & ~3
    first, second, third, last = _FIRST, _SECOND, _THIRD, _LAST
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        crc ^= word
        crc = (
            first[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ last[crc >> 24]
        )
    for byte in data[whole:]:
        crc = last[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _MASK
