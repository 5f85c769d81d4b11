"""What a run exercised: a campaign in which one of the stimuli never happened fails."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from custody import deposit_rows
from custody.spending import batch_items, rows
from custody.spending.rows import SpendState
from custody.withdrawals import states
from engine.types import Trade
from tests.simulation.invariants import Bench
from tests.simulation.machine import CHAIN

REQUIRED = (
    "withdrawals signed", "crashes while money was in flight", "reorged deposits",
    "lost broadcasts", "sweeps", "top-ups", "bumps", "trades", "power losses", "overtaken",
    "failed payments", "commit answers lost", "deep reorgs", "resolutions", "batches signed",
    "items of batches paid",
)  # fmt: skip
"""What happens several times in any fifty seeds."""
COIN_REQUIRED = (
    "withdrawals signed", "crashes while money was in flight", "reorged deposits",
    "sweeps", "trades", "overtaken", "batches signed",
)  # fmt: skip
"""What happens several times in any twenty seeds whose chain spends coins."""
RARE = ("cancelled spends", "deposits taken back", "disk_freed")
"""What a campaign of some hundred seeds must have seen as well."""


def note_crash(counts: Counter[str], conn: sa.Connection) -> None:
    """Count a crash, and whether it happened while a payment was on its way."""
    moving = (SpendState.PLANNED, SpendState.SIGNED, SpendState.BROADCAST)
    if rows.in_states(conn, CHAIN, moving, limit=1):
        counts["crashes while money was in flight"] += 1


def closing(bench: Bench) -> Counter[str]:
    """Return the counts of a run at its end, from rows, chain and log."""
    machine, found = bench.machine, Counter(bench.machine.counts)
    chain = machine.world.counts
    found["reorged deposits"] = chain["reorged_arrivals"]
    found["reorgs"] = chain["reorgs"]
    found["deep reorgs"] = chain["deep_reorgs"]
    found["lost broadcasts"] = chain["fault.lost"] + chain["fault.answer_lost"]
    found["late broadcasts"] = chain["fault.late"]
    found["power losses"] = machine.counts["power_losses"]
    found["commit answers lost"] = machine.counts["commit_answers_lost"]
    found["trades"] = machine.counts[f"answer.{Trade.__name__}"]
    kinds = Counter(entry.record.kind for entry in machine.shelf.entries())
    with bench.db.read() as conn:
        found["withdrawals signed"] = kinds["withdrawal"]
        found["batches signed"] = kinds["batch"]
        ends = conn.execute(sa.select(batch_items.batch_items.c.outcome)).scalars()
        found.update(f"items of batches {end}" for end in ends if end is not None)
        spends = rows.all_of(conn, CHAIN)
        found["reservations of nonces"] = len(spends)
        done = Counter(spend.kind.value for spend in spends if spend.state is SpendState.CONFIRMED)
        found["sweeps"], found["top-ups"] = done["sweep"], done["top_up"]
        found["failed payments"] = sum(spend.state is SpendState.FAILED for spend in spends)
        found["cancelled spends"] = kinds["cancellation"]
        made = sum(len(rows.attempts(conn, spend.spend_id)) for spend in spends)
        found["bumps"] = made - sum(bool(rows.attempts(conn, s.spend_id)) for s in spends)
        for row in states.in_states(conn, frozenset(), limit=1_000_000):
            found[f"withdrawals {row.state.value}"] += 1
        for deposit in deposit_rows.list_deposits(conn, limit=1_000_000):
            found[f"deposits {deposit.state.value}"] += 1
    return found
