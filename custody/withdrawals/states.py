"""Withdrawal rows and the table of their transitions (I13).

Illegal ones are refused, terminal states absorb.

REQUESTED -> HELD -> APPROVED -> PLANNED -> SIGNED -> BROADCAST -> CONFIRMED
APPROVED -> CONFIRMED, settled with another customer of ours
or REFUSED, REJECTED, CANCELLED, EXPIRED, FAILED
APPROVED -> HELD again when the approvals are no quorum any more
PLANNED or BROADCAST -> APPROVED again when the batch it was in was cancelled at finality
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Reason, Refused
from core.ids import AssetNo, ChainId, CustomerNo, WithdrawalId
from custody.db import Amount, Bytes, Int64, Text, next_number, table


class WithdrawalState(enum.StrEnum):
    """Where a withdrawal stands."""

    REQUESTED = "requested"
    HELD = "held"
    APPROVED = "approved"
    PLANNED = "planned"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"


class WithdrawalVerb(enum.StrEnum):
    """What can happen to a withdrawal."""

    HOLD = "hold"
    REFUSE = "refuse"
    APPROVE = "approve"
    UNAPPROVE = "unapprove"
    REJECT = "reject"
    CANCEL = "cancel"
    EXPIRE = "expire"
    PLAN = "plan"
    SIGN = "sign"
    BROADCAST = "broadcast"
    CONFIRM = "confirm"
    SETTLE = "settle"
    """Paid to another customer of ours, without a chain transaction."""
    PUT_BACK = "put_back"
    """Its batch was cancelled at finality: it waits again, to be paid alone."""
    FAIL = "fail"


_S, _V = WithdrawalState, WithdrawalVerb
TRANSITIONS: dict[tuple[WithdrawalState, WithdrawalVerb], WithdrawalState] = {
    (_S.REQUESTED, _V.HOLD): _S.HELD,
    (_S.REQUESTED, _V.REFUSE): _S.REFUSED,
    (_S.HELD, _V.APPROVE): _S.APPROVED,
    (_S.HELD, _V.REJECT): _S.REJECTED,
    (_S.HELD, _V.CANCEL): _S.CANCELLED,
    (_S.HELD, _V.EXPIRE): _S.EXPIRED,
    (_S.APPROVED, _V.UNAPPROVE): _S.HELD,
    (_S.APPROVED, _V.REJECT): _S.REJECTED,
    (_S.APPROVED, _V.CANCEL): _S.CANCELLED,
    (_S.APPROVED, _V.EXPIRE): _S.EXPIRED,
    (_S.APPROVED, _V.PLAN): _S.PLANNED,
    (_S.APPROVED, _V.SETTLE): _S.CONFIRMED,
    (_S.PLANNED, _V.SIGN): _S.SIGNED,
    (_S.SIGNED, _V.BROADCAST): _S.BROADCAST,
    (_S.BROADCAST, _V.CONFIRM): _S.CONFIRMED,
    (_S.BROADCAST, _V.FAIL): _S.FAILED,
    (_S.PLANNED, _V.FAIL): _S.FAILED,
    (_S.PLANNED, _V.PUT_BACK): _S.APPROVED,
    (_S.BROADCAST, _V.PUT_BACK): _S.APPROVED,
}
INSIDE = "inside"
"""The wallet of withdrawals to other customers: it has no key, so nothing is ever signed for it."""
TERMINAL = frozenset({_S.CONFIRMED, _S.REFUSED, _S.REJECTED, _S.CANCELLED, _S.EXPIRED, _S.FAILED})
RELEASING = frozenset({_S.REJECTED, _S.CANCELLED, _S.EXPIRED, _S.FAILED})
"""Terminal states whose hold goes back to the customer."""
LIVE = frozenset(WithdrawalState) - TERMINAL
SEALING = frozenset({_S.APPROVED, _S.PLANNED, _S.SIGNED, _S.BROADCAST})
"""States in which the platform itself moves the withdrawal on."""

withdrawals = table(
    "withdrawals",
    sa.Column("withdrawal_id", Text, primary_key=True),
    sa.Column("request_no", Int64, nullable=False, unique=True),
    sa.Column("client_withdrawal_id", Text, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("initiator", Text, nullable=False),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), nullable=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("destination", Text, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("fee", Amount, nullable=False),
    sa.Column("intent", Bytes, nullable=False),
    sa.Column("intent_hash", Bytes, nullable=False),
    sa.Column("wallet", Text, nullable=False),
    sa.Column("expires_at_ns", Int64, nullable=False),
    sa.Column("releasable_at_ns", Int64),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("requested_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("customer_no", "client_withdrawal_id"),
    sa.Index("ix_withdrawals_state", "state", "request_no"),
)

withdrawal_events = table(
    "withdrawal_events",
    sa.Column("event_no", Int64, primary_key=True, autoincrement=False),
    sa.Column(
        "withdrawal_id",
        Text,
        sa.ForeignKey("withdrawals.withdrawal_id"),
        nullable=False,
        index=True,
    ),
    sa.Column("state", Text, nullable=False),
    sa.Column("detail", Text),
    sa.Column("at_ns", Int64, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """One withdrawal row. `intent` is the canonical encoding that officers sign the hash of."""

    withdrawal_id: WithdrawalId
    request_no: int
    client_withdrawal_id: str
    customer_no: CustomerNo
    initiator: str
    chain: ChainId
    asset_no: AssetNo
    destination: str
    amount: int
    fee: int
    intent: bytes
    intent_hash: bytes
    wallet: str
    """Account that pays."""
    expires_at_ns: int
    releasable_at_ns: int | None
    """From when it may be signed: its quorum and the rule's delay; None before the quorum."""
    state: WithdrawalState
    reason: str | None
    requested_at_ns: int


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One transition, for people."""

    state: WithdrawalState
    detail: str | None
    at_ns: int


def insert(conn: sa.Connection, row: Withdrawal) -> None:
    """Store a new request."""
    values = {c.name: getattr(row, c.name) for c in withdrawals.c}
    conn.execute(withdrawals.insert().values({**values, "state": row.state.value}))
    _note(conn, row.withdrawal_id, row.state, None, row.requested_at_ns)


def next_request_no(conn: sa.Connection) -> int:
    """Return the number of the next request; order in time is this, never a clock."""
    return next_number(conn, "withdrawal_request")


def get(conn: sa.Connection, withdrawal_id: WithdrawalId) -> Withdrawal:
    """Return a withdrawal. Refused: not_found."""
    row = conn.execute(
        sa.select(withdrawals).where(withdrawals.c.withdrawal_id == withdrawal_id)
    ).one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, withdrawal_id)
    return _withdrawal(row)


def by_client_id(
    conn: sa.Connection, customer_no: CustomerNo, client_withdrawal_id: str
) -> Withdrawal | None:
    """Return the withdrawal a customer made under his own id, None when there is none."""
    row = conn.execute(
        sa.select(withdrawals).where(
            withdrawals.c.customer_no == customer_no,
            withdrawals.c.client_withdrawal_id == client_withdrawal_id,
        )
    ).one_or_none()
    return None if row is None else _withdrawal(row)


def in_states(
    conn: sa.Connection,
    states: Sequence[WithdrawalState] | frozenset[WithdrawalState],
    *,
    chain: ChainId | None = None,
    customer_no: CustomerNo | None = None,
    wallet: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Withdrawal]:
    """Return withdrawals in some states by request number; an empty set of states means all."""
    query = sa.select(withdrawals).where(withdrawals.c.request_no > after)
    if states:
        query = query.where(withdrawals.c.state.in_(sorted(state.value for state in states)))
    if chain is not None:
        query = query.where(withdrawals.c.chain == chain)
    if customer_no is not None:
        query = query.where(withdrawals.c.customer_no == customer_no)
    if wallet is not None:
        query = query.where(withdrawals.c.wallet == wallet)
    query = query.order_by(withdrawals.c.request_no).limit(limit)
    return [_withdrawal(row) for row in conn.execute(query)]


def advance(
    conn: sa.Connection,
    row: Withdrawal,
    verb: WithdrawalVerb,
    *,
    now_ns: int,
    reason: str | None = None,
    releasable_at_ns: int | None = None,
) -> Withdrawal:
    """Move a withdrawal along the declared graph by compare-and-set.

    releasable_at_ns comes with what completes the quorum. Refused: illegal_transition.
    """
    target = TRANSITIONS.get((row.state, verb))
    if target is None:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.withdrawal_id}: {row.state} -{verb}->")
    changed = conn.execute(
        withdrawals.update()
        .where(
            withdrawals.c.withdrawal_id == row.withdrawal_id,
            withdrawals.c.state == row.state.value,
        )
        .values(state=target.value, reason=reason, **_release_time(verb, releasable_at_ns))
    )
    if changed.rowcount != 1:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.withdrawal_id} is no longer {row.state}")
    _note(conn, row.withdrawal_id, target, reason, now_ns)
    return get(conn, row.withdrawal_id)


def _release_time(verb: WithdrawalVerb, at_ns: int | None) -> dict[str, int | None]:
    """Return the column that a verb changes: the clock of the release runs from the quorum on."""
    return {"releasable_at_ns": at_ns} if verb in (_V.APPROVE, _V.UNAPPROVE) else {}


def timeline(conn: sa.Connection, withdrawal_id: WithdrawalId) -> list[TimelineEntry]:
    """Return every transition of a withdrawal in order."""
    query = (
        sa.select(withdrawal_events)
        .where(withdrawal_events.c.withdrawal_id == withdrawal_id)
        .order_by(withdrawal_events.c.event_no)
    )
    return [
        TimelineEntry(WithdrawalState(row.state), row.detail, row.at_ns)
        for row in conn.execute(query)
    ]


def _note(
    conn: sa.Connection,
    withdrawal_id: WithdrawalId,
    state: WithdrawalState,
    detail: str | None,
    now_ns: int,
) -> None:
    conn.execute(
        withdrawal_events.insert().values(
            event_no=next_number(conn, "withdrawal_event"),
            withdrawal_id=withdrawal_id,
            state=state.value,
            detail=detail,
            at_ns=now_ns,
        )
    )


def _withdrawal(row: sa.Row[tuple[object, ...]]) -> Withdrawal:
    values = {c.name: getattr(row, c.name) for c in withdrawals.c}
    return Withdrawal(**{**values, "state": WithdrawalState(row.state)})
