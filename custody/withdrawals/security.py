"""Security changes of a customer: each holds the customer's withdrawals for a day (rules §4.8).

Who takes over an account first changes its password, its second factor, its keys, or switches its
address book off. The hold gives the owner the time to notice; it is counted from the newest change
and nobody can shorten it.
"""

from __future__ import annotations

import enum

import sqlalchemy as sa

from core.clock import DAY_NS
from core.errors import Reason
from core.ids import CustomerNo
from custody import audit_log
from custody.db import Int64, Text, append_only, next_number, table
from custody.policy.request import Finding, Verdict

HOLD_NS = DAY_NS


class SecurityChange(enum.StrEnum):
    """What was changed."""

    PASSWORD = "password"
    SECOND_FACTOR = "second_factor"
    API_KEY = "api_key"
    """A further API key; the customer's first one is no change."""
    BOOK_OFF = "book_off"
    """Withdrawals may again go to addresses that are not in the address book."""


security_changes = table(
    "security_changes",
    sa.Column("change_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Index("ix_security_changes_customer", "customer_no", "at_ns"),
)
append_only(security_changes)


def record_change(
    conn: sa.Connection,
    customer_no: CustomerNo,
    kind: SecurityChange,
    now_ns: int,
    *,
    by: str = "platform",
) -> None:
    """Record a change in the transaction that makes it; withdrawals are held from now on."""
    conn.execute(
        security_changes.insert().values(
            change_no=next_number(conn, "security_change"),
            customer_no=customer_no,
            kind=kind.value,
            by=by,
            at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor=by, action=f"security.{kind.value}", subject=f"customer:{customer_no}",
        detail={}, at_ns=now_ns,
    )  # fmt: skip


def held_until_ns(conn: sa.Connection, customer_no: CustomerNo) -> int:
    """Return when the newest hold of a customer ends; 0 when there never was one."""
    newest = conn.execute(
        sa.select(sa.func.max(security_changes.c.at_ns)).where(
            security_changes.c.customer_no == customer_no
        )
    ).scalar_one()
    return 0 if newest is None else int(newest) + HOLD_NS


def findings(
    conn: sa.Connection, customer_no: CustomerNo | None, now_ns: int, *, at_release: bool = False
) -> tuple[Finding, ...]:
    """Return what the customer's security changes mean for a withdrawal now.

    A request made during a hold is refused (BLOCK, security_hold); one that was made before the
    change waits (at_release: WAIT) until the hold ends or its approvals expire.
    """
    if customer_no is None:
        return ()
    until_ns = held_until_ns(conn, customer_no)
    if now_ns >= until_ns:
        return ()
    verdict = Verdict.WAIT if at_release else Verdict.BLOCK
    return (Finding(verdict, Reason.SECURITY_HOLD.value, f"until {until_ns}"),)
