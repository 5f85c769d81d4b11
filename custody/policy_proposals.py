"""Proposals of the next policy, as rows: drafts, how far each is, and what officers said of it."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Reason, Refused
from custody.db import Bytes, Int64, Text, append_only, table
from custody.keys.roster import Approval, Verdict
from custody.policy.document import parse_policy
from custody.policy.rules import Policy

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


def move(conn: sa.Connection, row: Proposal, to: ProposalState, **values: object) -> Proposal:
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
