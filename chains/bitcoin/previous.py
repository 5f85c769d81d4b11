"""The transactions that coins come from, kept for a while: they never change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

BYTES_MAX = 32_000_000
"""All that is kept at once."""


class PreviousTransactions:
    """Fetches a transaction once; the bytes prove themselves by their hash."""

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, tx_id: str) -> bytes:
        """Return a whole transaction. Unavailable: no node has it."""
        with self._lock:
            if tx_id in self._kept:
                self._kept.move_to_end(tx_id)
                return self._kept[tx_id]
        raw = self._fetch(tx_id)
        with self._lock:
            if tx_id not in self._kept:
                self._kept[tx_id] = raw
                self._bytes += len(raw)
            while self._bytes > BYTES_MAX:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return raw
