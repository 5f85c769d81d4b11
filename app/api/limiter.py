"""How much one key, or one peer without a key, may ask for: token buckets in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from core.clock import SECOND_NS, Clock

BUCKETS_MAX = 10_000


class Limiter:
    """One bucket per name; the least used one is forgotten first, which only ever gives more."""

    def __init__(
        self, clock: Clock, *, per_s: int, burst: int, buckets_max: int = BUCKETS_MAX
    ) -> None:
        self._clock = clock
        self._cost_ns = SECOND_NS // max(1, per_s)
        self._depth_ns = self._cost_ns * max(1, burst)
        self._buckets_max = buckets_max
        self._lock = threading.Lock()
        self._full_at_ns: OrderedDict[str, int] = OrderedDict()
        """Name -> when its bucket is full again (generic cell rate algorithm)."""

    def take(self, name: str) -> int:
        """Take one from a bucket; return 0, or in how many nanoseconds to ask again."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            full_at_ns = max(now_ns, self._full_at_ns.get(name, now_ns)) + self._cost_ns
            wait_ns = full_at_ns - now_ns - self._depth_ns
            if wait_ns > 0:
                return wait_ns
            self._full_at_ns[name] = full_at_ns
            self._full_at_ns.move_to_end(name)
            while len(self._full_at_ns) > self._buckets_max:
                self._full_at_ns.popitem(last=False)
            return 0
