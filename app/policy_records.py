"""Stored decisions and the policies that they name, read from the database."""

from __future__ import annotations

import sqlalchemy as sa

from core.errors import Corrupt, Refused
from custody import policies
from custody.db import Database
from custody.policy.record import Moment, Record, decision_hash, decode_record
from custody.policy.rules import Policy
from custody.policy.simulate import RECORDS_MAX
from custody.withdrawals import decisions


def records_of(db: Database, cause_id: str) -> list[Record]:
    """Return every stored decision of a withdrawal or an own transfer, in their order."""
    with db.read() as conn:
        return [_checked(row.record, row.hash) for row in decisions.of(conn, cause_id)]


def submissions(db: Database, *, limit: int = RECORDS_MAX) -> list[Record]:
    """Return the newest decisions of submissions, oldest first."""
    table = decisions.decisions
    query = (
        sa.select(table.c.record, table.c.hash)
        .where(table.c.moment == Moment.REQUEST.value)
        .order_by(table.c.decision_no.desc())
        .limit(limit)
    )
    with db.read() as conn:
        rows = conn.execute(query).all()
    return [_checked(row.record, row.hash) for row in reversed(rows)]


def policies_of(db: Database, record: Record) -> dict[bytes, Policy]:
    """Return the policies that a record names. Refused: unknown_policy."""
    with db.read() as conn:
        named = {record.policy_hash, record.newest_hash}
        return {one: policies.get(conn, one) for one in named}


def _checked(text: str, stored_hash: bytes) -> Record:
    try:
        record = decode_record(text)
    except Refused as refusal:
        raise Corrupt(f"a stored decision cannot be read: {refusal}") from refusal
    if decision_hash(record) != stored_hash:
        raise Corrupt("a stored decision does not have the hash that was stored with it")
    return record
