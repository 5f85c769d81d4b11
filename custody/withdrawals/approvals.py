"""Officers' verdicts as rows.

They are evidence, not authority: the guard verifies every one again.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.ids import WithdrawalId
from custody import audit_log, policies, velocity
from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.keys import intent as intents
from custody.keys.intent import WithdrawalIntent
from custody.keys.roster import Approval, Roster, Verdict, check_approval
from custody.policy.decision import Outcome
from custody.withdrawals import judging, states, workflow
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
    sa.UniqueConstraint("withdrawal_id", "public_key", "signature"),
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

    A rejection still counts when the quorum is there, as long as nothing is planned. A verdict of a
    key that no longer counts is none: its person may give another one with a present key.

    Refused: not_found, illegal_transition (too late), approval_expired, not_an_officer,
    bad_signature, initiator_cannot_approve, already_approved (another verdict of the same person).
    """
    if approval.verdict is Verdict.REJECT:
        velocity.take_turn(conn)
    row = states.get(conn, withdrawal_id)
    intent = intent_of(row)
    officer = check_approval(roster, intent, approval, now_ns=now_ns)
    earlier = _of_person(conn, row, intent, officer.person, roster=roster, now_ns=now_ns)
    if earlier is not None:
        if earlier.verdict is not approval.verdict:
            raise Refused(Reason.ALREADY_APPROVED, officer.person)
        return _approved_if_met(conn, row, roster=roster, now_ns=now_ns)
    in_time = {WithdrawalState.HELD}
    if approval.verdict is Verdict.REJECT:
        in_time |= {WithdrawalState.APPROVED}
    if row.state not in in_time:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{withdrawal_id} is {row.state}")
    if now_ns >= row.expires_at_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, withdrawal_id)
    barred = {intent.initiator, *intent.excluded}
    if officer.person in barred and approval.verdict is Verdict.APPROVE:
        raise Refused(Reason.INITIATOR_CANNOT_APPROVE, officer.person)
    _insert(conn, row, officer.person, approval, now_ns)
    if approval.verdict is Verdict.REJECT:
        return workflow.reject(conn, row, by=officer.person, now_ns=now_ns)
    return _approved_if_met(conn, row, roster=roster, now_ns=now_ns)


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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the officers are."""

    quorum: str
    """As the rule says it; empty: it asks for nobody."""
    persons: tuple[str, ...]
    """Whose approvals count now, sorted."""
    is_met: bool
    delay_ns: int
    """From the complete quorum to the earliest signature."""


def progress(conn: sa.Connection, row: Withdrawal, *, roster: Roster, now_ns: int) -> Progress:
    """Return how far the approvals of a withdrawal are, by its rule and the roster of now.

    Officers who are no longer active do not count. The signer asks for its roster's threshold
    beside the rule's quorum, and so does this.
    """
    taken = judging.taken_of(conn, row.withdrawal_id)
    required = taken.decision.requirement
    if required is None:
        return Progress("", (), taken.decision.outcome is Outcome.ALLOW, 0)
    intent, rejected = intent_of(row), False
    persons: set[str] = set()
    for approval in of(conn, row.withdrawal_id):
        try:
            officer = check_approval(roster, intent, approval, now_ns=now_ns)
        except Refused:
            continue
        rejected |= approval.verdict is Verdict.REJECT
        if approval.verdict is Verdict.APPROVE:
            persons.add(officer.person)
    persons -= {intent.initiator, *intent.excluded}
    groups = policies.get(conn, taken.policy_hash).groups
    is_met = len(persons) >= roster.threshold and required.quorum.is_met(groups, persons)
    return Progress(
        quorum=required.quorum.text,
        persons=tuple(sorted(persons)),
        is_met=is_met and not rejected and now_ns < intent.expires_ns,
        delay_ns=required.delay_ns,
    )


def has_quorum(conn: sa.Connection, row: Withdrawal, *, roster: Roster, now_ns: int) -> bool:
    """Return whether the recorded verdicts make a quorum now."""
    return progress(conn, row, roster=roster, now_ns=now_ns).is_met


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


def _approved_if_met(
    conn: sa.Connection, row: Withdrawal, *, roster: Roster, now_ns: int
) -> Withdrawal:
    found = progress(conn, row, roster=roster, now_ns=now_ns)
    if row.state is not WithdrawalState.HELD or not found.is_met:
        return row
    return states.advance(
        conn, row, WithdrawalVerb.APPROVE, now_ns=now_ns, releasable_at_ns=now_ns + found.delay_ns
    )


def _of_person(
    conn: sa.Connection,
    row: Withdrawal,
    intent: WithdrawalIntent,
    person: str,
    *,
    roster: Roster,
    now_ns: int,
) -> Approval | None:
    """Return the verdict of a person that counts, None when there is none."""
    for approval in of(conn, row.withdrawal_id):
        try:
            if check_approval(roster, intent, approval, now_ns=now_ns).person == person:
                return approval
        except Refused:
            continue
    return None


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
