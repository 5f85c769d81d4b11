"""The seam for time. Order in time is a sequence, never a clock; a clock only dates and expires."""

from __future__ import annotations

import time
from typing import Protocol

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


class Clock(Protocol):
    """What production and the simulator both implement."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC; may step."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never step back; for intervals and deadlines."""
        ...

    def sleep(self, duration_ns: int) -> None:
        """Wait, or in the simulator move time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return the monotonic clock in nanoseconds."""
        return time.monotonic_ns()

    def sleep(self, duration_ns: int) -> None:
        """Block the thread for duration_ns nanoseconds."""
        time.sleep(max(0, duration_ns) / SECOND_NS)


class ManualClock:
    """A clock that moves only when told: simulation and tests."""

    def __init__(self, now_ns: int = 1_700_000_000 * SECOND_NS) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        """Return the set wall time in nanoseconds."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """Return the time advanced so far in nanoseconds."""
        return self._monotonic_ns

    def sleep(self, duration_ns: int) -> None:
        """Advance at once instead of waiting."""
        self.advance(duration_ns)

    def advance(self, duration_ns: int) -> None:
        """Move both clocks forward."""
        if duration_ns < 0:
            raise ValueError("time is advanced; use step() to fake a step of the wall clock")
        self._now_ns += duration_ns
        self._monotonic_ns += duration_ns

    def step(self, delta_ns: int) -> None:
        """Step the wall clock only, forwards or backwards, as an operator or NTP might."""
        self._now_ns += delta_ns
