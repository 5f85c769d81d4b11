"""The one road from SQL to the engine: numbered rows, handed over in order, applied exactly once.

A row is written in the same transaction as its cause (a final deposit, a requested withdrawal). The
single funding step numbers rows without gaps, commits, and submits them in order; the engine
remembers only the last number. Whatever crashes in between, nothing is applied twice and nothing is
skipped.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from core.errors import Corrupt
from core.ids import AssetNo, CustomerNo
from custody.db import Amount, Database, Int64, Text, next_number, table
from engine.types import Capture, Command, Credit, Debit, Hold, Release

BATCH_MAX = 256


class FundingKind(enum.StrEnum):
    """What a row asks of the engine."""

    CREDIT = "credit"
    DEBIT = "debit"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    RECEIVE = "receive"
    """A Credit whose cause is another customer's withdrawal (custody.withdrawals.inside)."""


class FundingState(enum.StrEnum):
    """NEW until numbered, NUMBERED until the books saw the engine's answer.

    Then DONE or REFUSED.
    """

    NEW = "new"
    NUMBERED = "numbered"
    DONE = "done"
    REFUSED = "refused"


funding = table(
    "funding",
    sa.Column("funding_id", Int64, primary_key=True, autoincrement=False),
    sa.Column("number", Int64, unique=True),
    sa.Column("kind", Text, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("cause_id", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("reason", Text),
    sa.Column("sequence", Int64),
    sa.Column("shortfall", Amount),
    sa.UniqueConstraint("cause_id", "kind"),
    sa.CheckConstraint("(state = 'new') = (number IS NULL)", name="new_rows_have_no_number"),
    sa.Index("ix_funding_state", "state", "funding_id"),
    sa.Index("ix_funding_kind", "kind", "customer_no"),
)


@dataclass(frozen=True, slots=True)
class FundingRow:
    """One request to the engine. `number` is 0 until it is numbered."""

    number: int
    kind: FundingKind
    customer_no: CustomerNo
    asset_no: AssetNo
    amount: int
    cause_id: str
    state: FundingState


class Submitter(Protocol):
    """What the funding step needs of the sequencer."""

    @property
    def last_funding_number(self) -> int:
        """Return the last number the engine has applied."""
        ...

    @property
    def known_assets(self) -> frozenset[int]:
        """Return the numbers of the assets that the engine knows."""
        ...

    def execute(self, commands: list[Command]) -> object:
        """Journal and apply a batch."""
        ...


def put(
    conn: sa.Connection,
    kind: FundingKind,
    *,
    customer_no: CustomerNo,
    asset_no: AssetNo,
    amount: int,
    cause_id: str,
) -> None:
    """Write one unnumbered row beside its cause; quiet when (cause, kind) has its row already."""
    row = find(conn, kind, cause_id)
    if row is not None:
        if (row.customer_no, row.asset_no, row.amount) != (customer_no, asset_no, amount):
            raise Corrupt(f"funding {kind} of {cause_id} exists with other content")
        return
    conn.execute(
        funding.insert().values(
            funding_id=next_number(conn, "funding_id"),
            kind=kind.value,
            customer_no=customer_no,
            asset_no=asset_no,
            amount=amount,
            cause_id=cause_id,
            state=FundingState.NEW.value,
        )
    )


def find(conn: sa.Connection, kind: FundingKind, cause_id: str) -> FundingRow | None:
    """Return the row of a cause, None when it was never put."""
    row = conn.execute(
        sa.select(funding).where(funding.c.cause_id == cause_id, funding.c.kind == kind.value)
    ).one_or_none()
    return None if row is None else _row(row)


def causes_of(conn: sa.Connection, kind: FundingKind) -> frozenset[str]:
    """Return every cause that has a row of a kind."""
    query = sa.select(funding.c.cause_id).where(funding.c.kind == kind.value)
    return frozenset(conn.execute(query).scalars())


def is_taking_back(conn: sa.Connection, customer_no: CustomerNo) -> bool:
    """Return whether money of a customer is being taken back and the books do not have it yet."""
    query = sa.select(funding.c.funding_id).where(
        funding.c.customer_no == customer_no,
        funding.c.kind == FundingKind.DEBIT.value,
        funding.c.state.in_([FundingState.NEW.value, FundingState.NUMBERED.value]),
    )
    return conn.execute(query.limit(1)).first() is not None


def by_number(conn: sa.Connection, number: int) -> FundingRow:
    """Return the row with that number; Corrupt when the engine knows a number that we do not."""
    row = conn.execute(sa.select(funding).where(funding.c.number == number)).one_or_none()
    if row is None:
        raise Corrupt(f"the engine applied funding number {number}, which the books never gave")
    return _row(row)


def settle(
    conn: sa.Connection,
    number: int,
    *,
    sequence: int,
    reason: str | None = None,
    shortfall: int | None = None,
) -> None:
    """Record the engine's answer; called by settlement in the transaction that books it."""
    state = FundingState.DONE if reason is None else FundingState.REFUSED
    conn.execute(
        funding.update()
        .where(funding.c.number == number, funding.c.state == FundingState.NUMBERED.value)
        .values(state=state.value, sequence=sequence, reason=reason, shortfall=shortfall)
    )


def pending(conn: sa.Connection) -> int:
    """Return how many rows the books have not seen answered."""
    states = (FundingState.NEW.value, FundingState.NUMBERED.value)
    query = sa.select(sa.func.count()).where(funding.c.state.in_(states))
    return conn.execute(query).scalar_one()


def step(
    db: Database,
    sequencer: Submitter,
    *,
    list_assets: Callable[[], object] | None = None,
    batch_max: int = BATCH_MAX,
) -> int:
    """Number what is new, then hand the engine what it has not applied.

    Return how many were handed over. An asset that was listed after the engine started is made
    known by list_assets first; until the engine knows it, its rows stay unnumbered.
    """
    with db.read() as conn:
        waiting = _new(conn, batch_max)
    if waiting:  # many times a second there is nothing to do, and nobody else should wait for it
        if list_assets is not None and set(waiting.values()) - sequencer.known_assets:
            list_assets()
        known = sequencer.known_assets
        ready = [funding_id for funding_id, asset_no in waiting.items() if asset_no in known]
        db.run(lambda conn: _number_new(conn, ready))
    with db.read() as conn:
        rows = [
            _row(row)
            for row in conn.execute(
                sa.select(funding)
                .where(funding.c.number > sequencer.last_funding_number)
                .order_by(funding.c.number)
                .limit(batch_max)
            )
        ]
        holds = {
            row.cause_id: found.number
            for row in rows
            if row.kind in (FundingKind.CAPTURE, FundingKind.RELEASE)
            and (found := find(conn, FundingKind.HOLD, row.cause_id)) is not None
        }
    if not rows:
        return 0
    if rows[0].number != sequencer.last_funding_number + 1:
        raise Corrupt(f"funding number {sequencer.last_funding_number + 1} is missing")
    sequencer.execute([command_of(row, hold_number=holds.get(row.cause_id)) for row in rows])
    return len(rows)


_BEGIN: dict[FundingKind, type[Credit] | type[Debit] | type[Hold]] = {
    FundingKind.CREDIT: Credit,
    FundingKind.DEBIT: Debit,
    FundingKind.HOLD: Hold,
    FundingKind.RECEIVE: Credit,
}


def command_of(row: FundingRow, *, hold_number: int | None) -> Command:
    """Return the engine command of a row.

    Corrupt when a capture or release has no numbered hold.
    """
    begin = _BEGIN.get(row.kind)
    if begin is not None:
        return begin(
            number=row.number,
            customer_no=row.customer_no,
            asset_no=row.asset_no,
            amount=row.amount,
        )
    if not hold_number:
        raise Corrupt(f"{row.kind} of {row.cause_id} has no hold")
    end = Capture if row.kind is FundingKind.CAPTURE else Release
    return end(
        number=row.number,
        hold_number=hold_number,
        customer_no=row.customer_no,
        asset_no=row.asset_no,
        amount=row.amount,
    )


def _new(conn: sa.Connection, limit: int) -> dict[int, int]:
    """Return the asset numbers of unnumbered rows by funding id, in order."""
    query = (
        sa.select(funding.c.funding_id, funding.c.asset_no)
        .where(funding.c.state == FundingState.NEW.value)
        .order_by(funding.c.funding_id)
        .limit(limit)
    )
    return {row.funding_id: row.asset_no for row in conn.execute(query)}


def _number_new(conn: sa.Connection, ready: Sequence[int]) -> None:
    still_new = set(_new(conn, BATCH_MAX))
    for funding_id in ready:
        if funding_id not in still_new:
            continue
        conn.execute(
            funding.update()
            .where(funding.c.funding_id == funding_id)
            .values(number=next_number(conn, "funding_number"), state=FundingState.NUMBERED.value)
        )


def _row(row: sa.Row[tuple[object, ...]]) -> FundingRow:
    return FundingRow(
        number=row.number or 0,
        kind=FundingKind(row.kind),
        customer_no=row.customer_no,
        asset_no=row.asset_no,
        amount=row.amount,
        cause_id=row.cause_id,
        state=FundingState(row.state),
    )
