"""A hundred seeds end well, and what they are meant to exercise really happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.counting import COIN_REQUIRED, REQUIRED
from tests.simulation.world import run

SEEDS = range(1, 101)
CHUNK = 50
COIN_SEEDS, COIN_CHUNK = range(1, 41), 20
"""Large enough that even what is rare happens in each; small enough for two processes."""


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
def test_every_seed_ends_well_and_every_chunk_of_them_meant_something(first: int) -> None:
    total: Counter[str] = Counter()
    for seed in range(first, first + CHUNK):
        result = run(seed)
        assert not result.findings, f"strongroom sim --seed {seed}: {result.findings}"
        total += result.counts
    missing = [name for name in REQUIRED if not total[name]]
    assert not missing, f"seeds {first}..{first + CHUNK - 1} never saw {missing}"


@pytest.mark.parametrize("first", COIN_SEEDS[::COIN_CHUNK])
def test_seeds_whose_chain_spends_coins_end_well_too(first: int) -> None:
    total: Counter[str] = Counter()
    for seed in range(first, first + COIN_CHUNK):
        result = run(seed, coins=True)
        assert not result.findings, f"strongroom sim --coins --seed {seed}: {result.findings}"
        total += result.counts
    missing = [name for name in COIN_REQUIRED if not total[name]]
    assert not missing, f"seeds {first}..{first + COIN_CHUNK - 1} never saw {missing}"


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
