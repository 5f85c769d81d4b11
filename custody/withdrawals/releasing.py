"""The release of an approved withdrawal: all but the rule again, just before it is planned.

Whoever plans a payment looks first (`look`, in a snapshot, before any node is asked) and asks again
in the transaction that plans (`release`), so that nothing that was written in between is missed.
A payment that must wait stays approved, one that is blocked ends here and its money goes back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import Clock
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody import audit_log, velocity
from custody.db import Database
from custody.keys.roster import Roster
from custody.policy.decision import Outcome
from custody.withdrawals import approvals, decisions, judging, states, workflow
from custody.withdrawals.judging import Judged
from custody.withdrawals.states import Withdrawal, WithdrawalState, WithdrawalVerb
from custody.withdrawals.terms import WithdrawalTerms


class Ready(enum.StrEnum):
    """What to do with an approved withdrawal now."""

    GO = "go"
    WAIT = "wait"
    HELD = "held"
    """Its approvals are no quorum any more: officers are asked again."""
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Looked:
    """An answer about one withdrawal; `why` is empty when it may go."""

    row: Withdrawal
    ready: Ready
    why: str
    judged: Judged | None = None
    is_news: bool = False
    """Whether `release` has something to write."""


def look(
    conn: sa.Connection,
    withdrawal_id: WithdrawalId,
    *,
    roster: Roster,
    terms: WithdrawalTerms,
    now_ns: int,
) -> Looked:
    """Return whether a withdrawal may be planned now. Writes nothing.

    Refused: illegal_transition (it is not approved), frozen, approval_expired, own_address,
    unknown_policy.
    """
    row = states.get(conn, withdrawal_id)
    if row.state is not WithdrawalState.APPROVED:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{withdrawal_id} is {row.state}")
    workflow.refuse_if_stopped(conn, row)
    workflow.refuse_if_outdated(conn, row, now_ns=now_ns)
    if row.releasable_at_ns is not None and now_ns < row.releasable_at_ns:
        return Looked(row, Ready.WAIT, Reason.TOO_EARLY.value)
    if not approvals.has_quorum(conn, row, roster=roster, now_ns=now_ns):
        return Looked(row, Ready.HELD, Reason.QUORUM_NOT_MET.value, is_news=True)
    judged = judging.at_release(conn, row, terms=terms, now_ns=now_ns)
    decision = judged.decision
    if decision.outcome is Outcome.ALLOW:
        return Looked(row, Ready.GO, "", judged, is_news=True)
    if decision.outcome is Outcome.BLOCK:
        return Looked(row, Ready.BLOCKED, decision.code, judged, is_news=True)
    before = decisions.last(conn, withdrawal_id, judged.record.moment)
    is_news = before is None or (before.outcome, before.code) != ("wait", decision.code)
    return Looked(row, Ready.WAIT, decision.code, judged, is_news)


def release(
    conn: sa.Connection,
    withdrawal_id: WithdrawalId,
    *,
    roster: Roster,
    terms: WithdrawalTerms,
    now_ns: int,
) -> Looked:
    """Answer as `look` does and carry the answer out; GO: the caller plans it in here.

    The decision is stored. What goes takes of every limit what it is worth now; what is blocked
    ends as rejected. Refused: as look.
    """
    velocity.take_turn(conn)
    found = look(conn, withdrawal_id, roster=roster, terms=terms, now_ns=now_ns)
    if found.judged is not None:
        judging.keep(conn, found.judged, withdrawal_id)
    if found.ready is Ready.GO and found.judged is not None:
        judging.reprice(conn, found.judged, withdrawal_id)
    elif found.ready is Ready.HELD:
        states.advance(conn, found.row, WithdrawalVerb.UNAPPROVE, now_ns=now_ns, reason=found.why)
        _note(conn, "unapprove", found, now_ns)
    elif found.ready is Ready.BLOCKED and found.judged is not None:
        reason = judging.reason_of(found.judged.decision)
        done = states.advance(conn, found.row, WithdrawalVerb.REJECT, now_ns=now_ns, reason=reason)
        workflow.release(conn, done, now_ns=now_ns)
        _note(conn, "block", found, now_ns)
    return found


def _note(conn: sa.Connection, action: str, found: Looked, now_ns: int) -> None:
    audit_log.record(
        conn, actor="platform", action=f"withdrawal.{action}", subject=found.row.withdrawal_id,
        detail={"why": found.why}, at_ns=now_ns,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gate:
    """The way from approved to planned, whatever wallet pays."""

    roster: Roster
    terms: WithdrawalTerms
    clock: Clock

    def look(self, db: Database, row: Withdrawal) -> bool:
        """Return whether a withdrawal may be planned now; what ends or changes it is written.

        Refused: as look; in_progress (it has to wait, and for what).
        """
        with db.read() as conn:
            found = look(
                conn, row.withdrawal_id, roster=self.roster, terms=self.terms,
                now_ns=self.clock.now_ns(),
            )  # fmt: skip
        if found.ready is Ready.GO:
            return True
        if found.is_news:
            found = db.run(lambda conn: self.release(conn, row))
        raise Refused(Reason.IN_PROGRESS, f"{found.ready}: {found.why}")

    def release(self, conn: sa.Connection, row: Withdrawal) -> Looked:
        """Ask again in the transaction that plans it, and store the decision."""
        return release(
            conn, row.withdrawal_id, roster=self.roster, terms=self.terms,
            now_ns=self.clock.now_ns(),
        )  # fmt: skip
