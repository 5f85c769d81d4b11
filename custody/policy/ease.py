"""Whether a change lets more or less through: compared by persons and delay."""

from __future__ import annotations

import enum

Ease = tuple[int, int] | None
"""How many persons and how much delay a payment needs; None: it is blocked."""


class Direction(enum.StrEnum):
    """What a change does to what may leave."""

    LOOSER = "looser"
    STRICTER = "stricter"
    OTHER = "other"


def direction(before: Ease, after: Ease) -> Direction:
    """Compare what a payment needs before and after a change."""
    if before == after:
        return Direction.OTHER
    if before is None or after is None:
        return Direction.LOOSER if before is None else Direction.STRICTER
    pairs = list(zip(before, after, strict=True))
    if all(new <= old for old, new in pairs):
        return Direction.LOOSER
    return Direction.STRICTER if all(new >= old for old, new in pairs) else Direction.OTHER
