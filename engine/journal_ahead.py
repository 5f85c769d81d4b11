"""Room made before it is needed: zeros ahead of the last block, and the next segment.

A file is kept about twice as long as what is written into it, up to a whole segment: a small
journal stays small, opening one costs a few pages, and a busy one has all the room there is. Past
half of a segment the next one is begun beside it. All of that is done in bounded steps by a thread
of its own; where there is none, or it is late, the writer makes a little room before it writes.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

from core.errors import Unavailable
from engine.blocks import HEADER_BYTES
from engine.files import Storage, WritableFile

FIRST_BYTES = 1 << 14
STEP_BYTES = 1 << 18


@dataclass(slots=True)
class _Spare:
    """The next segment: created, not in place, zeros so far."""

    name: str
    ready: int = 0


class Ahead:
    """The room of one journal. The writer's thread calls all but step() and close()."""

    def __init__(self, storage: Storage, segment_bytes: int) -> None:
        self._storage = storage
        self._segment_bytes = segment_bytes
        # Held while zeros are written: nobody writes zeros where the other has gone on to write.
        self._lock = threading.Lock()
        self._name = ""
        self._written = self._ready = 0
        self._next_name = ""
        self._spare: _Spare | None = None
        self._taken_ready = 0
        # Of the thread that steps: a sync that fails is told once to each open file, so it must not
        # be the writer's file that this thread syncs.
        self._own: WritableFile | None = None
        self._own_name = ""
        self._failed_name = ""

    # ---- for the writer

    def take(self, name: str) -> WritableFile:
        """Return the file of a new segment, not yet in place, with room for its first blocks."""
        with self._lock:
            spare, self._spare, self._next_name = self._spare, None, ""
            if spare is not None and spare.name == name:
                file, ready = self._storage.reopen(name), spare.ready
            else:
                file, ready = self._storage.create(name), 0
        room = min(FIRST_BYTES, self._segment_bytes)
        if ready < room:
            try:
                file.write_zeros(max(ready, HEADER_BYTES), room)
            except Unavailable:
                file.close()
                raise
        self._taken_ready = max(ready, room)
        return file

    def began(self, name: str, next_name: str) -> None:
        """Take note that the segment last taken is in place."""
        with self._lock:
            self._name, self._next_name = name, next_name
            self._written, self._ready = HEADER_BYTES, self._taken_ready

    def make_room(self, file: WritableFile, end: int) -> None:
        """Return when there are zeros up to `end`. Unavailable: no space, and nothing is lost."""
        if end <= self._ready:
            return
        with self._lock:
            if end > self._ready:
                upto = max(end, min(self._goal(), self._ready + STEP_BYTES))
                file.write_zeros(self._ready, upto)
                self._ready = upto

    def written(self, end: int) -> None:
        """Take note of how far blocks reach."""
        self._written = end

    # ---- for the thread that prepares

    def has_work(self) -> bool:
        """Return whether step() would find something to do."""
        if self._ready < self._goal():
            return self._name != self._failed_name
        if 2 * self._written < self._segment_bytes or self._next_name in ("", self._failed_name):
            return False
        return self._spare is None or self._spare.ready < self._segment_bytes

    def step(self) -> bool:
        """Write and sync at most STEP_BYTES zeros; return whether there was something to do."""
        with self._lock:
            if not self.has_work():
                return False
            is_spare = self._ready >= self._goal()
            name = self._next_name if is_spare else self._name
            try:
                file, start, upto = self._zero_on(name, is_spare=is_spare)
            except Unavailable:
                self._failed_name = name  # the writer will meet it where it can say so
                return False
        try:
            file.sync()
        except Unavailable:
            self._failed_name = name
            return False
        with self._lock:
            if self._spare is not None and self._spare.name == name:
                self._spare.ready = max(self._spare.ready, upto)
            elif self._name == name and self._ready >= start:
                self._ready = max(self._ready, upto)
        return True

    def close(self) -> None:
        """Let go of everything; the thread that steps has ended."""
        if self._own is not None:
            self._own.close()
            self._own, self._own_name = None, ""
        if self._spare is not None:
            with contextlib.suppress(Unavailable):
                self._storage.discard(self._spare.name)
            self._spare = None

    def _zero_on(self, name: str, *, is_spare: bool) -> tuple[WritableFile, int, int]:
        if is_spare and self._spare is None:
            self._storage.create(name).close()
            self._spare = _Spare(name)
        if self._own is None or self._own_name != name:
            if self._own is not None:
                self._own.close()
            self._own, self._own_name = None, ""
            self._own = (self._storage.reopen if is_spare else self._storage.open)(name)
            self._own_name = name
        if is_spare:
            assert self._spare is not None
            start, goal = self._spare.ready, self._segment_bytes
        else:
            start, goal = self._ready, self._goal()
        upto = min(goal, start + STEP_BYTES)
        self._own.write_zeros(start, upto)
        return self._own, start, upto

    def _goal(self) -> int:
        """Return how far the zeros of this segment should reach: in steps that double."""
        goal = FIRST_BYTES
        while goal < 2 * self._written:
            goal *= 2
        return min(goal, self._segment_bytes)
