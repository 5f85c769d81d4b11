"""Sliding windows in memory: what requests hold of the buckets, for replays and searches.

custody.velocity keeps the real ones. A charge counts from its reservation on, and until a window
after the payment's release: for every t the sum over (t - window, t] stays within the cap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from custody.policy.decision import Charge


@dataclass(frozen=True, slots=True)
class Held:
    """What one request holds of one bucket, at from_ns <= t < until_ns."""

    owner: str
    amount: int
    from_ns: int
    until_ns: int


class Windows:
    """Who holds what of every bucket."""

    def __init__(self) -> None:
        self._held: defaultdict[str, list[Held]] = defaultdict(list)

    def hold(
        self, charges: Iterable[Charge], owner: str, *, from_ns: int, released_ns: int
    ) -> None:
        """Count charges from a reservation until their window after the release."""
        for one in charges:
            until_ns = released_ns + one.window_ns
            self._held[one.key].append(Held(owner, one.amount, from_ns, until_ns))

    def used(self, charges: Iterable[Charge], now_ns: int, *, but: str = "") -> dict[str, int]:
        """Return what others than `but` hold of the charged buckets at a time."""
        return {one.key: self._sum(one.key, now_ns, but) for one in charges}

    def most(self, charge: Charge, *, from_ns: int, released_ns: int) -> int:
        """Return the most that is held of a bucket at any time while a charge would count."""
        until_ns = released_ns + charge.window_ns
        starts = {one.from_ns for one in self._held[charge.key] if from_ns < one.from_ns < until_ns}
        return max(self._sum(charge.key, at_ns, "") for at_ns in (from_ns, *starts))

    def forget(self, now_ns: int) -> None:
        """Drop what does not count any more at a time."""
        for key, held in self._held.items():
            self._held[key] = [one for one in held if one.until_ns > now_ns]

    def ends(self) -> set[int]:
        """Return the times at which something is freed."""
        return {one.until_ns for held in self._held.values() for one in held}

    def _sum(self, key: str, now_ns: int, but: str) -> int:
        return sum(
            one.amount
            for one in self._held[key]
            if one.from_ns <= now_ns < one.until_ns and one.owner != but
        )
