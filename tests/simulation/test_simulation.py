"""A seed is one story, the same on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.simulation.world import run


def test_a_seed_is_the_same_story_whatever_the_hash_seed_of_the_process() -> None:
    program = (
        "import json, sys; from tests.simulation.world import run;"
        " r = run(3, 150); print(json.dumps([r.state_hash, r.findings, sorted(r.counts.items())]))"
    )
    told = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert told[0][0]
    assert told[0][1] == []


def test_another_seed_is_another_story() -> None:
    assert run(11, 60, gentle=True).state_hash != run(12, 60, gentle=True).state_hash


def test_without_any_trouble_nothing_crashes_and_everything_is_paid() -> None:
    result = run(5, 200, gentle=True)
    assert not result.findings
    assert result.counts["crashes"] == result.counts["power losses"] == 1, "the restart at the end"
    assert result.counts["withdrawals confirmed"] > 0
    assert result.counts["sweeps"] > 0
