"""One thing that is wrong with a policy."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """ERROR: do not publish. WARNING: somebody should have meant it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong."""

    severity: Severity
    code: str
    """Stable, lower case."""
    place: str
    """As `rule small`."""
    text: str
    example: str = ""
    """A request that shows it."""


def error(code: str, place: str, text: str, example: str = "") -> Flaw:
    """Return what must not be published."""
    return Flaw(Severity.ERROR, code, place, text, example)


def warning(code: str, place: str, text: str, example: str = "") -> Flaw:
    """Return what somebody should have meant."""
    return Flaw(Severity.WARNING, code, place, text, example)
