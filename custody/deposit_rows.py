"""Deposit rows and the table of their transitions (I13).

SEEN -> COUNTING -> FINAL -> CREDITED          the natural way; credit at FINAL only
HELD(reason)  DUST(accumulating)  UNATTRIBUTED(claimable)  ORPHANED  REVERSED
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BlockRef
from core.errors import Reason, Refused
from core.ids import AssetNo, ChainId, CustomerNo, DepositId
from custody.db import Amount, Int64, Text, table


class DepositState(enum.StrEnum):
    """Where a deposit stands."""

    SEEN = "seen"
    COUNTING = "counting"
    FINAL = "final"
    CREDITED = "credited"
    HELD = "held"
    DUST = "dust"
    UNATTRIBUTED = "unattributed"
    ORPHANED = "orphaned"
    REVERSED = "reversed"


class DepositVerb(enum.StrEnum):
    """What can happen to a deposit."""

    COUNT = "count"
    FINALISE = "finalise"
    HOLD = "hold"
    ACCUMULATE = "accumulate"
    SET_ASIDE = "set_aside"
    CREDIT = "credit"
    ORPHAN = "orphan"
    SEE_AGAIN = "see_again"
    REVERSE = "reverse"


_S, _V = DepositState, DepositVerb
TRANSITIONS: dict[tuple[DepositState, DepositVerb], DepositState] = {
    (_S.SEEN, _V.COUNT): _S.COUNTING,
    (_S.SEEN, _V.FINALISE): _S.FINAL,
    (_S.SEEN, _V.HOLD): _S.HELD,
    (_S.SEEN, _V.ACCUMULATE): _S.DUST,
    (_S.SEEN, _V.SET_ASIDE): _S.UNATTRIBUTED,
    (_S.SEEN, _V.ORPHAN): _S.ORPHANED,
    (_S.COUNTING, _V.FINALISE): _S.FINAL,
    (_S.COUNTING, _V.HOLD): _S.HELD,
    (_S.COUNTING, _V.ACCUMULATE): _S.DUST,
    (_S.COUNTING, _V.SET_ASIDE): _S.UNATTRIBUTED,
    (_S.COUNTING, _V.ORPHAN): _S.ORPHANED,
    (_S.ORPHANED, _V.SEE_AGAIN): _S.SEEN,
    (_S.DUST, _V.FINALISE): _S.FINAL,
    (_S.FINAL, _V.CREDIT): _S.CREDITED,
    (_S.FINAL, _V.HOLD): _S.HELD,
    (_S.CREDITED, _V.REVERSE): _S.REVERSED,
    (_S.HELD, _V.REVERSE): _S.REVERSED,
    (_S.DUST, _V.REVERSE): _S.REVERSED,
    (_S.UNATTRIBUTED, _V.REVERSE): _S.REVERSED,
}

UNDECIDED = (DepositState.SEEN, DepositState.COUNTING)
DECIDED = (
    DepositState.FINAL,
    DepositState.CREDITED,
    DepositState.HELD,
    DepositState.DUST,
    DepositState.UNATTRIBUTED,
)
"""States that a final block gave; only a resolution takes them back."""
UNBOOKED = (*UNDECIDED, DepositState.FINAL, DepositState.HELD, DepositState.DUST)

deposits = table(
    "deposits",
    sa.Column("deposit_id", Text, primary_key=True),
    sa.Column("arrival_no", Int64, nullable=False, unique=True),
    sa.Column("chain", Text, nullable=False),
    sa.Column("tx_id", Text, nullable=False),
    sa.Column("position", Text, nullable=False),
    sa.Column("asset_key", Text, nullable=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no")),
    sa.Column("address", Text, nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no")),
    sa.Column("from_address", Text),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("claimed", Amount, nullable=False),
    sa.Column("anomaly", Text),
    sa.Column("height", Int64, nullable=False),
    sa.Column("block_hash", Text, nullable=False),
    sa.Column("extra_depth", Int64, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("seen_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("chain", "tx_id", "position", "asset_key"),
    sa.ForeignKeyConstraint(["chain", "address"], ["addresses.chain", "addresses.address"]),
    sa.Index("ix_deposits_state", "chain", "state", "height"),
    sa.Index("ix_deposits_customer", "customer_no", "arrival_no"),
    sa.Index("ix_deposits_address", "chain", "address", "state"),
)


@dataclass(frozen=True, slots=True)
class Deposit:
    """One deposit row."""

    deposit_id: DepositId
    arrival_no: int
    chain: ChainId
    tx_id: str
    position: str
    asset_key: str
    asset_no: AssetNo | None
    address: str
    account: str
    customer_no: CustomerNo | None
    amount: int
    claimed: int
    anomaly: str | None
    block: BlockRef
    state: DepositState
    reason: str | None
    extra_depth: int = 0
    """Blocks that must be final above its own before it is decided."""


def get(conn: sa.Connection, deposit_id: DepositId) -> Deposit:
    """Return a deposit. Refused: not_found."""
    row = find(conn, deposit_id)
    if row is None:
        raise Refused(Reason.NOT_FOUND, deposit_id)
    return row


def find(conn: sa.Connection, deposit_id: DepositId) -> Deposit | None:
    """Return a deposit, None when it was never seen."""
    row = conn.execute(sa.select(deposits).where(deposits.c.deposit_id == deposit_id)).one_or_none()
    return None if row is None else deposit_of(row)


def list_deposits(
    conn: sa.Connection,
    *,
    customer_no: CustomerNo | None = None,
    chain: ChainId | None = None,
    states: Sequence[DepositState] = (),
    after: int = 0,
    limit: int = 100,
) -> list[Deposit]:
    """Return deposits by arrival, after an arrival number."""
    query = sa.select(deposits).where(deposits.c.arrival_no > after)
    if customer_no is not None:
        query = query.where(deposits.c.customer_no == customer_no)
    if chain is not None:
        query = query.where(deposits.c.chain == chain)
    if states:
        query = query.where(deposits.c.state.in_([state.value for state in states]))
    query = query.order_by(deposits.c.arrival_no).limit(limit)
    return [deposit_of(row) for row in conn.execute(query)]


def advance(
    conn: sa.Connection, row: Deposit, verb: DepositVerb, *, reason: str | None = None
) -> Deposit:
    """Move a deposit along the declared graph by compare-and-set. Refused: illegal_transition."""
    target = TRANSITIONS.get((row.state, verb))
    if target is None:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.deposit_id}: {row.state} -{verb}->")
    changed = conn.execute(
        deposits.update()
        .where(deposits.c.deposit_id == row.deposit_id, deposits.c.state == row.state.value)
        .values(state=target.value, reason=reason)
    )
    if changed.rowcount != 1:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.deposit_id} is no longer {row.state}")
    return get(conn, row.deposit_id)


def deposit_of(row: sa.Row[tuple[object, ...]]) -> Deposit:
    return Deposit(
        deposit_id=DepositId(row.deposit_id),
        arrival_no=row.arrival_no,
        chain=ChainId(row.chain),
        tx_id=row.tx_id,
        position=row.position,
        asset_key=row.asset_key,
        asset_no=row.asset_no,
        address=row.address,
        account=row.account,
        customer_no=row.customer_no,
        amount=row.amount,
        claimed=row.claimed,
        anomaly=row.anomaly,
        block=BlockRef(row.height, row.block_hash),
        state=DepositState(row.state),
        reason=row.reason,
        extra_depth=row.extra_depth,
    )
