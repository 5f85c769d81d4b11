"""Keyed randomness: a draw depends on the seed, its label and how often that was asked before.

A decision added elsewhere shifts nothing here, so a seed keeps its story while the world grows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from core.entropy import SeededEntropy
from core.money import PPM

T = TypeVar("T")


class KeyedRandom:
    """Every choice of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._asked: Counter[str] = Counter()

    def below(self, label: str, limit: int) -> int:
        """Return a number in 0..limit-1."""
        assert limit >= 1
        number = self._asked[label]
        self._asked[label] += 1
        digest = hashlib.blake2b(f"{self.seed}/{label}/{number}".encode(), digest_size=16).digest()
        return int.from_bytes(digest, "big") % limit

    def between(self, label: str, low: int, high: int) -> int:
        """Return a number in low..high, both included."""
        return low + self.below(label, high - low + 1)

    def chance(self, label: str, odds_ppm: int) -> bool:
        """Return True in odds_ppm of a million cases."""
        return self.below(label, PPM) < odds_ppm

    def pick(self, label: str, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[self.below(label, len(choices))]

    def weighted(self, label: str, weights: Mapping[T, int]) -> T:
        """Return one of the keys, each as often as its weight says."""
        left = self.below(label, sum(weights.values()))
        for choice, weight in weights.items():
            if left < weight:
                return choice
            left -= weight
        raise AssertionError("weights sum to what was drawn from")

    def entropy(self, label: str) -> SeededEntropy:
        """Return a stream of bytes for one purpose."""
        return SeededEntropy(self.seed, f"simulation/{label}")
