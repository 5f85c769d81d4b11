"""Another fifty seeds end well, and what they are meant to exercise really happened."""

from __future__ import annotations

from tests.simulation.seeds import check_seeds


def test_the_second_fifty_seeds_end_well_and_meant_something() -> None:
    check_seeds(range(51, 101))
