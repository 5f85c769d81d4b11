"""What a follower looks for in blocks: many scripts, and the coins of our own.

Interface, all that readers use: `Keys(…)`, `add`, `len` and `in`; `in` takes the exact bytes of a
script (or the 36 bytes of a coin) and costs the same however many there are. It may say yes where
the answer is no (readers compare the text once more), never the other way round.

A key is kept as 16 bytes: the upper third of its product with a secret factor, modulo 2^384. For
two different keys these are equal for at most 2 in 2^127 factors (Dietzfelbinger and others, 1997),
whatever a sender writes into outputs, since the factor is drawn here and never shown. They stand in
a flat table, each at its home or at the next free place after it; at least a fifth is free.
The native twin of the table is chains/native/keys.hpp: the same factor gives the same bytes.
"""

from __future__ import annotations

import itertools
import threading
from array import array
from collections.abc import Callable, Collection, Iterable

from chains.native import IS_BUILT
from core.entropy import SystemEntropy

KEY_BYTES_MAX = 47
"""What is longer is no output script with an address."""
FACTOR_BYTES = 48

_ENTRY_BYTES = 16
_FREE = bytes(_ENTRY_BYTES)
_SHIFT = 8 * (FACTOR_BYTES - _ENTRY_BYTES)
_MASK = (1 << 8 * FACTOR_BYTES) - 1
_AT_ONCE = 1 << 14
_FORGET_ABOVE = 10_000


class Keys:
    """A growing set of byte texts, at most 24 bytes of memory for each once there are many.

    `native` is for the tests that hold both ways against each other, `factor` (48 bytes, odd) too.
    """

    __slots__ = ("_count", "_factor", "_native", "_number", "_table")

    def __init__(
        self, keys: Iterable[bytes] = (), *, factor: bytes | None = None, native: bool = IS_BUILT
    ) -> None:
        drawn = bytearray(SystemEntropy().token_bytes(FACTOR_BYTES) if factor is None else factor)
        drawn[0] |= 1
        self._factor = bytes(drawn)
        self._number = int.from_bytes(drawn, "little")
        self._native = native
        self._table = bytearray()
        self._count = 0
        self.add(keys)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes) or len(key) > KEY_BYTES_MAX:
            return False
        if self._native:
            from chains.native import _blocks

            return _blocks.has(self._table, self._factor, key)
        return bool(self._count) and self._place(self._entry(key))[1]

    @property
    def table(self) -> bytes:
        """Return the bytes of the table."""
        return bytes(self._table)

    @property
    def table_bytes(self) -> int:
        """Return how many bytes the table has."""
        return len(self._table)

    def add(self, keys: Iterable[bytes]) -> None:
        """Look for these, too. ValueError: one is longer than any script with an address."""
        left = iter(keys)
        while some := list(itertools.islice(left, _AT_ONCE)):
            if any(len(key) > KEY_BYTES_MAX for key in some):
                raise ValueError(f"a key has at most {KEY_BYTES_MAX} bytes")
            self._make_room(self._count + len(some))
            if self._native:
                from chains.native import _blocks

                self._count += _blocks.add(self._table, self._factor, some)
            else:
                self._count += sum(self._put(self._entry(key)) for key in some)

    def paid(self, raw: bytes, outputs: array[int]) -> list[int] | None:
        """Return which of the outputs at these places of a block pay to a key.

        None: there is no native kernel to say it at once.
        """
        if not self._native:
            return None
        from chains.native import _blocks

        return _blocks.paid(raw, memoryview(outputs), self._table, self._factor)

    def used(self, raw: bytes, inputs: array[int]) -> list[int] | None:
        """Return which of the inputs at these places of a block name a key; None as in paid."""
        if not self._native:
            return None
        from chains.native import _blocks

        return _blocks.used(raw, memoryview(inputs), self._table, self._factor)

    def _entry(self, key: bytes) -> bytes:
        # The byte behind the end makes keys of different lengths different numbers.
        number = int.from_bytes(key + b"\x01", "little")
        return ((number * self._number & _MASK) >> _SHIFT | 1).to_bytes(_ENTRY_BYTES, "little")

    def _place(self, entry: bytes) -> tuple[int, bool]:
        """Return where in the table an entry stands or would stand, and whether it does."""
        table = self._table
        room = len(table) // _ENTRY_BYTES
        place = int.from_bytes(entry[8:], "little") * room >> 64
        while True:
            at = place * _ENTRY_BYTES
            found = table[at : at + _ENTRY_BYTES]
            if found in (entry, _FREE):
                return at, found == entry
            place = place + 1 if place + 1 < room else 0

    def _put(self, entry: bytes) -> bool:
        at, is_there = self._place(entry)
        self._table[at : at + _ENTRY_BYTES] = entry
        return not is_there

    def _make_room(self, count: int) -> None:
        if 5 * count * _ENTRY_BYTES <= 4 * len(self._table):
            return
        old, self._table = self._table, bytearray(3 * (count + 1) // 2 * _ENTRY_BYTES)
        if self._native:
            from chains.native import _blocks

            _blocks.move(old, self._table)
            return
        for at in range(0, len(old), _ENTRY_BYTES):
            entry = bytes(old[at : at + _ENTRY_BYTES])
            if entry != _FREE:
                self._put(entry)


class Watched:
    """The bytes of addresses, or of coins' names, each encoded once however often it is asked for.

    may_forget: what was not asked for again is dropped at times (coins that are long gone); else
    the keys only grow (an address stays ours for ever).
    """

    def __init__(self, encode: Callable[[str], bytes], *, may_forget: bool = False) -> None:
        self._encode = encode
        self._may_forget = may_forget
        self._texts: set[str] = set()
        self._keys = Keys()
        self._lock = threading.Lock()

    def keys_of(self, texts: Collection[str]) -> Keys:
        """Return keys that contain at least those of these texts. Refused: as `encode`."""
        asked = texts if isinstance(texts, (set, frozenset)) else frozenset(texts)
        with self._lock:
            if self._may_forget and len(self._texts) > 4 * len(asked) + _FORGET_ABOVE:
                self._texts, self._keys = set(), Keys()
            fresh = asked - self._texts
            if fresh:
                self._keys.add([self._encode(text) for text in fresh])
                self._texts |= fresh
            return self._keys
