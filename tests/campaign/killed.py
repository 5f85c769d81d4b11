"""Kill whole programs, started anew each time, under several seeds and on both databases.

make campaign ARGS="killed -- SEEDS KILLS"      by default 5 seeds of 60 kills each
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.killing.audit import findings
from tests.support.killing.run import Plan, demo_token, run
from tests.support.postgres import postgres_server

SEEDS, KILLS = 5, 60
TIME_S_MAX = 1_200


def campaign(words: Sequence[str]) -> list[str]:
    """Return what was found; a line per run is printed."""
    seeds = int(words[0]) if words else SEEDS
    kills = int(words[1]) if words[1:] else KILLS
    found = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        for seed in range(1, seeds + 1):
            for kind in ("sqlite", "postgresql"):
                url = None
                if kind == "postgresql":
                    url = stack.enter_context(server.database("template0"))
                found += [f"seed {seed} on {kind}: {each}" for each in _one(seed, kills, url)]
    return found


def _one(seed: int, kills: int, url: str | None) -> list[str]:
    plan = Plan(seed=seed, kills=kills, database_url=url, fork=False, time_s_max=TIME_S_MAX)
    with tempfile.TemporaryDirectory(prefix="strongroom-killed.") as folder:
        outcome = run(plan, Path(folder) / "platform")
        try:
            found = [*findings(outcome, demo_token(outcome)), *outcome.unexpected]
        finally:
            outcome.node.stop()
    print(
        f"seed {seed}: {outcome.kills['all']} kills in {outcome.seconds} s,"
        f" {len(outcome.ledger.deposits)} deposits, {len(outcome.ledger.orders_asked)} orders,"
        f" {len(outcome.ledger.withdrawals)} withdrawals, {len(found)} findings",
        flush=True,
    )
    print("  " + ", ".join(f"{name}: {count}" for name, count in sorted(outcome.kills.items())))
    return found
