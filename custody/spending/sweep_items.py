"""Which deposits a sweep gathers, and what gathering each of them cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.ids import AssetNo, ChainId, DepositId, SpendId
from custody.db import Amount, Int64, Text, sum_amount, table
from custody.deposit_rows import DepositState, deposits
from custody.spending.rows import SpendState, spends
from custody.wallets.addresses import addresses

sweep_items = table(
    "sweep_items",
    sa.Column("spend_id", Text, sa.ForeignKey("spends.spend_id"), primary_key=True),
    sa.Column("deposit_id", Text, sa.ForeignKey("deposits.deposit_id"), primary_key=True),
    sa.Column("position", Int64, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Index("ix_sweep_items_deposit", "deposit_id"),
)


@dataclass(frozen=True, slots=True)
class Unswept:
    """One credited deposit that no live or finished sweep gathers."""

    deposit_id: DepositId
    address: str
    key_index: int
    asset_no: AssetNo
    amount: int


def add(conn: sa.Connection, spend_id: SpendId, items: Sequence[Unswept]) -> None:
    """Bind deposits to the sweep that gathers them, in the transaction that plans it."""
    conn.execute(
        sweep_items.insert(),
        [
            {"spend_id": spend_id, "deposit_id": item.deposit_id, "position": n,
             "amount": item.amount}
            for n, item in enumerate(items)
        ],
    )  # fmt: skip


def of(conn: sa.Connection, spend_id: SpendId) -> list[tuple[DepositId, int]]:
    """Return the deposits of a sweep with their amounts, in the order they were planned."""
    query = (
        sa.select(sweep_items)
        .where(sweep_items.c.spend_id == spend_id)
        .order_by(sweep_items.c.position)
    )
    return [(DepositId(row.deposit_id), row.amount) for row in conn.execute(query)]


def split_cost(cost: int, amounts: Sequence[int]) -> list[int]:
    """Split a sweep's cost over its deposits by amount, exactly.

    What does not divide goes to the first.
    """
    total = sum(amounts)
    if not amounts or total == 0:
        raise ValueError("a sweep gathers at least one deposit")
    shares = [cost * amount // total for amount in amounts]
    shares[0] += cost - sum(shares)
    return shares


@dataclass(frozen=True, slots=True)
class Heap:
    """What no sweep gathers of one asset at one address, in minor units."""

    address: str
    asset_no: AssetNo
    amount: int


def heaps(conn: sa.Connection, chain: ChainId) -> list[Heap]:
    """Return every heap of a chain, by address and asset number."""
    query = (
        sa.select(deposits.c.address, deposits.c.asset_no, sum_amount(deposits.c.amount))
        .where(_is_unswept(chain))
        .group_by(deposits.c.address, deposits.c.asset_no)
        .order_by(deposits.c.address, deposits.c.asset_no)
    )
    return [Heap(address, AssetNo(no), amount) for address, no, amount in conn.execute(query)]


def unswept(
    conn: sa.Connection, chain: ChainId, *, limit: int, heap: Heap | None = None
) -> list[Unswept]:
    """Return credited deposits that no sweep gathers, oldest first; of one heap the largest first.

    A failed sweep gathers nothing.
    """
    query = (
        sa.select(deposits, addresses.c.key_index)
        .join(
            addresses,
            sa.and_(
                addresses.c.chain == deposits.c.chain, addresses.c.address == deposits.c.address
            ),
        )
        .where(_is_unswept(chain))
        .limit(limit)
    )
    if heap is None:
        query = query.order_by(deposits.c.arrival_no)
    else:
        query = query.where(
            deposits.c.address == heap.address, deposits.c.asset_no == heap.asset_no
        ).order_by(deposits.c.amount.desc(), deposits.c.arrival_no)
    return [
        Unswept(
            DepositId(row.deposit_id), row.address, row.key_index, AssetNo(row.asset_no), row.amount
        )
        for row in conn.execute(query)
    ]


def unswept_coins(
    conn: sa.Connection, chain: ChainId, asset_no: AssetNo, *, limit: int
) -> list[tuple[str, Unswept]]:
    """Return credited deposits that no sweep gathers with the names of their coins.

    The largest first, so that dust hides nothing.
    """
    own = sa.and_(addresses.c.chain == deposits.c.chain, addresses.c.address == deposits.c.address)
    query = (
        sa.select(deposits, addresses.c.key_index)
        .join(addresses, own)
        .where(_is_unswept(chain), deposits.c.asset_no == asset_no)
        .order_by(deposits.c.amount.desc(), deposits.c.arrival_no)
        .limit(limit)
    )
    return [
        (
            f"{row.tx_id}:{row.position}",
            Unswept(DepositId(row.deposit_id), row.address, row.key_index, asset_no, row.amount),
        )
        for row in conn.execute(query)
    ]


def gathered(conn: sa.Connection, deposit_ids: Sequence[DepositId]) -> list[DepositId]:
    """Return which of these deposits a live or finished sweep gathers."""
    query = (
        sa.select(sweep_items.c.deposit_id)
        .join(spends, spends.c.spend_id == sweep_items.c.spend_id)
        .where(
            sweep_items.c.deposit_id.in_(list(deposit_ids)),
            spends.c.state != SpendState.FAILED.value,
        )
    )
    return [DepositId(found) for found in conn.execute(query).scalars()]


def failures(
    conn: sa.Connection, chain: ChainId, *, since_ns: int
) -> dict[DepositId, tuple[int, int]]:
    """Return how often sweeps planned since a time failed with a deposit, and the last one."""
    query = (
        sa.select(sweep_items.c.deposit_id, sa.func.count(), sa.func.max(spends.c.planned_at_ns))
        .join(spends, spends.c.spend_id == sweep_items.c.spend_id)
        .where(
            spends.c.chain == chain,
            spends.c.state == SpendState.FAILED.value,
            spends.c.planned_at_ns >= since_ns,
        )
        .group_by(sweep_items.c.deposit_id)
    )
    return {DepositId(name): (count, last) for name, count, last in conn.execute(query)}


def _is_unswept(chain: ChainId) -> sa.ColumnElement[bool]:
    gathered = (
        sa.select(sweep_items.c.deposit_id)
        .join(spends, spends.c.spend_id == sweep_items.c.spend_id)
        .where(
            sweep_items.c.deposit_id == deposits.c.deposit_id,
            spends.c.state != SpendState.FAILED.value,
        )
        .exists()
    )
    return sa.and_(
        deposits.c.chain == chain,
        deposits.c.state == DepositState.CREDITED.value,
        deposits.c.asset_no.is_not(None),
        ~gathered,
    )
