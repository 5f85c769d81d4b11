"""Witness programs as text: bech32 for version 0, bech32m for all others.

Own strict code. Sources: BIP-173, BIP-350 (checksum constant 0x2bc830a3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import xor

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32 = 1
BECH32M = 0x2BC830A3
LENGTH_MAX = 90

_VALUES = {char: value for value, char in enumerate(ALPHABET)}
_CHECKSUM_CHARS = 6
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_TERMS = [
    reduce(xor, (term for place, term in enumerate(_GENERATOR) if top >> place & 1), 0)
    for top in range(32)
]
"""What leaves at the top comes back as this. Two steps at once are the same, of ten bits."""
_PAIR_BITS = 10
_PAIR_MASK = (1 << _PAIR_BITS) - 1
_PAIR_CHARS = [one + other for one in ALPHABET for other in ALPHABET]


def _pair_term(top: int) -> int:
    after = _TERMS[top >> 5] ^ (top & 31) << 25
    return (after & 0x1FFFFFF) << 5 ^ _TERMS[after >> 25]


_PAIR_TERMS = [_pair_term(top) for top in range(1 << _PAIR_BITS)]


@dataclass(frozen=True, slots=True)
class Text:
    """A text with a valid checksum: its human part in lower case and its 5-bit values."""

    human_part: str
    values: tuple[int, ...]
    checksum: int
    """BECH32 or BECH32M."""


def read_text(text: str) -> Text | None:
    """Read a text of one case, at most 90 characters, None when it is none."""
    if not 8 <= len(text) <= LENGTH_MAX or text not in (text.lower(), text.upper()):
        return None
    if not all(33 <= ord(char) <= 126 for char in text):
        return None
    human_part, separator, data = text.lower().rpartition("1")
    if not separator or not human_part or len(data) < _CHECKSUM_CHARS:
        return None
    if not all(char in _VALUES for char in data):
        return None
    values = [_VALUES[char] for char in data]
    checksum = _polymod([*_expanded(human_part), *values])
    if checksum not in (BECH32, BECH32M):
        return None
    return Text(human_part, tuple(values[:-_CHECKSUM_CHARS]), checksum)


def write_text(human_part: str, values: Sequence[int], checksum: int) -> str:
    """Return the text of 5-bit values, in lower case."""
    prefix = [*_expanded(human_part), *values]
    rest = _polymod([*prefix, *[0] * _CHECKSUM_CHARS]) ^ checksum
    tail = [rest >> 5 * (_CHECKSUM_CHARS - 1 - place) & 31 for place in range(_CHECKSUM_CHARS)]
    return human_part + "1" + "".join(ALPHABET[value] for value in (*values, *tail))


def read_program(text: str) -> tuple[str, int, bytes] | None:
    """Return (human part, witness version, program), None when a text is no witness program.

    Versions go to 16, programs have 2 to 40 bytes, 20 or 32 at version 0; the checksum is of the
    version's own kind and padding is zero.
    """
    return _read_program(text) if len(text) <= LENGTH_MAX else None


@lru_cache(maxsize=1 << 16)
def _read_program(text: str) -> tuple[str, int, bytes] | None:
    read = read_text(text)
    if read is None or not read.values or read.values[0] > 16:
        return None
    version = read.values[0]
    program = _octets(read.values[1:])
    if program is None or not 2 <= len(program) <= 40:
        return None
    if version == 0 and len(program) not in (20, 32):
        return None
    if read.checksum != (BECH32M if version else BECH32):
        return None
    return read.human_part, version, program


@lru_cache(maxsize=1 << 16)
def write_program(human_part: str, version: int, program: bytes) -> str:
    """Return the text of a witness program."""
    checksum = BECH32M if version else BECH32
    if len(program) not in (20, 32):
        return write_text(human_part, [version, *_quintets(program)], checksum)
    start, state = _opening(human_part, version)
    bits = 8 * len(program) + -8 * len(program) % _PAIR_BITS
    number = int.from_bytes(program, "big") << bits - 8 * len(program)
    pairs = [number >> place & _PAIR_MASK for place in range(bits - _PAIR_BITS, -1, -_PAIR_BITS)]
    for pair in (*pairs, 0, 0, 0):
        state = (state & 0xFFFFF) << _PAIR_BITS ^ pair ^ _PAIR_TERMS[state >> 20]
    state ^= checksum
    pairs += (state >> 20, state >> 10 & _PAIR_MASK, state & _PAIR_MASK)
    return start + "".join([_PAIR_CHARS[pair] for pair in pairs])


@lru_cache(maxsize=64)
def _opening(human_part: str, version: int) -> tuple[str, int]:
    """Return what programs of a version begin with, and the checksum's state after it."""
    return f"{human_part}1{ALPHABET[version]}", _polymod([*_expanded(human_part), version])


def _polymod(values: Iterable[int]) -> int:
    state = 1
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _TERMS[state >> 25]
    return state


def _expanded(human_part: str) -> list[int]:
    codes = [ord(char) for char in human_part]
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _octets(values: Sequence[int]) -> bytes | None:
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if padding > 4 or number & (1 << padding) - 1:
        return None
    return (number >> padding).to_bytes(len(values) * 5 // 8, "big")


def _quintets(data: bytes) -> list[int]:
    padding = -len(data) * 8 % 5
    number = int.from_bytes(data, "big") << padding
    count = (len(data) * 8 + padding) // 5
    return [number >> 5 * (count - 1 - place) & 31 for place in range(count)]
