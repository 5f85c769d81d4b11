"""The seam for randomness.

One source, the operating system's, and a seeded one for the simulator.
"""

from __future__ import annotations

import hashlib
import os
import random
from typing import Protocol


class Entropy(Protocol):
    """Where every random byte of the platform comes from."""

    def token_bytes(self, count: int) -> bytes:
        """Return count random bytes."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def token_bytes(self, count: int) -> bytes:
        """Return count bytes from os.urandom."""
        return os.urandom(count)


class SeededEntropy:
    """Reproducible bytes keyed by a seed and a label.

    Refuses nothing, protects nothing: tests and simulation only.
    """

    def __init__(self, seed: int, label: str = "") -> None:
        self._key = hashlib.sha256(f"strongroom/seeded/{seed}/{label}".encode()).digest()
        self._counter = 0

    def token_bytes(self, count: int) -> bytes:
        """Return the next count bytes of the stream."""
        out = b""
        while len(out) < count:
            out += hashlib.sha256(self._key + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        return out[:count]


class SeededDice(random.Random):
    """Reproducible numbers and choices for the laboratory, tests and simulation.

    The seed decides everything; protects nothing.
    """
