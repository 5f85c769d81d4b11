"""What the books have not yet followed: applied blocks in memory, bounded by the sequencer."""

from __future__ import annotations

import threading
from collections import deque

from core.errors import Corrupt
from engine.applied import AppliedBlock


class EventLog:
    """Blocks in order; settlement reads them, posts them, and says how far it came. Thread-safe."""

    def __init__(self, *, projected_sequence: int = 0) -> None:
        self._lock = threading.Lock()
        self._blocks: deque[AppliedBlock] = deque()
        self._projected_sequence = projected_sequence
        self._last_sequence = projected_sequence
        self._pending_events = 0

    @property
    def last_sequence(self) -> int:
        """Return the sequence of the last published command."""
        return self._last_sequence

    @property
    def projected_sequence(self) -> int:
        """Return how far the books have followed."""
        return self._projected_sequence

    @property
    def pending_events(self) -> int:
        """Return how many events the books have not yet followed."""
        return self._pending_events

    def append(self, block: AppliedBlock) -> None:
        """Publish the next block. Corrupt: it does not follow the last one."""
        with self._lock:
            if block.first_sequence != self._last_sequence + 1:
                raise Corrupt(f"block at {block.first_sequence} follows {self._last_sequence}")
            self._blocks.append(block)
            self._last_sequence = block.last_sequence
            self._pending_events += block.event_count

    def blocks_after(self, sequence: int, limit: int) -> list[AppliedBlock]:
        """Return at most `limit` blocks after a sequence that ends a block, in order.

        Corrupt: blocks after it were dropped already, because the books said they had them.
        """
        with self._lock:
            if sequence < self._projected_sequence:
                raise Corrupt(f"asked for {sequence}, dropped up to {self._projected_sequence}")
            found: list[AppliedBlock] = []
            for block in self._blocks:
                if len(found) >= limit:
                    break
                if block.first_sequence > sequence:
                    found.append(block)
            return found

    def mark_projected(self, sequence: int) -> None:
        """Drop the blocks the books have posted, up to a sequence that ends a block.

        Corrupt: nothing like it was published. Going back is no error and has no effect.
        """
        with self._lock:
            if sequence > self._last_sequence:
                raise Corrupt(f"books at {sequence}, but only {self._last_sequence} was published")
            while self._blocks and self._blocks[0].last_sequence <= sequence:
                block = self._blocks.popleft()
                self._pending_events -= block.event_count
                self._projected_sequence = block.last_sequence
