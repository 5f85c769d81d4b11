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

import sqlalchemy as sa

from core.errors import Reason, Refused
from custody import audit_log, policies
from custody.db import next_number
from custody.keys.publication import (
    Publication,
    check_document,
    check_publication,
    check_verdict,
)
from custody.keys.roster import Approval, Roster, Verdict
from custody.policy.rules import Policy
from custody.policy_proposals import (
    OPEN,
    PROPOSALS_MAX,
    Proposal,
    ProposalState,
    find,
    get,
    in_states,
    move,
    policy_approvals,
    policy_drafts,
    policy_proposals,
    verdicts,
)

DRAFTS_MAX = 1_000
"""Of one version."""


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
        return move(conn, row, ProposalState.REJECTED, reason=f"rejected by {officer.person}")
    before = policies.get(conn, policy.previous)
    try:
        check_publication(publication_of(conn, row), before, roster=roster, now_ns=now_ns)
    except Refused:
        return row  # not enough yet
    return move(conn, row, ProposalState.APPROVED, approved_at_ns=now_ns)


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
    return move(conn, row, ProposalState.DUE, due_ns=due_ns)


def stopped(conn: sa.Connection, policy_hash: bytes) -> Proposal:
    """Note that the signer has dropped a rejected version. Refused: not_found."""
    row = get(conn, policy_hash)
    return move(conn, row, row.state, due_ns=None)


def too_late(conn: sa.Connection, policy_hash: bytes, *, from_ns: int, now_ns: int) -> Proposal:
    """Follow the signer, which counted a version already when its rejection came."""
    row = get(conn, policy_hash)
    policies.add(conn, row.body, in_force_from_ns=from_ns, by=row.proposer, now_ns=now_ns)
    return move(conn, row, ProposalState.ACTIVE, reason=f"{row.reason}, too late")


def to_stop(conn: sa.Connection) -> list[Proposal]:
    """Return rejected versions that a signer still counts down."""
    ended = in_states(conn, {ProposalState.REJECTED}, is_due=True)
    return [row for row in ended if row.due_ns is not None]


def refused(conn: sa.Connection, policy_hash: bytes, *, reason: str) -> Proposal:
    """Note that the signer refuses a version; the one in force stays. Refused: not_found."""
    row = get(conn, policy_hash)
    if row.state is not ProposalState.APPROVED:
        return row
    return move(conn, row, ProposalState.REFUSED, reason=reason[:500])


def activate(conn: sa.Connection, *, now_ns: int) -> int:
    """Put every version in force whose time has come; return how many."""
    done = 0
    for row in in_states(conn, {ProposalState.DUE}):
        if row.due_ns is None or now_ns < row.due_ns:
            continue
        policies.add(conn, row.body, in_force_from_ns=row.due_ns, by=row.proposer, now_ns=now_ns)
        move(conn, row, ProposalState.ACTIVE)
        done += 1
        for other in in_states(conn, OPEN):
            if other.serial <= row.serial:
                move(conn, other, ProposalState.OVERTAKEN, reason=f"by policy {row.hash.hex()}")
    return done


def _follows(conn: sa.Connection, body: bytes, now_ns: int) -> Policy:
    newest = policies.newest(conn)
    before = None if newest is None else policies.get(conn, newest.hash)
    if before is None:
        raise Refused(Reason.UNKNOWN_POLICY, "the first policy comes with the roster")
    policy = check_document(body, before, name="document")
    if policy.issued_ns > now_ns:
        raise Refused(Reason.ISSUED_IN_FUTURE, "document: issued_ns")
    return policy


def _record(
    conn: sa.Connection, actor: str, action: str, policy_hash: bytes, detail: dict[str, str],
    now_ns: int,
) -> None:  # fmt: skip
    audit_log.record(
        conn, actor=actor, action=action, subject=f"policy:{policy_hash.hex()[:16]}",
        detail={"hash": policy_hash.hex(), **detail}, at_ns=now_ns,
    )  # fmt: skip
