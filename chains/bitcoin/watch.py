"""What a follower looks for in blocks: many scripts, and the coins of our own.

Interface, all that readers use: `Keys(…)`, `add`, `len` and `in`; `in` takes the exact bytes of a
script (or the 36 bytes of a coin) and costs the same however many there are. It may say yes where
the answer is no (readers compare the text once more), never the other way round.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable

_FORGET_ABOVE = 10_000


class Keys:
    """A growing set of byte texts."""

    __slots__ = ("_known",)

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._known = set(keys)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def add(self, keys: Iterable[bytes]) -> None:
        """Look for these, too."""
        self._known.update(keys)


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
