"""Every planted bug is caught within a few seeds, and the same seeds pass without it."""

from __future__ import annotations

import pytest

from tests.simulation.planted import BUGS
from tests.simulation.world import run

SEEDS_MAX = 24
STEPS = 250


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    for seed in range(1, SEEDS_MAX + 1):
        findings = run(seed, STEPS, bug=bug).findings
        if findings:
            assert not run(seed, STEPS).findings, "the same seed passes without the bug"
            return
    pytest.fail(f"{SEEDS_MAX} seeds did not notice: {bug}")
