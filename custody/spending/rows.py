"""Spends (one intended outgoing transaction each) and their attempts (signed bytes), as rows.

    PLANNED -> SIGNED -> BROADCAST -> CONFIRMED | FAILED

A spend owns one nonce of its sender's lane for ever, so all attempts of one spend exclude each
other on chain. Terminal states are proven at finality; UNKNOWN outcomes stay BROADCAST and the same
bytes are resent.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BroadcastOutcome, SpendIntent, SpendKind
from core.errors import Corrupt, Reason, Refused
from core.ids import AssetNo, ChainId, SpendId
from custody.db import Amount, Bytes, Flag, Int64, Text, next_number, table
from custody.keys import intent as intents


class SpendState(enum.StrEnum):
    """Where a spend stands."""

    PLANNED = "planned"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    CONFIRMED = "confirmed"
    FAILED = "failed"


_S = SpendState
NEXT: dict[SpendState, frozenset[SpendState]] = {
    _S.PLANNED: frozenset({_S.SIGNED, _S.FAILED}),
    _S.SIGNED: frozenset({_S.BROADCAST}),
    _S.BROADCAST: frozenset({_S.CONFIRMED, _S.FAILED}),
    _S.CONFIRMED: frozenset(),
    _S.FAILED: frozenset(),
}
TO_CUSTOMERS = frozenset({SpendKind.WITHDRAWAL, SpendKind.BATCH})
_TO_CUSTOMERS = sorted(kind.value for kind in TO_CUSTOMERS)
IN_FLIGHT = (SpendState.PLANNED, SpendState.SIGNED, SpendState.BROADCAST)

spends = table(
    "spends",
    sa.Column("spend_id", Text, primary_key=True),
    sa.Column("spend_no", Int64, nullable=False, unique=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("cause_id", Text, nullable=False),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), nullable=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("key_index", Int64, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("destination_account", Text),
    sa.Column("destination", Text, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("intent", Bytes, nullable=False),
    sa.Column("nonce", Int64, nullable=False),
    sa.Column("wallet", Text),
    sa.Column("wallet_nonce", Int64),
    sa.Column("relay", Bytes),
    sa.Column("state", Text, nullable=False),
    sa.Column("abandoned", Flag, nullable=False),
    sa.Column("failure", Text),
    sa.Column("fee_paid", Amount),
    sa.Column("delivered", Amount),
    sa.Column("final_height", Int64),
    sa.Column("planned_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("chain", "source", "nonce"),
    sa.UniqueConstraint("cause_id", "kind"),
    sa.Index("ix_spends_state", "chain", "state", "spend_no"),
    sa.Index("ix_spends_source", "chain", "source", "state"),
    sa.Index("ix_spends_destination", "chain", "destination", "state"),
    sa.Index("ix_spends_final", "chain", "final_height"),
)

spend_attempts = table(
    "spend_attempts",
    sa.Column("spend_id", Text, sa.ForeignKey("spends.spend_id"), primary_key=True),
    sa.Column("attempt_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("chain", Text, nullable=False),
    sa.Column("tx_id", Text, nullable=False),
    sa.Column("payload", Bytes, nullable=False),
    sa.Column("raw", Bytes, nullable=False),
    sa.Column("cancels", Flag, nullable=False),
    sa.Column("signed_at_ns", Int64, nullable=False),
    sa.Column("sent_at_ns", Int64),
    sa.Column("sends", Int64, nullable=False),
    sa.Column("outcome", Text),
    sa.Column("detail", Text),
    sa.UniqueConstraint("chain", "tx_id"),
)


@dataclass(frozen=True, slots=True)
class Spend:
    """One spend row."""

    spend_id: SpendId
    kind: SpendKind
    cause_id: str
    chain: ChainId
    asset_no: AssetNo
    account: str
    key_index: int
    source: str
    destination_account: str | None
    destination: str
    amount: int
    intent: SpendIntent
    nonce: int
    state: SpendState
    abandoned: bool
    failure: str | None
    fee_paid: int | None
    delivered: int | None
    """What arrived at the destination, once final; less than amount for odd tokens."""
    final_height: int | None
    planned_at_ns: int
    wallet: str | None = None
    """The wallet of several owners that pays, where the source only relays; account pays fees."""
    wallet_nonce: int | None = None
    """Of that wallet: its signatures hold at this one."""
    relay: bytes | None = None
    """Its transaction with its owners' signatures."""

    @property
    def payer(self) -> str:
        """Return the wallet whose money moves."""
        return self.wallet or self.account


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of a spend. `cancels`: it spends the nonce back to ourselves."""

    spend_id: SpendId
    attempt_no: int
    tx_id: str
    payload: bytes
    raw: bytes
    cancels: bool
    signed_at_ns: int
    sent_at_ns: int | None
    sends: int
    outcome: BroadcastOutcome | None
    detail: str | None


def insert(conn: sa.Connection, row: Spend) -> None:
    """Store a planned spend. Refused: exists_with_other_content when the cause has one already."""
    if find_by_cause(conn, row.cause_id, row.kind) is not None:
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"{row.kind} of {row.cause_id}")
    values = {c.name: getattr(row, c.name) for c in spends.c if c.name != "spend_no"}
    conn.execute(
        spends.insert().values(
            {
                **values,
                "spend_no": next_number(conn, "spend_no"),
                "kind": row.kind.value,
                "state": row.state.value,
                "intent": intents.encode(row.intent),
            }
        )
    )


def get(conn: sa.Connection, spend_id: SpendId) -> Spend:
    """Return a spend. Refused: not_found."""
    row = conn.execute(sa.select(spends).where(spends.c.spend_id == spend_id)).one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, spend_id)
    return _spend(row)


def find_by_cause(conn: sa.Connection, cause_id: str, kind: SpendKind) -> Spend | None:
    """Return the spend of a cause, None when none was planned."""
    row = conn.execute(
        sa.select(spends).where(spends.c.cause_id == cause_id, spends.c.kind == kind.value)
    ).one_or_none()
    return None if row is None else _spend(row)


def in_states(
    conn: sa.Connection, chain: ChainId, states: Sequence[SpendState], *, limit: int = 200
) -> list[Spend]:
    """Return a chain's spends in some states, oldest first."""
    query = (
        sa.select(spends)
        .where(spends.c.chain == chain, spends.c.state.in_([state.value for state in states]))
        .order_by(spends.c.spend_no)
        .limit(limit)
    )
    return [_spend(row) for row in conn.execute(query)]


def ids_in_state(conn: sa.Connection, chain: ChainId, state: SpendState) -> list[SpendId]:
    """Return the ids of every spend of a chain in a state, withdrawals first, then oldest first."""
    query = (
        sa.select(spends.c.spend_id)
        .where(spends.c.chain == chain, spends.c.state == state.value)
        .order_by(spends.c.kind.not_in(_TO_CUSTOMERS), spends.c.spend_no)
    )
    return [SpendId(found) for found in conn.execute(query).scalars()]


def touching(conn: sa.Connection, chain: ChainId, address: str) -> bool:
    """Return whether a spend from or to an address is in flight."""
    return conn.execute(_touching(chain, address).where(_is_in_flight())).first() is not None


def failures_from(
    conn: sa.Connection, chain: ChainId, source: str, asset_no: AssetNo
) -> tuple[int, int]:
    """Return how often spends of an asset from an address failed, and when the last was planned."""
    mine = sa.and_(
        spends.c.chain == chain, spends.c.source == source, spends.c.asset_no == asset_no
    )
    query = sa.select(sa.func.count(), sa.func.max(spends.c.planned_at_ns))
    failed = spends.c.state == SpendState.FAILED.value
    count, last_ns = conn.execute(query.where(mine, failed)).one()
    return count, last_ns or 0


def count_touching(conn: sa.Connection, chain: ChainId, address: str) -> int:
    """Return how many spends from or to an address there ever were."""
    counted = sa.select(sa.func.count()).select_from(_touching(chain, address).subquery())
    return conn.execute(counted).scalar_one()


def all_of(conn: sa.Connection, chain: ChainId, *, limit: int = 100_000) -> list[Spend]:
    """Return a chain's spends in the order they were planned."""
    query = (
        sa.select(spends).where(spends.c.chain == chain).order_by(spends.c.spend_no).limit(limit)
    )
    return [_spend(row) for row in conn.execute(query)]


def unsettled(conn: sa.Connection, chain: ChainId, *, above: int) -> list[Spend]:
    """Return a chain's spends that have not ended, or ended above a height, oldest first."""
    query = (
        sa.select(spends)
        .where(spends.c.chain == chain, sa.or_(_is_in_flight(), spends.c.final_height > above))
        .order_by(spends.c.spend_no)
    )
    return [_spend(row) for row in conn.execute(query)]


def advance(conn: sa.Connection, row: Spend, target: SpendState, **values: object) -> Spend:
    """Move a spend along the declared graph by compare-and-set. Refused: illegal_transition."""
    if target not in NEXT[row.state]:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.spend_id}: {row.state} -> {target}")
    changed = conn.execute(
        spends.update()
        .where(spends.c.spend_id == row.spend_id, spends.c.state == row.state.value)
        .values(state=target.value, **values)
    )
    if changed.rowcount != 1:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.spend_id} is no longer {row.state}")
    return get(conn, row.spend_id)


def abandon(conn: sa.Connection, row: Spend, reason: str) -> None:
    """Mark a spend whose nonce will be spent back to ourselves, if it still is where row says.

    While it is PLANNED, because it may not be signed; while it is BROADCAST, because it waits too
    long and may not be replaced by a dearer one. Refused: illegal_transition.
    """
    if row.state not in (SpendState.PLANNED, SpendState.BROADCAST):
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.spend_id} is {row.state}")
    conn.execute(
        spends.update()
        .where(spends.c.spend_id == row.spend_id, spends.c.state == row.state.value)
        .values(abandoned=True, failure=reason)
    )


def save_attempt(conn: sa.Connection, row: Attempt, chain: ChainId) -> None:
    """Save signed bytes before they may leave.

    Quiet when exactly these are saved, Corrupt when others are. Refused: in_progress (the spend was
    abandoned meanwhile and its cancellation came first, or the other way round).
    """
    saved = [found for found in attempts(conn, row.spend_id) if found.attempt_no == row.attempt_no]
    if saved:
        if saved[0].cancels != row.cancels:
            raise Refused(Reason.IN_PROGRESS, f"{row.spend_id} attempt {row.attempt_no}")
        if saved[0].raw != row.raw:
            raise Corrupt(f"{row.spend_id} attempt {row.attempt_no} has other bytes")
        return
    values = {c.name: getattr(row, c.name) for c in spend_attempts.c if c.name != "chain"}
    conn.execute(spend_attempts.insert().values({**values, "chain": chain}))


def attempts(conn: sa.Connection, spend_id: SpendId) -> list[Attempt]:
    """Return a spend's attempts in the order they were signed."""
    query = (
        sa.select(spend_attempts)
        .where(spend_attempts.c.spend_id == spend_id)
        .order_by(spend_attempts.c.attempt_no)
    )
    return [_attempt(row) for row in conn.execute(query)]


def note_send(
    conn: sa.Connection,
    row: Attempt,
    *,
    outcome: BroadcastOutcome | None,
    detail: str,
    now_ns: int,
) -> None:
    """Record that bytes are about to leave (outcome None) or what came of it."""
    values: dict[str, object] = {"sent_at_ns": now_ns}
    if outcome is None:
        values["sends"] = spend_attempts.c.sends + 1
    else:
        values |= {"outcome": outcome.value, "detail": detail[:500]}
    conn.execute(
        spend_attempts.update()
        .where(
            spend_attempts.c.spend_id == row.spend_id,
            spend_attempts.c.attempt_no == row.attempt_no,
        )
        .values(**values)
    )


def spend_of_tx(conn: sa.Connection, chain: ChainId, tx_id: str) -> SpendId | None:
    """Return the spend that a transaction is an attempt of, None when it is none of ours."""
    found = conn.execute(
        sa.select(spend_attempts.c.spend_id).where(
            spend_attempts.c.chain == chain, spend_attempts.c.tx_id == tx_id
        )
    ).scalar_one_or_none()
    return None if found is None else SpendId(found)


def own_tx_ids(conn: sa.Connection, chain: ChainId, tx_ids: Sequence[str]) -> frozenset[str]:
    """Return which of these transactions are our own transfers: their money only changes place.

    A withdrawal's is not among them: when its destination became an address of ours, it is that
    customer's deposit.
    """
    if not tx_ids:
        return frozenset()
    query = (
        sa.select(spend_attempts.c.tx_id)
        .join(spends, spends.c.spend_id == spend_attempts.c.spend_id)
        .where(
            spend_attempts.c.chain == chain,
            spend_attempts.c.tx_id.in_(sorted(set(tx_ids))),
            spends.c.destination_account.is_not(None),
        )
    )
    return frozenset(conn.execute(query).scalars())


def _touching(chain: ChainId, address: str) -> sa.Select[tuple[str]]:
    either = sa.or_(spends.c.source == address, spends.c.destination == address)
    return sa.select(spends.c.spend_id).where(spends.c.chain == chain, either)


def _is_in_flight() -> sa.ColumnElement[bool]:
    return spends.c.state.in_([state.value for state in IN_FLIGHT])


def _spend(row: sa.Row[tuple[object, ...]]) -> Spend:
    values = {c.name: getattr(row, c.name) for c in spends.c if c.name != "spend_no"}
    intent = intents.decode(row.intent)
    if not isinstance(intent, SpendIntent):
        raise Corrupt(f"{row.spend_id} holds no spend intent")
    values |= {"kind": SpendKind(row.kind), "state": SpendState(row.state), "intent": intent}
    return Spend(**values)


def _attempt(row: sa.Row[tuple[object, ...]]) -> Attempt:
    values = {c.name: getattr(row, c.name) for c in spend_attempts.c if c.name != "chain"}
    outcome = None if row.outcome is None else BroadcastOutcome(row.outcome)
    return Attempt(**{**values, "outcome": outcome})
