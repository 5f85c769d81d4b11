"""Sliding windows in memory: what requests hold of the buckets, for replays and searches.

custody.velocity keeps the real ones. A charge counts from its reservation on, and until a window
after the payment's release: for every t the sum over (t - window, t] stays within the cap. Time
goes forward only: whoever asks about a moment does not ask about an earlier one again.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable

from custody.policy.decision import Charge


class Windows:
    """Who holds what of every bucket now."""

    def __init__(self) -> None:
        self._ends: defaultdict[str, list[tuple[int, str, int]]] = defaultdict(list)
        """By key, the next to end first: (end, owner, amount)."""
        self._sums: Counter[str] = Counter()
        self._owned: Counter[tuple[str, str]] = Counter()

    def hold(self, charges: Iterable[Charge], owner: str, *, released_ns: int) -> None:
        """Count charges from now until their window after the release."""
        for one in charges:
            heapq.heappush(self._ends[one.key], (released_ns + one.window_ns, owner, one.amount))
            self._add(one.key, owner, one.amount)

    def used(self, charges: Iterable[Charge], now_ns: int, *, but: str = "") -> dict[str, int]:
        """Return what others than `but` hold of the charged buckets at a time."""
        return {one.key: self._sum(one.key, now_ns) - self._owned[one.key, but] for one in charges}

    def _sum(self, key: str, now_ns: int) -> int:
        ends = self._ends[key]
        while ends and ends[0][0] <= now_ns:
            _, owner, amount = heapq.heappop(ends)
            self._add(key, owner, -amount)
        return self._sums[key]

    def _add(self, key: str, owner: str, amount: int) -> None:
        self._sums[key] += amount
        self._owned[key, owner] += amount
        if not self._owned[key, owner]:
            del self._owned[key, owner]
