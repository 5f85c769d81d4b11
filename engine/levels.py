"""The levels of a book by price, and the checksum by which two copies of it are compared.

The checksum is CRC-32 (that of zlib, PNG and Ethernet: polynomial 0x04C11DB7, reflected) of an
ASCII text over the best ten levels of both sides, best first:

    <bid ticks>:<lots>,<bid ticks>:<lots>,...|<ask ticks>:<lots>,<ask ticks>:<lots>,...

So a book with bids 99 x 5, 98 x 7 and ask 101 x 3 gives CRC-32 of `99:5,98:7|101:3`, 0x82305214,
and an empty one that of `|`, 0x8BB1D29A. Ticks and lots are decimal integers, so there is one text
for a book in every language. Ten levels, as Kraken has it, rather than all: a reader that keeps
only the upper part of a book can check it too, and a change further down costs nothing here. What
is wrong further down is found when it comes into the best ten. The separators make the text
unambiguous, which Kraken's digits without any are not.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence

from engine.enums import Side

CHECKED_LEVELS = 10
"""The checksum covers so many of the best levels of each side."""

PriceLevel = tuple[int, int]
"""(price in ticks, lots); 0 lots: the level is gone."""


def checksum(bids: Iterable[PriceLevel], asks: Iterable[PriceLevel]) -> int:
    """Return the checksum of levels given best first; those after the tenth do not count."""
    return _crc(_text(list(bids)[:CHECKED_LEVELS]), _text(list(asks)[:CHECKED_LEVELS]))


class Levels:
    """The prices of one side, with their lots."""

    __slots__ = ("_keys", "_lots", "_sign", "_text")

    def __init__(self, side: Side, levels: Iterable[PriceLevel] = ()) -> None:
        self._sign = 1 if side is Side.BUY else -1
        self._lots = dict(levels)
        # Ascending, so that the best price stands last and most changes move few keys.
        self._keys = sorted(self._sign * price for price in self._lots)
        self._text: str | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def lots(self, price_ticks: int) -> int:
        """Return the lots at a price; 0: no level."""
        return self._lots.get(price_ticks, 0)

    def put(self, price_ticks: int, lots: int) -> None:
        """Set the lots at a price; 0 removes the level."""
        key, keys = self._sign * price_ticks, self._keys
        if len(keys) < CHECKED_LEVELS or key >= keys[-CHECKED_LEVELS]:
            self._text = None
        if not lots:
            if self._lots.pop(price_ticks, 0):
                del keys[bisect_left(keys, key)]
            return
        if price_ticks not in self._lots:
            insort(keys, key)
        self._lots[price_ticks] = lots

    def put_all(self, levels: Iterable[PriceLevel]) -> None:
        """Set several."""
        for price_ticks, lots in levels:
            self.put(price_ticks, lots)

    def copy(self) -> Levels:
        """Return a copy that changes alone."""
        twin = Levels(Side.BUY)
        twin._sign, twin._lots, twin._keys = self._sign, self._lots.copy(), self._keys.copy()
        return twin

    def best(self, count: int) -> tuple[PriceLevel, ...]:
        """Return the best levels, best first."""
        sign, lots = self._sign, self._lots
        keys = self._keys[-count:] if count > 0 else []
        return tuple((sign * key, lots[sign * key]) for key in reversed(keys))

    def best_price(self) -> int | None:
        """Return the best price in ticks; None: the side is empty."""
        return self._sign * self._keys[-1] if self._keys else None

    def text(self) -> str:
        """Return what the checksum covers of this side."""
        if self._text is None:
            self._text = _text(self.best(CHECKED_LEVELS))
        return self._text

    def ordered(self, levels: Iterable[PriceLevel]) -> tuple[PriceLevel, ...]:
        """Return levels in the order of this side, best first."""
        return tuple(sorted(levels, reverse=self._sign > 0))

    def __iter__(self) -> Iterator[PriceLevel]:
        return iter(self.best(len(self)))


def checksum_of(bids: Levels, asks: Levels) -> int:
    """Return the checksum of a book."""
    return _crc(bids.text(), asks.text())


def _text(levels: Sequence[PriceLevel]) -> str:
    return ",".join([f"{price}:{lots}" for price, lots in levels])


def _crc(bids: str, asks: str) -> int:
    return zlib.crc32(f"{bids}|{asks}".encode("ascii"))
