"""How much room a transaction takes once signed: the builder's arithmetic, not the judge's.

Weights in weight units, four to a virtual byte (BIP-141). What is not known before signing counts
with its most: a signature of ECDSA has at most 71 bytes and its scope, one of BIP-340 has 64.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Reason, Refused

_INPUT = 4 * (32 + 4 + 1 + 4)
KEY_HASH_INPUT = _INPUT + 1 + 1 + 72 + 1 + 33
"""68 virtual bytes: a coin of a key's hash as a version-0 witness program."""
TAPROOT_INPUT = _INPUT + 1 + 1 + 64
"""57.5 virtual bytes: a coin of a taproot key, spent by the key."""
_FIXED = 4 * (4 + 4) + 2


def input_weight(script: bytes) -> int:
    """Return what spending a coin of this script weighs at most. Refused: foreign_input."""
    if len(script) == 22 and script[:2] == b"\x00\x14":
        return KEY_HASH_INPUT
    if len(script) == 34 and script[:2] == b"\x51\x20":
        return TAPROOT_INPUT
    raise Refused(Reason.FOREIGN_INPUT, "only coins of one key are spent here")


def output_weight(script: bytes) -> int:
    """Return what an output to this script weighs; scripts with addresses are short."""
    return 4 * (8 + 1 + len(script))


def frame_weight(inputs: int, outputs: int) -> int:
    """Return what a transaction weighs beside its inputs and outputs."""
    return _FIXED + 4 * (_count_bytes(inputs) + _count_bytes(outputs))


def virtual_size(inputs: Sequence[bytes], outputs: Sequence[bytes]) -> int:
    """Return the virtual bytes of a transaction, by the scripts that it spends and pays to."""
    weight = frame_weight(len(inputs), len(outputs))
    weight += sum(map(input_weight, inputs)) + sum(map(output_weight, outputs))
    return -(-weight // 4)


def dust_limit(script: bytes) -> int:
    """Return the least amount that nodes relay to a script. Source: Bitcoin Core's default."""
    return {22: 294, 34: 330, 25: 546, 23: 540}[len(script)]


def _count_bytes(count: int) -> int:
    return 1 if count < 0xFD else 3
