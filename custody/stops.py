"""Stops: pauses and freezes of a customer, an asset, a chain or the whole platform.

A pause is placed by one officer and lifted by a quorum; what it meets waits. A freeze lasts for a
fixed time that nobody can shorten; what it meets is blocked.
"""

from __future__ import annotations

import enum

import sqlalchemy as sa

from core.ids import ChainId, CustomerNo
from custody import catalogue, chain_state
from custody.db import Bytes, Int64, Text, table
from custody.policy.request import Finding, Verdict

PLATFORM = "platform"


class StopKind(enum.StrEnum):
    """PAUSE holds until it is lifted, FREEZE until its time is over."""

    PAUSE = "pause"
    FREEZE = "freeze"


stops = table(
    "stops",
    sa.Column("stop_id", Text, primary_key=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("scope", Text, nullable=False),
    sa.Column("placed_by", Text, nullable=False),
    sa.Column("placed_at_ns", Int64, nullable=False),
    sa.Column("until_ns", Int64),
    sa.Column("lifted_by", Text),
    sa.Column("lifted_at_ns", Int64),
    sa.Column("statement", Bytes, nullable=False),
    sa.CheckConstraint("(kind = 'freeze') = (until_ns IS NOT NULL)", name="until"),
    sa.CheckConstraint("kind = 'pause' OR lifted_at_ns IS NULL", name="freezes_are_not_lifted"),
    sa.Index("ix_stops_scope", "scope"),
)


def chain_scope(chain: ChainId) -> str:
    """Return the scope of everything on a chain."""
    return f"chain {chain}"


def asset_scope(chain: ChainId, asset_key: str) -> str:
    """Return the scope of one asset."""
    return f"asset {chain} {asset_key}"


def customer_scope(customer_no: CustomerNo) -> str:
    """Return the scope of what one customer withdraws."""
    return f"customer {customer_no}"


def findings(
    conn: sa.Connection,
    *,
    customer_no: CustomerNo | None,
    chain: ChainId,
    asset_key: str,
    now_ns: int,
) -> tuple[Finding, ...]:
    """Return every stop that covers a payment now; customer_no None: our own transfer.

    paused and frozen (a customer who owes us, a chain after a deep reorganisation) wait; a freeze,
    code freeze, blocks. Refused: unknown_customer, unknown_chain.
    """
    found = []
    scopes = [PLATFORM, chain_scope(chain), asset_scope(chain, asset_key)]
    if customer_no is not None:
        scopes.append(customer_scope(customer_no))
        if catalogue.customer(conn, customer_no).frozen:
            found.append(Finding(Verdict.WAIT, "frozen", f"customer {customer_no}"))
    if chain_state.state(conn, chain).frozen:
        found.append(Finding(Verdict.WAIT, "frozen", f"chain {chain}"))
    in_force = sa.or_(
        sa.and_(stops.c.kind == StopKind.PAUSE.value, stops.c.lifted_at_ns.is_(None)),
        sa.and_(stops.c.kind == StopKind.FREEZE.value, stops.c.until_ns > now_ns),
    )
    query = sa.select(stops).where(stops.c.scope.in_(scopes), in_force).order_by(stops.c.stop_id)
    for row in conn.execute(query):
        if row.kind == StopKind.PAUSE.value:
            found.append(Finding(Verdict.WAIT, "paused", f"{row.scope} by {row.stop_id}"))
        else:
            found.append(Finding(Verdict.BLOCK, "freeze", f"{row.scope} by {row.stop_id}"))
    return tuple(found)
