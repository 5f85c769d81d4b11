"""Kill a process that feeds an engine 200 times, and read the journal again every time.

make campaign ARGS="engine-killed -- SEEDS KILLS"      by default 2 seeds of 100 kills each
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.engine_killing import Killing

SEEDS, KILLS = 2, 100


def campaign(words: Sequence[str]) -> list[str]:
    """Return what was found; a line per seed is printed."""
    seeds = int(words[0]) if words else SEEDS
    kills = int(words[1]) if words[1:] else KILLS
    found: list[str] = []
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory(prefix="strongroom-engine-killed.") as folder:
            run = Killing(Path(folder), seed)
            for _ in range(kills):
                run.kill()
            found += run.findings
            print(
                f"engine-killed: seed {seed}: {kills} kills,"
                f" {run.kills_under_load} of them under load,"
                f" {run.kills_while_starting} before the first answer,"
                f" {run.kills_with_more_on_disk} with commands on the disk that were not answered,"
                f" {run.kills_within_a_file} with a file half made;"
                f" {run.reference.sequence} commands, {len(run.findings)} findings",
                flush=True,
            )
    return found
