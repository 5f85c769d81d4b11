"""Every decision of a policy as it was taken: what it was given, what it said, and both hashed.

One row per decision, never changed. A withdrawal has one of the moment `request`, and one of
`release` for every new answer while it waits to be paid; own transfers are judged as `request`.
`record` is the canonical text of custody.policy.record, so that anybody can take the decision again
and compare it bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.policy.record import Moment

PER_CAUSE_MAX = 1_000
"""Decisions kept of one cause: of what waits any longer, only its end is stored."""

decisions = table(
    "decisions",
    sa.Column("decision_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("cause_id", Text, nullable=False),
    sa.Column("moment", Text, nullable=False),
    sa.Column("policy_hash", Bytes, nullable=False),
    sa.Column("outcome", Text, nullable=False),
    sa.Column("code", Text, nullable=False),
    sa.Column("rule", Text, nullable=False),
    sa.Column("record", Text, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Index("ix_decisions_cause", "cause_id", "decision_no"),
)
append_only(decisions)


@dataclass(frozen=True, slots=True)
class Stored:
    """One decision as it was stored."""

    decision_no: int
    cause_id: str
    """The withdrawal, or the cause of an own transfer."""
    moment: Moment
    policy_hash: bytes
    outcome: str
    code: str
    rule: str
    record: str
    """What was given and what was said, with its trace."""
    hash: bytes
    """Of the record; inside the intent and so inside every approval."""
    at_ns: int


def put(conn: sa.Connection, row: Stored) -> Stored:
    """Store a decision under the next number, whatever number it came with, and return it."""
    stored = replace(row, decision_no=next_number(conn, "decision"))
    values = {c.name: getattr(stored, c.name) for c in decisions.c}
    conn.execute(decisions.insert().values({**values, "moment": stored.moment.value}))
    return stored


def of(conn: sa.Connection, cause_id: str, *, limit: int = PER_CAUSE_MAX) -> list[Stored]:
    """Return the decisions of a cause in the order they were taken."""
    query = (
        sa.select(decisions)
        .where(decisions.c.cause_id == cause_id)
        .order_by(decisions.c.decision_no)
        .limit(limit)
    )
    return [_stored(row) for row in conn.execute(query)]


def last_policy(conn: sa.Connection) -> bytes | None:
    """Return the hash of the policy of the newest request's decision, None before the first."""
    query = (
        sa.select(decisions.c.policy_hash)
        .where(decisions.c.moment == Moment.REQUEST.value)
        .order_by(decisions.c.decision_no.desc())
        .limit(1)
    )
    return conn.execute(query).scalar_one_or_none()


def is_full(conn: sa.Connection, cause_id: str) -> bool:
    """Return whether a cause has as many decisions as are kept of what waits."""
    query = sa.select(sa.func.count()).where(decisions.c.cause_id == cause_id)
    return conn.execute(query).scalar_one() >= PER_CAUSE_MAX


def last(conn: sa.Connection, cause_id: str, moment: Moment) -> Stored | None:
    """Return the newest decision of a cause at a moment, None when there is none."""
    query = (
        sa.select(decisions)
        .where(decisions.c.cause_id == cause_id, decisions.c.moment == moment.value)
        .order_by(decisions.c.decision_no.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else _stored(row)


def _stored(row: sa.Row[tuple[object, ...]]) -> Stored:
    values = {c.name: getattr(row, c.name) for c in decisions.c}
    return Stored(**{**values, "moment": Moment(row.moment)})
