"""A reader's copy of a book: one depth, then every delta after it; nothing wrong is ever kept.

Whatever is lost, repeated, out of order or damaged on the way raises BookMismatch, and from then
on the copy answers nothing: its owner takes a new depth. This is the whole of the protocol, for
readers in other languages too:

1. Take a depth: levels, `update`, `sequence`, `checksum`. It must have that checksum itself.
2. The next delta has `update` one higher, and `previous_sequence <= sequence < its own sequence`.
   A depth of long ago, taken from the journal, has no update number; the second rule is enough.
3. Set every level named by the delta; 0 lots removes it.
4. The checksum of the result (engine.levels) must be the delta's.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from core.errors import Unavailable
from engine.enums import Side
from engine.levels import Levels, PriceLevel, checksum_of


class Mismatch(enum.StrEnum):
    """Why a copy is not the book any more."""

    STALE = "stale"
    """A delta that the copy has already, or one from before it."""
    GAP = "gap"
    """Deltas before this one are missing."""
    CHECKSUM = "checksum"
    """The levels differ."""
    LOST = "lost"
    """An earlier mismatch was not answered with a new depth."""


class BookMismatch(Unavailable):
    """The stream did not bring the book; take a new depth."""

    def __init__(self, why: Mismatch, what: str) -> None:
        super().__init__(f"{why.value}: {what}", retry_after_ms=0)
        self.why = why


class DepthLike(Protocol):
    """What a copy begins with: at least the best ten levels of a side that has so many."""

    @property
    def update(self) -> int | None:
        """Return the number of the last delta in it; None: not known."""
        ...

    @property
    def sequence(self) -> int:
        """Return the engine's sequence up to which it is right."""
        ...

    @property
    def checksum(self) -> int:
        """Return the checksum of the book after it."""
        ...

    @property
    def bids(self) -> Sequence[PriceLevel]:
        """Return levels of buyers."""
        ...

    @property
    def asks(self) -> Sequence[PriceLevel]:
        """Return levels of sellers."""
        ...


class DeltaLike(DepthLike, Protocol):
    """What it goes on with."""

    @property
    def previous_sequence(self) -> int:
        """Return the sequence of the delta before it."""
        ...


class BookClient:
    """Keeps a copy of one market's book."""

    def __init__(self, depth: DepthLike) -> None:
        """Begin at a depth. BookMismatch: its checksum is not that of its levels."""
        self.begin(depth)

    def begin(self, depth: DepthLike) -> None:
        """Begin again. BookMismatch: the depth's checksum is not that of its levels."""
        self._bids = Levels(Side.BUY, depth.bids)
        self._asks = Levels(Side.SELL, depth.asks)
        self._update, self._sequence = depth.update, depth.sequence
        self._is_lost = False
        self._check(depth.checksum)

    @property
    def update(self) -> int | None:
        """Return the number of the last delta; None: not known yet. Ask for those after it."""
        return self._update

    @property
    def sequence(self) -> int:
        """Return the engine's sequence up to which the copy is right."""
        return self._sequence

    def bids(self, count: int) -> tuple[PriceLevel, ...]:
        """Return the best bids, best first. BookMismatch: the copy is lost."""
        self._check_kept()
        return self._bids.best(count)

    def asks(self, count: int) -> tuple[PriceLevel, ...]:
        """Return the best asks, best first. BookMismatch: the copy is lost."""
        self._check_kept()
        return self._asks.best(count)

    def apply(self, delta: DeltaLike) -> None:
        """Apply the next delta. BookMismatch: it is not the next one, or the result is wrong."""
        self._check_kept()
        self._check_order(delta)
        for mine, changed in ((self._bids, delta.bids), (self._asks, delta.asks)):
            mine.put_all(changed)
        self._update, self._sequence = delta.update, delta.sequence
        self._check(delta.checksum)

    def _check_order(self, delta: DeltaLike) -> None:
        where = f"update {delta.update} at {delta.sequence}, the copy is {self._update}"
        is_numbered = self._update is not None and delta.update is not None
        if delta.sequence <= self._sequence:
            raise self._lose(Mismatch.STALE, f"{where} at {self._sequence}")
        if delta.previous_sequence > self._sequence:
            raise self._lose(Mismatch.GAP, f"{where} at {self._sequence}")
        if is_numbered and delta.update != (self._update or 0) + 1:
            raise self._lose(Mismatch.GAP, f"{where} at {self._sequence}")

    def _check(self, checksum: int) -> None:
        found = checksum_of(self._bids, self._asks)
        if found != checksum:
            raise self._lose(Mismatch.CHECKSUM, f"{found:08x} instead of {checksum:08x}")

    def _check_kept(self) -> None:
        if self._is_lost:
            raise BookMismatch(Mismatch.LOST, "take a new depth first")

    def _lose(self, why: Mismatch, what: str) -> BookMismatch:
        self._is_lost = True
        return BookMismatch(why, what)
