"""The other place that catches what it cannot name: one broken question stops no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from core.errors import StrongroomError, Unavailable

_log = structlog.get_logger("shielded")
_T = TypeVar("_T")


class Unexpected(Unavailable):
    """Something that nobody named; its traceback is in the log."""


def shielded(work: Callable[[], _T], what: str) -> _T:
    """Do something for somebody else; what nobody named becomes Unexpected, not our end."""
    try:
        return work()
    except StrongroomError:
        raise
    except Exception as error:
        _log.exception("unexpected", what=what)
        raise Unexpected(f"{what}: unexpected") from error
