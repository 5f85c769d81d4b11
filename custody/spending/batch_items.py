"""Which withdrawals a batch pays, what became of each, and its share of the network's fee.

A batch has one transaction and one nonce; in the books every withdrawal in it stands for itself.
A withdrawal whose batch was cancelled goes back to those that wait and is paid alone from then on.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import SpendItem, SpendKind
from core.errors import Corrupt
from core.ids import SpendId, WithdrawalId
from custody.db import Amount, Int64, Text, table
from custody.spending import rows
from custody.spending.rows import Spend


class ItemOutcome(enum.StrEnum):
    """How a withdrawal left its batch."""

    PAID = "paid"
    FAILED = "failed"
    PUT_BACK = "put_back"
    """The batch was cancelled at finality: it was not tried, and is paid alone."""


batch_items = table(
    "batch_items",
    sa.Column("spend_id", Text, sa.ForeignKey("spends.spend_id"), primary_key=True),
    sa.Column("position", Int64, primary_key=True, autoincrement=False),
    sa.Column("withdrawal_id", Text, sa.ForeignKey("withdrawals.withdrawal_id"), nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("outcome", Text),
    sa.Column("fee_paid", Amount),
    sa.UniqueConstraint("spend_id", "withdrawal_id"),
    sa.Index("ix_batch_items_withdrawal", "withdrawal_id"),
)


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One withdrawal of a batch. fee_paid: its share, native units, once the batch has ended."""

    spend_id: SpendId
    position: int
    withdrawal_id: WithdrawalId
    amount: int
    outcome: ItemOutcome | None
    fee_paid: int | None


def add(conn: sa.Connection, spend_id: SpendId, items: Sequence[SpendItem]) -> None:
    """Bind withdrawals to the batch that pays them, in the transaction that plans it."""
    conn.execute(
        batch_items.insert(),
        [
            {"spend_id": spend_id, "position": n, "withdrawal_id": one.cause_id,
             "amount": one.amount}
            for n, one in enumerate(items)
        ],
    )  # fmt: skip


def of(conn: sa.Connection, spend_id: SpendId) -> list[BatchItem]:
    """Return the withdrawals of a batch in its order."""
    query = (
        sa.select(batch_items)
        .where(batch_items.c.spend_id == spend_id)
        .order_by(batch_items.c.position)
    )
    return [_item(row) for row in conn.execute(query)]


def paying(conn: sa.Connection, withdrawal_id: WithdrawalId) -> BatchItem | None:
    """Return a withdrawal's place in the batch that pays or paid it; None: it is paid alone."""
    found = [one for one in ever(conn, withdrawal_id) if one.outcome is not ItemOutcome.PUT_BACK]
    if len(found) > 1:
        raise Corrupt(f"{withdrawal_id} stands in several batches")
    return found[0] if found else None


def ever(conn: sa.Connection, withdrawal_id: WithdrawalId) -> list[BatchItem]:
    """Return every place that a withdrawal ever had in a batch."""
    query = sa.select(batch_items).where(batch_items.c.withdrawal_id == withdrawal_id)
    return [_item(row) for row in conn.execute(query)]


def end(conn: sa.Connection, item: BatchItem, outcome: ItemOutcome, *, fee: int) -> None:
    """Record once how a withdrawal left its batch. Corrupt: it had left already."""
    changed = conn.execute(
        batch_items.update()
        .where(
            batch_items.c.spend_id == item.spend_id,
            batch_items.c.position == item.position,
            batch_items.c.outcome.is_(None),
        )
        .values(outcome=outcome.value, fee_paid=fee)
    )
    if changed.rowcount != 1:
        raise Corrupt(f"{item.withdrawal_id} left {item.spend_id} twice")


def _item(row: sa.Row[tuple[object, ...]]) -> BatchItem:
    values = {c.name: getattr(row, c.name) for c in batch_items.c}
    outcome = None if row.outcome is None else ItemOutcome(row.outcome)
    return BatchItem(**{**values, "outcome": outcome})


def spend_of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> Spend | None:
    """Return the spend that pays or paid a withdrawal, alone or in a batch; None before any."""
    alone = rows.find_by_cause(conn, withdrawal_id, SpendKind.WITHDRAWAL)
    if alone is not None:
        return alone
    item = paying(conn, withdrawal_id)
    return None if item is None else rows.get(conn, item.spend_id)


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What the network took for a withdrawal's payment.

    fee: its share, native units, None before it is final; shared_by: withdrawals in that
    transaction.
    """

    fee: int | None
    shared_by: int


def cost_of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> NetworkCost | None:
    """Return what paying a withdrawal cost, None before it is planned."""
    alone = rows.find_by_cause(conn, withdrawal_id, SpendKind.WITHDRAWAL)
    if alone is not None:
        return NetworkCost(alone.fee_paid, 1)
    item = paying(conn, withdrawal_id)
    return None if item is None else NetworkCost(item.fee_paid, len(of(conn, item.spend_id)))
