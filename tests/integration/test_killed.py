"""The platform as processes, killed at random while customers use it, keeps every promise."""

from __future__ import annotations

from pathlib import Path

from app.children import PROCESSES
from tests.support.killing.audit import findings
from tests.support.killing.run import Outcome, Plan, demo_token, run

PLAN = Plan(seed=20_261_120, kills=60)
LOST_LEASE = "the lease was not renewed in time"
"""An engine whose machine stalls for longer than its lease must end by itself: one more kill."""


def test_killed_sixty_times_nothing_is_lost_paid_twice_or_promised_in_vain(tmp_path: Path) -> None:
    outcome = run(PLAN, tmp_path / "platform")
    try:
        assert findings(outcome, demo_token(outcome)) == []
        assert [one for one in outcome.unexpected if LOST_LEASE not in one] == []
        assert_money_was_in_flight(outcome)
    finally:
        outcome.node.stop()


def assert_money_was_in_flight(outcome: Outcome) -> None:
    """Show that the kills hit something, and that the customers did as much as was said."""
    kills, ledger = outcome.kills, outcome.ledger
    wanted = PLAN.customers * PLAN.rounds
    assert kills["all"] >= PLAN.kills
    assert min(kills[name] for name in PROCESSES) >= PLAN.kills // 8
    assert kills["after signing, before answering"] >= 3
    assert min(len(ledger.deposits), len(ledger.orders_asked), len(ledger.withdrawals)) >= wanted
    assert len(ledger.orders_acknowledged) >= wanted // 2
    for what in ("a deposit is", "a withdrawal is", "a spend is", "the engine owes"):
        assert sum(n for name, n in kills.items() if name.startswith(f"while {what}")) > 0, what
    assert kills["while a spend is signed"] + kills["while a spend is broadcast"] > 0
    assert outcome.tally.counts["broken off"] > 0
