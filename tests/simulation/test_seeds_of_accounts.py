"""Fifty seeds end well, and what they are meant to exercise really happened.

The next fifty stand in a file of their own, because all of a file runs in one process.
"""

from __future__ import annotations

from tests.simulation.seeds import check_seeds


def test_the_first_fifty_seeds_end_well_and_meant_something() -> None:
    check_seeds(range(1, 51))
