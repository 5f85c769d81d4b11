"""How long things took: counts by value in bounded memory, percentiles as integers of nanoseconds.

The layout is that of HDR histograms (Tene, hdrhistogram.org): a value keeps its leading 12 bits, so
everything below 4 096 ns is exact and nothing above is more than 1/2 048 too large. A percentile is
the smallest recorded value that at least so many of all values do not exceed, rounded up to the end
of its bucket; the greatest value of all is exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

KEPT_BITS = 12
_HALF = 1 << (KEPT_BITS - 1)
_EXACT_BELOW = 1 << KEPT_BITS
_BUCKETS = _EXACT_BELOW + (64 - KEPT_BITS) * _HALF
VALUE_LIMIT = 1 << 63
PPM = 1_000_000
SHOWN_PPM = {"p50": 500_000, "p90": 900_000, "p99": 990_000, "p99.9": 999_000}
"""The percentiles of every table, in millionths."""


def bucket_of(value: int) -> int:
    """Return the bucket of a value."""
    shift = value.bit_length() - KEPT_BITS
    return value if shift <= 0 else _EXACT_BELOW + (shift - 1) * _HALF + (value >> shift) - _HALF


def top_of(bucket: int) -> int:
    """Return the greatest value of a bucket."""
    if bucket < _EXACT_BELOW:
        return bucket
    shift, leading = divmod(bucket - _EXACT_BELOW, _HALF)
    return ((leading + _HALF + 1) << (shift + 1)) - 1


class Histogram:
    """Values from 0 below 2^63; 900 kB whatever is recorded."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.total = 0
        self.min = 0
        self.max = 0

    def record(self, value: int, count: int = 1) -> None:
        """Count a value. ValueError: it is negative or 2^63 and more."""
        if not 0 <= value < VALUE_LIMIT:
            raise ValueError(f"{value} is no duration")
        self._counts[bucket_of(value)] += count
        self.min = min(self.min, value) if self.count else value
        self.max = max(self.max, value)
        self.count += count
        self.total += value * count

    def add(self, other: Histogram) -> None:
        """Count everything that another one counted."""
        if not other.count:
            return
        for bucket, count in enumerate(other._counts):
            if count:
                self._counts[bucket] += count
        self.min = min(self.min, other.min) if self.count else other.min
        self.max = max(self.max, other.max)
        self.count += other.count
        self.total += other.total

    def percentile(self, ppm: int) -> int:
        """Return the value that ppm millionths do not exceed. ValueError: empty, or no share."""
        if not 0 < ppm <= PPM or not self.count:
            raise ValueError(f"no {ppm} millionths of {self.count} values")
        wanted = -(-self.count * ppm // PPM)
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(top_of(bucket), self.max)
        raise AssertionError("counts and count differ")

    def mean(self) -> int:
        """Return the rounded-down mean of the values themselves. ValueError: empty."""
        if not self.count:
            raise ValueError("no values")
        return self.total // self.count

    def steps(self) -> Iterator[tuple[int, int]]:
        """Yield (how many values are not above it, value) for every bucket in use, ascending."""
        seen = 0
        for bucket, count in enumerate(self._counts):
            if count:
                seen += count
                yield seen, min(top_of(bucket), self.max)

    def shown(self) -> dict[str, int]:
        """Return the percentiles of every table and the greatest value, in ns."""
        found = {name: self.percentile(ppm) for name, ppm in SHOWN_PPM.items()}
        return found | {"max": self.max}
