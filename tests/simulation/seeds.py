"""A run of seeds, each of which has to end well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.simulation.counting import COIN_REQUIRED, REQUIRED
from tests.simulation.world import run


def check_seeds(seeds: Sequence[int], *, coins: bool = False) -> None:
    """Return when no seed found anything, and all together saw what they are meant to exercise."""
    total: Counter[str] = Counter()
    for seed in seeds:
        result = run(seed, coins=coins)
        kind = "--coins " if coins else ""
        assert not result.findings, f"strongroom sim {kind}--seed {seed}: {result.findings}"
        total += result.counts
    missing = [name for name in (COIN_REQUIRED if coins else REQUIRED) if not total[name]]
    assert not missing, f"seeds {seeds[0]}..{seeds[-1]} never saw {missing}"
