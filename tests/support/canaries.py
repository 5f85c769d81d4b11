"""Planted secrets, and where they must not turn up: errors with every frame's locals."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from types import TracebackType


def spellings(secret: bytes) -> tuple[bytes, ...]:
    """Return how a secret may be written down: plain, hex, base64 at every alignment, reversed."""
    assert len(secret) >= 8, "too short to be told from chance"
    found = [secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode()]
    for skip in range(3):
        # Inside longer text base64 starts at one of three alignments; whole groups stay the same.
        whole = secret[skip : skip + (len(secret) - skip) // 3 * 3]
        found += [base64.b64encode(whole), base64.urlsafe_b64encode(whole)]
    return tuple(dict.fromkeys(found))


def leaks(text: str | bytes, secrets: dict[str, bytes]) -> set[str]:
    """Return the names of the secrets that stand in a text in any spelling."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return {
        name
        for name, secret in secrets.items()
        if any(spelling in data for spelling in spellings(secret))
    }


def told(error: BaseException) -> str:
    """Return all that an error tells a logger that prints the locals of every frame.

    Frames of tests are left out: they know the secrets they planted.
    """
    return "\n".join(_told(error, set()))


def _told(error: BaseException | None, seen: set[int]) -> Iterator[str]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield repr(error)
    yield str(error)
    yield repr(vars(error))
    yield from _locals(error.__traceback__)
    yield from _told(error.__cause__, seen)
    yield from _told(error.__context__, seen)


def _locals(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{name} = {value!r}"
        trace = trace.tb_next
