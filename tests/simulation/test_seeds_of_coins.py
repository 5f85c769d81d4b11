"""Forty seeds whose chain spends coins end well, and what they exercise really happened."""

from __future__ import annotations

import pytest

from tests.simulation.seeds import check_seeds


@pytest.mark.parametrize("first", [1, 21])
def test_twenty_seeds_of_coins_end_well_and_meant_something(first: int) -> None:
    check_seeds(range(first, first + 20), coins=True)
