"""How the next version of the policy comes into force: drafted, proposed, approved, counted down.

    draft ── propose ──> proposed ── quorum ──> approved ── signer learned it ──> due ──> active
                            │                      │                               │
                            └── one rejection ─────┴───────────────────────────────┘──> rejected

A proposal needs the quorum of the version in force and then that version's delay (rules §4). Who
wrote or changed a draft of it, or proposed it, does not count among those who approve (W04). The
signer checks all of it again and counts the delay by its own clock; the later of both holds. What
waits for officers keeps the policy of its request.

A bad document is refused with file, line, rule and reason; the version in force stays.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Reason, Refused
from custody import audit_log, policies
from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.keys.publication import (
    Publication,
    check_document,
    check_publication,
    check_verdict,
)
from custody.keys.roster import Approval, Roster, Verdict
from custody.policy.document import parse_policy
from custody.policy.rules import Policy

DRAFTS_MAX = 1_000
"""Of one version."""
PROPOSALS_MAX = 64
"""Open ones."""

policy_drafts = table(
    "policy_drafts",
    sa.Column("draft_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.Column("serial", Int64, nullable=False),
    sa.Column("body", Bytes, nullable=False),
    sa.Column("author", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.UniqueConstraint("hash", "author"),
    sa.Index("ix_policy_drafts_serial", "serial", "draft_no"),
)
append_only(policy_drafts)

policy_proposals = table(
    "policy_proposals",
    sa.Column("hash", Bytes, primary_key=True),
    sa.Column("proposal_no", Int64, nullable=False, unique=True),
    sa.Column("serial", Int64, nullable=False),
    sa.Column("body", Bytes, nullable=False),
    sa.Column("authors", Text, nullable=False),
    sa.Column("proposer", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("proposed_at_ns", Int64, nullable=False),
    sa.Column("approved_at_ns", Int64),
    sa.Column("due_ns", Int64),
    sa.Index("ix_policy_proposals_state", "state", "proposal_no"),
)

policy_approvals = table(
    "policy_approvals",
    sa.Column("approval_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("hash", Bytes, sa.ForeignKey("policy_proposals.hash"), nullable=False),
    sa.Column("person", Text, nullable=False),
    sa.Column("public_key", Bytes, nullable=False),
    sa.Column("verdict", Text, nullable=False),
    sa.Column("signature", Bytes, nullable=False),
    sa.Column("evidence", Bytes, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.UniqueConstraint("hash", "person", "verdict"),
)
append_only(policy_approvals)


class ProposalState(enum.StrEnum):
    """How far a proposal is."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    """The quorum is there; the signer has not learned it yet."""
    DUE = "due"
    """The signer counts the delay down."""
    ACTIVE = "active"
    REJECTED = "rejected"
    OVERTAKEN = "overtaken"
    """Another version came into force before it."""
    REFUSED = "refused"
    """By the signer, for the reason given."""


OPEN = frozenset({ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.DUE})


@dataclass(frozen=True, slots=True)
class Proposal:
    """One version on its way."""

    hash: bytes
    proposal_no: int
    serial: int
    body: bytes
    authors: tuple[str, ...]
    """Whose approvals do not count, sorted."""
    proposer: str
    state: ProposalState
    reason: str | None
    proposed_at_ns: int
    approved_at_ns: int | None
    due_ns: int | None
    """In force from then on, when nobody rejects it; None before the quorum."""

    @property
    def policy(self) -> Policy:
        """Return the version itself."""
        return parse_policy(self.body, name=f"policy {self.serial}")


@dataclass(frozen=True, slots=True)
class Said:
    """What one officer said of a proposal."""

    person: str
    approval: Approval
    at_ns: int


def draft(conn: sa.Connection, body: bytes, *, author: str, now_ns: int) -> Policy:
    """Keep a draft of the next version, and who wrote it; the same again changes nothing.

    Refused: malformed (with file, line, rule and reason), unknown_version, too_large,
    unknown_policy (it does not follow the version in force), issued_too_long_ago, issued_in_future.
    """
    policy = _follows(conn, body, now_ns)
    known = sa.select(policy_drafts.c.draft_no).where(
        policy_drafts.c.hash == policy.hash, policy_drafts.c.author == author
    )
    if conn.execute(known).scalar_one_or_none() is not None:
        return policy
    drafts = sa.select(sa.func.count()).where(policy_drafts.c.serial == policy.serial)
    if conn.execute(drafts).scalar_one() >= DRAFTS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {DRAFTS_MAX} drafts of one version")
    conn.execute(
        policy_drafts.insert().values(
            draft_no=next_number(conn, "policy_draft"),
            hash=policy.hash,
            serial=policy.serial,
            body=body,
            author=author,
            at_ns=now_ns,
        )
    )
    _record(conn, author, "policy.draft", policy.hash, {"serial": str(policy.serial)}, now_ns)
    return policy


def propose(
    conn: sa.Connection, policy_hash: bytes, *, by: str, roster: Roster, now_ns: int
) -> Proposal:
    """Ask officers for a draft; the same again returns it as it stands.

    Refused: not_found (no such draft); as draft; quorum_not_met (too few officers are left to
    approve it, or to approve whatever would follow it), too_large.
    """
    known = find(conn, policy_hash)
    if known is not None:
        return known
    body = conn.execute(
        sa.select(policy_drafts.c.body).where(policy_drafts.c.hash == policy_hash).limit(1)
    ).scalar_one_or_none()
    if body is None:
        raise Refused(Reason.NOT_FOUND, f"no draft {policy_hash.hex()}")
    policy = _follows(conn, body, now_ns)
    if len(in_states(conn, OPEN)) >= PROPOSALS_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {PROPOSALS_MAX} open proposals")
    writers = sa.select(policy_drafts.c.author).where(policy_drafts.c.serial == policy.serial)
    authors = sorted({by, *conn.execute(writers.distinct()).scalars()})
    officers = {one.person for one in roster.officers if one.is_active(now_ns)}
    before = policies.get(conn, policy.previous)
    for version, left in ((before, officers - set(authors)), (policy, officers)):
        quorum = version.publish.quorum
        if len(left) < roster.threshold or not quorum.is_met(version.groups, left):
            who = f"policy {version.serial}: nobody could meet {quorum.text!r}"
            raise Refused(Reason.QUORUM_NOT_MET, f"{who} with {len(left)} officers")
    conn.execute(
        policy_proposals.insert().values(
            hash=policy_hash,
            proposal_no=next_number(conn, "policy_proposal"),
            serial=policy.serial,
            body=body,
            authors=" ".join(authors),
            proposer=by,
            state=ProposalState.PROPOSED.value,
            proposed_at_ns=now_ns,
        )
    )
    detail = {"serial": str(policy.serial), "authors": " ".join(authors)}
    _record(conn, by, "policy.propose", policy_hash, detail, now_ns)
    return get(conn, policy_hash)


def approve(
    conn: sa.Connection, policy_hash: bytes, approval: Approval, *, roster: Roster, now_ns: int
) -> Proposal:
    """Record one officer's verdict; the same again changes nothing. One rejection ends it.

    A rejection still counts while the delay runs. Refused: not_found, illegal_transition,
    not_an_officer, bad_signature, initiator_cannot_approve (an author), already_approved.
    """
    row = get(conn, policy_hash)
    policy = row.policy
    officer = check_verdict(policy, row.authors, approval, roster=roster, now_ns=now_ns)
    said = [one for one in verdicts(conn, policy_hash) if one.person == officer.person]
    if any(one.approval.verdict is approval.verdict for one in said):
        return row
    is_rejection = approval.verdict is Verdict.REJECT
    if row.state not in (OPEN if is_rejection else {ProposalState.PROPOSED}):
        raise Refused(Reason.ILLEGAL_TRANSITION, f"policy {row.serial} is {row.state}")
    if said and not is_rejection:
        raise Refused(Reason.ALREADY_APPROVED, officer.person)
    if officer.person in row.authors and not is_rejection:
        raise Refused(Reason.INITIATOR_CANNOT_APPROVE, f"{officer.person} wrote it")
    conn.execute(
        policy_approvals.insert().values(
            approval_no=next_number(conn, "policy_approval"),
            hash=policy_hash,
            person=officer.person,
            public_key=approval.public_key,
            verdict=approval.verdict.value,
            signature=approval.signature,
            evidence=approval.evidence,
            at_ns=now_ns,
        )
    )
    action = f"policy.{approval.verdict.value}"
    _record(conn, officer.person, action, policy_hash, {"serial": str(row.serial)}, now_ns)
    if is_rejection:
        return _move(conn, row, ProposalState.REJECTED, reason=f"rejected by {officer.person}")
    before = policies.get(conn, policy.previous)
    try:
        check_publication(publication_of(conn, row), before, roster=roster, now_ns=now_ns)
    except Refused:
        return row  # not enough yet
    return _move(conn, row, ProposalState.APPROVED, approved_at_ns=now_ns)


def publication_of(conn: sa.Connection, row: Proposal) -> Publication:
    """Return what the signer is handed."""
    said = tuple(one.approval for one in verdicts(conn, row.hash))
    return Publication(row.body, row.authors, said)


def learned(conn: sa.Connection, policy_hash: bytes, *, signer_due_ns: int) -> Proposal:
    """Note when the signer will count a version; the platform's own delay holds when it is later.

    Refused: not_found.
    """
    row = get(conn, policy_hash)
    if row.state is not ProposalState.APPROVED or row.approved_at_ns is None:
        return row
    delay_ns = policies.get(conn, row.policy.previous).publish.delay_ns
    due_ns = max(signer_due_ns, row.approved_at_ns + delay_ns)
    return _move(conn, row, ProposalState.DUE, due_ns=due_ns)


def stopped(conn: sa.Connection, policy_hash: bytes) -> Proposal:
    """Note that the signer has dropped a rejected version. Refused: not_found."""
    row = get(conn, policy_hash)
    return _move(conn, row, row.state, due_ns=None)


def too_late(conn: sa.Connection, policy_hash: bytes, *, from_ns: int, now_ns: int) -> Proposal:
    """Follow the signer, which counted a version already when its rejection came."""
    row = get(conn, policy_hash)
    policies.add(conn, row.body, in_force_from_ns=from_ns, by=row.proposer, now_ns=now_ns)
    return _move(conn, row, ProposalState.ACTIVE, reason=f"{row.reason}, too late")


def to_stop(conn: sa.Connection) -> list[Proposal]:
    """Return rejected versions that a signer still counts down."""
    ended = in_states(conn, {ProposalState.REJECTED}, is_due=True)
    return [row for row in ended if row.due_ns is not None]


def refused(conn: sa.Connection, policy_hash: bytes, *, reason: str) -> Proposal:
    """Note that the signer refuses a version; the one in force stays. Refused: not_found."""
    row = get(conn, policy_hash)
    if row.state is not ProposalState.APPROVED:
        return row
    return _move(conn, row, ProposalState.REFUSED, reason=reason[:500])


def activate(conn: sa.Connection, *, now_ns: int) -> int:
    """Put every version in force whose time has come; return how many."""
    done = 0
    for row in in_states(conn, {ProposalState.DUE}):
        if row.due_ns is None or now_ns < row.due_ns:
            continue
        policies.add(conn, row.body, in_force_from_ns=row.due_ns, by=row.proposer, now_ns=now_ns)
        _move(conn, row, ProposalState.ACTIVE)
        done += 1
        for other in in_states(conn, OPEN):
            if other.serial <= row.serial:
                _move(conn, other, ProposalState.OVERTAKEN, reason=f"by policy {row.hash.hex()}")
    return done


def verdicts(conn: sa.Connection, policy_hash: bytes) -> list[Said]:
    """Return every verdict on a proposal in the order they came."""
    query = (
        sa.select(policy_approvals)
        .where(policy_approvals.c.hash == policy_hash)
        .order_by(policy_approvals.c.approval_no)
    )
    return [
        Said(
            row.person,
            Approval(row.public_key, Verdict(row.verdict), row.signature, row.evidence),
            row.at_ns,
        )
        for row in conn.execute(query)
    ]


def in_states(
    conn: sa.Connection, states: Collection[ProposalState], *, is_due: bool = False
) -> list[Proposal]:
    """Return proposals in some states, oldest first; is_due: which a signer counts down."""
    query = sa.select(policy_proposals).where(
        policy_proposals.c.state.in_([state.value for state in states])
    )
    if is_due:
        query = query.where(policy_proposals.c.due_ns.is_not(None))
    query = query.order_by(policy_proposals.c.proposal_no).limit(PROPOSALS_MAX)
    return [_proposal(row) for row in conn.execute(query)]


def all_of(conn: sa.Connection, *, limit: int) -> list[Proposal]:
    """Return proposals, the newest first."""
    query = sa.select(policy_proposals).order_by(policy_proposals.c.proposal_no.desc())
    return [_proposal(row) for row in conn.execute(query.limit(limit))]


def find(conn: sa.Connection, policy_hash: bytes) -> Proposal | None:
    """Return a proposal by its policy's hash, None when there is none."""
    query = sa.select(policy_proposals).where(policy_proposals.c.hash == policy_hash)
    row = conn.execute(query).one_or_none()
    return None if row is None else _proposal(row)


def get(conn: sa.Connection, policy_hash: bytes) -> Proposal:
    """Return a proposal by its policy's hash. Refused: not_found."""
    row = find(conn, policy_hash)
    if row is None:
        raise Refused(Reason.NOT_FOUND, f"no proposal {policy_hash.hex()}")
    return row


def _follows(conn: sa.Connection, body: bytes, now_ns: int) -> Policy:
    newest = policies.newest(conn)
    before = None if newest is None else policies.get(conn, newest.hash)
    if before is None:
        raise Refused(Reason.UNKNOWN_POLICY, "the first policy comes with the roster")
    policy = check_document(body, before, name="document")
    if policy.issued_ns > now_ns:
        raise Refused(Reason.ISSUED_IN_FUTURE, "document: issued_ns")
    return policy


def _move(conn: sa.Connection, row: Proposal, to: ProposalState, **values: object) -> Proposal:
    """Move a proposal on, unless somebody else just did. Refused: illegal_transition."""
    done = conn.execute(
        policy_proposals.update()
        .where(policy_proposals.c.hash == row.hash, policy_proposals.c.state == row.state.value)
        .values(state=to.value, **values)
    )
    if done.rowcount != 1:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"policy {row.serial} is not {row.state} any more")
    return get(conn, row.hash)


def _proposal(row: sa.Row[tuple[object, ...]]) -> Proposal:
    values = {column.name: getattr(row, column.name) for column in policy_proposals.c}
    return Proposal(
        **{**values, "state": ProposalState(row.state), "authors": tuple(row.authors.split())}
    )


def _record(
    conn: sa.Connection, actor: str, action: str, policy_hash: bytes, detail: dict[str, str],
    now_ns: int,
) -> None:  # fmt: skip
    audit_log.record(
        conn, actor=actor, action=action, subject=f"policy:{policy_hash.hex()[:16]}",
        detail={"hash": policy_hash.hex(), **detail}, at_ns=now_ns,
    )  # fmt: skip
