"""The travel rule: above a threshold, a withdrawal waits until it says who pays whom.

Data is kept append-only beside the withdrawal; a correction is another record. It is shown to the
operators who answer for it and to nobody else, and it is in no log, error or metric.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from core.clock import SECOND_NS
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody import audit_log
from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.policy.request import Finding, Verdict
from custody.screening import ivms101
from custody.withdrawals import states
from custody.withdrawals.states import WithdrawalState

MESSAGE_BYTES_MAX = 32 << 10
RECORDS_MAX = 10
"""Of one withdrawal."""

travel_records = table(
    "travel_records",
    sa.Column("record_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("withdrawal_id", Text, sa.ForeignKey("withdrawals.withdrawal_id"), nullable=False),
    sa.Column("sha256", Bytes, nullable=False),
    sa.Column("message", Bytes, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Index("ix_travel_records_withdrawal", "withdrawal_id", "record_no"),
)
append_only(travel_records)


@dataclass(frozen=True, slots=True)
class TravelRecord:
    """One attached message; its repr shows no personal data."""

    record_no: int
    withdrawal_id: WithdrawalId
    sha256: bytes
    by: str
    at_ns: int


def attach(
    conn: sa.Connection,
    withdrawal_id: WithdrawalId,
    message: Mapping[str, Any],
    *,
    by: str,
    now_ns: int,
) -> TravelRecord:
    """Validate and keep a message; the same one again is quiet.

    Refused: not_found, illegal_transition (paid or ended), too_large, too_many_entries,
    missing_field and malformed (with the place, never the value).
    """
    row = states.get(conn, withdrawal_id)
    waiting = (WithdrawalState.REQUESTED, WithdrawalState.HELD, WithdrawalState.APPROVED)
    if row.state not in waiting:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{withdrawal_id} is {row.state}")
    today = datetime.fromtimestamp(now_ns // SECOND_NS, UTC).date()
    ivms101.check(message, address=row.destination, today=today)
    data = json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if len(data) > MESSAGE_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {MESSAGE_BYTES_MAX} bytes")
    known = of(conn, withdrawal_id)
    digest = hashlib.sha256(data).digest()
    for record in known[-1:]:
        if record.sha256 == digest:
            return record
    if len(known) >= RECORDS_MAX:
        raise Refused(Reason.TOO_MANY_ENTRIES, f"at most {RECORDS_MAX} of one withdrawal")
    number = next_number(conn, "travel_record")
    conn.execute(
        travel_records.insert().values(
            record_no=number,
            withdrawal_id=withdrawal_id,
            sha256=digest,
            message=data,
            by=by,
            at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor=by, action="travel_rule.attach", subject=withdrawal_id,
        detail={"record": str(number)}, at_ns=now_ns,
    )  # fmt: skip
    return TravelRecord(number, withdrawal_id, digest, by, now_ns)


def of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> list[TravelRecord]:
    """Return every record of a withdrawal, oldest first, without what it says."""
    columns = [column for column in travel_records.c if column.name != "message"]
    query = (
        sa.select(*columns)
        .where(travel_records.c.withdrawal_id == withdrawal_id)
        .order_by(travel_records.c.record_no)
    )
    return [
        TravelRecord(row.record_no, row.withdrawal_id, row.sha256, row.by, row.at_ns)
        for row in conn.execute(query)
    ]


def message_of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> dict[str, Any]:
    """Return the newest message, for the operators who answer for it. Refused: not_found."""
    row = conn.execute(
        sa.select(travel_records.c.message)
        .where(travel_records.c.withdrawal_id == withdrawal_id)
        .order_by(travel_records.c.record_no.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, f"nothing is attached to {withdrawal_id}")
    found: dict[str, Any] = json.loads(row.message)
    return found


def findings(
    conn: sa.Connection,
    withdrawal_id: WithdrawalId,
    *,
    value_usd: int | None,
    threshold_usd: int | None,
) -> tuple[Finding, ...]:
    """Return WAIT (travel_rule_missing) while a withdrawal needs data and has none.

    In 10^-6 USD. threshold_usd None: no rule applies. Without a price every payment is above it.
    """
    if threshold_usd is None or (value_usd is not None and value_usd < threshold_usd):
        return ()
    if of(conn, withdrawal_id):
        return ()
    return (Finding(Verdict.WAIT, Reason.TRAVEL_RULE_MISSING.value),)
