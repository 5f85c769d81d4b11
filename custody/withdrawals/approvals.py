"""Officers' verdicts as rows.

They are evidence, not authority: the guard verifies every one again.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.ids import WithdrawalId
from custody import audit_log
from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.keys import intent as intents
from custody.keys.intent import WithdrawalIntent
from custody.keys.roster import Approval, Roster, Verdict, check_approval, verify_approvals
from custody.withdrawals import states, workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState, WithdrawalVerb

approvals = table(
    "approvals",
    sa.Column("approval_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("withdrawal_id", Text, sa.ForeignKey("withdrawals.withdrawal_id"), nullable=False),
    sa.Column("person", Text, nullable=False),
    sa.Column("public_key", Bytes, nullable=False),
    sa.Column("verdict", Text, nullable=False),
    sa.Column("signature", Bytes, nullable=False),
    sa.Column("evidence", Bytes, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.UniqueConstraint("withdrawal_id", "person"),
)
append_only(approvals)


def add(
    conn: sa.Connection,
    withdrawal_id: WithdrawalId,
    approval: Approval,
    *,
    roster: Roster,
    now_ns: int,
) -> Withdrawal:
    """Record one verdict and move the withdrawal when it decides; the same verdict again is quiet.

    A rejection still counts when the quorum is there, as long as nothing is planned.
    Refused: not_found, illegal_transition (too late), approval_expired, not_an_officer,
    bad_signature, initiator_cannot_approve, already_approved (another verdict of the same person).
    """
    row = states.get(conn, withdrawal_id)
    intent = intent_of(row)
    officer = check_approval(roster, intent, approval, now_ns=now_ns)
    earlier = _of_person(conn, withdrawal_id, officer.person)
    if earlier is not None:
        if earlier.verdict is not approval.verdict:
            raise Refused(Reason.ALREADY_APPROVED, officer.person)
        return row
    in_time = {WithdrawalState.HELD}
    if approval.verdict is Verdict.REJECT:
        in_time |= {WithdrawalState.APPROVED}
    if row.state not in in_time:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{withdrawal_id} is {row.state}")
    if now_ns >= row.expires_at_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, withdrawal_id)
    if officer.person == intent.initiator and approval.verdict is Verdict.APPROVE:
        raise Refused(Reason.INITIATOR_CANNOT_APPROVE, officer.person)
    _insert(conn, row, officer.person, approval, now_ns)
    if approval.verdict is Verdict.REJECT:
        return workflow.reject(conn, row, by=officer.person, now_ns=now_ns)
    if not has_quorum(conn, row, roster=roster, now_ns=now_ns):
        return row
    return states.advance(conn, row, WithdrawalVerb.APPROVE, now_ns=now_ns, releasable_at_ns=now_ns)


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict as it was recorded."""

    person: str
    approval: Approval
    at_ns: int


def of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> list[Approval]:
    """Return every verdict on a withdrawal in the order they came."""
    return [one.approval for one in given(conn, withdrawal_id)]


def given(conn: sa.Connection, withdrawal_id: WithdrawalId) -> list[Given]:
    """Return every verdict on a withdrawal, who gave it and when, in the order they came."""
    query = (
        sa.select(approvals)
        .where(approvals.c.withdrawal_id == withdrawal_id)
        .order_by(approvals.c.approval_no)
    )
    return [Given(row.person, _approval(row), row.at_ns) for row in conn.execute(query)]


def has_quorum(conn: sa.Connection, row: Withdrawal, *, roster: Roster, now_ns: int) -> bool:
    """Return whether the recorded verdicts make a quorum now."""
    try:
        verify_approvals(
            roster,
            intent_of(row),
            of(conn, row.withdrawal_id),
            now_ns=now_ns,
        )
    except Refused:
        return False
    return True


def intent_of(row: Withdrawal) -> WithdrawalIntent:
    """Return the intent that the row's bytes spell; Corrupt when row and bytes disagree."""
    intent = intents.decode(row.intent)
    if not isinstance(intent, WithdrawalIntent) or intents.intent_hash(intent) != row.intent_hash:
        raise Corrupt(f"{row.withdrawal_id} holds another intent")
    payment = (intent.chain, intent.wallet, intent.destination, intent.amount, intent.fee_minor)
    terms = (intent.withdrawal_id, intent.customer_no, intent.initiator, intent.expires_ns)
    if (payment, terms) != (
        (row.chain, row.wallet, row.destination, row.amount, row.fee),
        (row.withdrawal_id, row.customer_no, row.initiator, row.expires_at_ns),
    ):
        raise Corrupt(f"{row.withdrawal_id} was changed after its intent was made")
    return intent


def _of_person(conn: sa.Connection, withdrawal_id: WithdrawalId, person: str) -> Approval | None:
    row = conn.execute(
        sa.select(approvals).where(
            approvals.c.withdrawal_id == withdrawal_id, approvals.c.person == person
        )
    ).one_or_none()
    return None if row is None else _approval(row)


def _insert(
    conn: sa.Connection, row: Withdrawal, person: str, approval: Approval, now_ns: int
) -> None:
    conn.execute(
        approvals.insert().values(
            approval_no=next_number(conn, "approval"),
            withdrawal_id=row.withdrawal_id,
            person=person,
            public_key=approval.public_key,
            verdict=approval.verdict.value,
            signature=approval.signature,
            evidence=approval.evidence,
            at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor=person, action=f"withdrawal.{approval.verdict.value}",
        subject=row.withdrawal_id, detail={"intent": row.intent_hash.hex()}, at_ns=now_ns,
    )  # fmt: skip


def _approval(row: sa.Row[tuple[object, ...]]) -> Approval:
    return Approval(row.public_key, Verdict(row.verdict), row.signature, row.evidence)
