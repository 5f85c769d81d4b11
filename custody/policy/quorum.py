"""Quorums: `2 of officers and (1 of compliance or 3 of board)`, met by distinct persons.

    expression = term { "or" term } ;  term = factor { "and" factor }
    factor = number "of" group | "(" expression ")"

A person counts once: what `and` joins must be met by different persons.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quorum:
    """A quorum as it was written; custody.policy reads and judges it."""

    text: str
