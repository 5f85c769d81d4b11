"""The long simulation: as many seeds as are asked for, every finding printed with its seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.simulation.counting import REQUIRED
from tests.simulation.world import STEPS, run


def campaign(words: Sequence[str]) -> list[str]:
    """Run seeds `[first [last [steps]]]`, by default 1..1000; return what they found."""
    numbers = [int(word) for word in words]
    first, last, steps = (*numbers, *(1, 1_000, STEPS)[len(numbers) :])
    findings: list[str] = []
    total: Counter[str] = Counter()
    for seed in range(first, last + 1):
        result = run(seed, steps)
        total += result.counts
        findings += result.findings
    for name in REQUIRED:
        print(f"{total[name]:>10}  {name}", flush=True)
        if not total[name]:
            findings.append(f"seeds {first}..{last} never saw {name}")
    return findings
