"""Every planted bug is caught within a few seeds, and the same seeds pass without it."""

from __future__ import annotations

import pytest

from tests.simulation.planted import BUGS, COIN_BUGS
from tests.simulation.world import run

SEEDS_MAX = 40
STEPS = 250
CRASH_FACTOR = 3
"""Some bugs live between two commits; dying more often finds them in fewer seeds."""


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    for seed in range(1, SEEDS_MAX + 1):
        findings = run(seed, STEPS, bug=bug, crash_factor=CRASH_FACTOR).findings
        if findings:
            control = run(seed, STEPS, crash_factor=CRASH_FACTOR, coins=bug in COIN_BUGS)
            assert not control.findings, "the same seed passes without the bug"
            return
    pytest.fail(f"{SEEDS_MAX} seeds did not notice: {bug}")
