"""The running hash of a large block, made while the block is on its way to the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from engine.blocks import block_hash

ASIDE_BYTES_MIN = 1 << 17
"""Of smaller blocks the hash costs less than two threads spend on handing it over: measured, 1024
commands come out even."""


class Hasher:
    """Hashes on a thread of its own, which begins with the first block that is worth it."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[bytes, bytes] | None] = SimpleQueue()
        self._answered: SimpleQueue[bytes] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, header: bytes, records: bytes) -> Callable[[], bytes]:
        """Begin a block's hash; call what is returned, exactly once, to have it."""
        if len(records) < ASIDE_BYTES_MIN:
            return lambda: block_hash(header, records)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hasher", daemon=True)
            self._thread.start()
        self._asked.put((header, records))
        return self._answered.get

    def close(self) -> None:
        """End the thread; begin() starts another."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            self._answered.put(block_hash(*asked))
