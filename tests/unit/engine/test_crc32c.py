"""The library's checksum is CRC32C, and the readable twin agrees."""

from __future__ import annotations

import random

import pytest

from engine.crc32c import crc32c
from tests.unit.engine.crc32c_twin import crc32c as crc32c_twin


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_checksum_is_crc32c(data: bytes, checksum: int) -> None:
    # https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4
    assert crc32c(data) == crc32c_twin(data) == checksum


def test_library_and_twin_agree_on_every_length_and_alignment() -> None:
    drawn = random.Random(1)
    data = drawn.randbytes(1_500)
    for length in (*range(300), 1_000, 1_024, 1_027):
        start = drawn.randrange(len(data) - length)
        piece = data[start : start + length]
        assert crc32c(piece) == crc32c_twin(piece)


def test_one_flipped_bit_changes_the_checksum() -> None:
    data = bytes(range(192))
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert crc32c(bytes(damaged)) != crc32c(data)
