"""A box for secrets: it shows nothing, is not pickled or copied, and opens by one word."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Bytes that must not appear in a repr, a log, a task argument or an exception."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if type(value) is not bytes:
            del value  # the frame of an error is printed by some
            raise TypeError("a secret is made of bytes")
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes. Keep them in no variable that outlives the call which needs them."""
        return self._value

    def __repr__(self) -> str:
        return "<Secret hidden>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")

    def __format__(self, spec: str) -> str:
        return repr(self)
