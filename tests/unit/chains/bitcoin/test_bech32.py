"""Witness programs as text, beside another library; those of 20 and 32 bytes go a shorter way."""

from __future__ import annotations

import random

import pytest
from bip_utils import (  # type: ignore[import-untyped]
    SegwitBech32Decoder,
    SegwitBech32Encoder,
)

from chains.bitcoin.bech32 import ALPHABET, read_program, write_program
from chains.bitcoin.hashes import hash160


@pytest.mark.parametrize("size", [2, 3, 19, 20, 21, 31, 32, 33, 40])
def test_programs_are_written_as_another_library_writes_them(size: int) -> None:
    dice = random.Random(size)
    for version in range(17):
        if version == 0 and size not in (20, 32):
            continue
        for human_part in ("bc", "tb", "bcrt"):
            for program in (bytes(size), b"\xff" * size, dice.randbytes(size)):
                text = write_program(human_part, version, program)
                assert text == SegwitBech32Encoder.Encode(human_part, version, program)
                assert read_program(text) == (human_part, version, program)
                assert SegwitBech32Decoder.Decode(human_part, text) == (version, program)


def test_one_wrong_character_is_always_seen() -> None:
    text = write_program("bcrt", 0, bytes(range(20)))
    for place in range(5, len(text)):
        for char in ALPHABET:
            if char != text[place]:
                assert read_program(text[:place] + char + text[place + 1 :]) is None


def test_a_keys_hash_is_the_standard_one() -> None:
    from Crypto.Hash import RIPEMD160, SHA256

    for size in range(200):
        data = random.Random(size).randbytes(size)
        assert hash160(data) == RIPEMD160.new(SHA256.new(data).digest()).digest()
