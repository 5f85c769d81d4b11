"""Seeded numbers for workloads: splitmix64, so that every language draws the same ones."""

from __future__ import annotations

_MASK = (1 << 64) - 1


class Draws:
    """A stream of numbers that its seed alone decides.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next(self) -> int:
        """Return the next 64 bits."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
        return z ^ z >> 31

    def below(self, limit: int) -> int:
        """Return a number from 0 up to limit - 1."""
        return self.next() * limit >> 64

    def chance(self, per_mille: int) -> bool:
        """Return True that many times out of a thousand."""
        return self.next() * 1000 >> 64 < per_mille
