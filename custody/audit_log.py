"""The log of who did what: one hash chain, written in the same transaction as the effect (I14).

    hash = digest("audit", number, previous hash, actor, action, subject, detail, at_ns)

Numbers have no gaps and the database refuses UPDATE and DELETE, so a record can be neither changed,
moved, inserted nor removed without `verify` naming the first one that no longer fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt
from core.ids import derived_digest
from custody.db import Bytes, Int64, Text, append_only, counters, next_number, table

GENESIS_HASH = derived_digest("audit/genesis")
COUNTER = "audit_records"
PAGE = 1_000

audit_records = table(
    "audit_records",
    sa.Column("number", Int64, primary_key=True, autoincrement=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("subject", Text, nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.CheckConstraint("number >= 1", name="number"),
    sa.CheckConstraint("length(hash) = 32", name="hash"),
)
append_only(audit_records)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One thing that somebody did. `detail` is what a person needs to judge it later."""

    number: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, str]
    at_ns: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class BadRecord:
    """The first record that does not fit the chain, and why."""

    number: int
    why: str


def record(
    conn: sa.Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, str],
    at_ns: int,
) -> int:
    """Append one record in the caller's transaction and return its number."""
    number = next_number(conn, COUNTER)  # also the lock: chains do not fork
    previous = GENESIS_HASH
    if number > 1:
        found = conn.execute(
            sa.select(audit_records.c.hash).where(audit_records.c.number == number - 1)
        ).scalar_one_or_none()
        if found is None:
            raise Corrupt(f"audit record {number - 1} is missing")
        previous = found
    text = _canonical(detail)
    digest = _hash(number, previous, actor, action, subject, text, at_ns)
    values = {"actor": actor, "action": action, "subject": subject, "detail": text, "at_ns": at_ns}
    conn.execute(audit_records.insert().values(number=number, hash=digest, **values))
    return number


def records(conn: sa.Connection, *, after: int = 0, limit: int = PAGE) -> list[AuditRecord]:
    """Return up to limit records with a number above `after`, oldest first."""
    rows = conn.execute(
        sa.select(audit_records)
        .where(audit_records.c.number > after)
        .order_by(audit_records.c.number)
        .limit(limit)
    )
    return [
        AuditRecord(
            number=row.number,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            detail=json.loads(row.detail),
            at_ns=row.at_ns,
            hash=row.hash,
        )
        for row in rows
    ]


def verify(conn: sa.Connection) -> BadRecord | None:
    """Recompute the chain from the first record; return the first bad one, or None."""
    number, previous = 0, GENESIS_HASH
    while page := conn.execute(
        sa.select(audit_records)
        .where(audit_records.c.number > number)
        .order_by(audit_records.c.number)
        .limit(PAGE)
    ).all():
        for row in page:
            number += 1
            if row.number != number:
                return BadRecord(number, "missing")
            digest = _hash(
                number, previous, row.actor, row.action, row.subject, row.detail, row.at_ns
            )
            if digest != row.hash:
                return BadRecord(number, "content does not match its hash")
            previous = digest
    last = conn.execute(
        sa.select(counters.c.last).where(counters.c.name == COUNTER)
    ).scalar_one_or_none()
    return None if (last or 0) == number else BadRecord(number + 1, "missing at the end")


def _canonical(detail: Mapping[str, str]) -> str:
    for name, value in detail.items():
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"audit detail {name!r} must be text")
    return json.dumps(dict(detail), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hash(
    number: int, previous: bytes, actor: str, action: str, subject: str, detail: str, at_ns: int
) -> bytes:
    return derived_digest("audit", number, previous, actor, action, subject, detail, at_ns)
