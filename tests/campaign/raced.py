"""Tests whose whole run is longer than `make test` has time for.

make campaign ARGS=withdrawal-races      500 interleavings of withdrawals on both databases (W03)
make campaign ARGS=limits-in-parallel    2 000 requests against every limit at once
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS, REQUESTS = 500, 2_000


def withdrawal_races(words: Sequence[str]) -> list[str]:
    """Return what failed of tests/integration/test_withdrawal_races.py; a word: the rounds."""
    rounds = int(words[0]) if words else ROUNDS
    return _run("test_withdrawal_races.py", "STRONGROOM_TEST_ROUNDS", rounds)


def limits_in_parallel(words: Sequence[str]) -> list[str]:
    """Return what failed of tests/integration/test_limits_in_parallel.py; a word: the requests."""
    requests = int(words[0]) if words else REQUESTS
    return _run("test_limits_in_parallel.py", "STRONGROOM_TEST_REQUESTS", requests)


def _run(file: str, setting: str, count: int) -> list[str]:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/integration/{file}"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT, env={**os.environ, setting: str(count)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines() or done.stderr.splitlines() or ["said nothing"]
    print(f"{file}, {setting}={count}: {lines[-1]}", flush=True)
    if not done.returncode:
        return []
    return [line for line in lines if line.startswith(("FAILED", "ERROR"))] or lines[-1:]
