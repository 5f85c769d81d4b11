"""Payments that wait for a block, as a node sees them: to be shown, and never counted.

The table is a picture that is painted over: what was replaced, forgotten or taken into a block is
not in the next one. No balance, limit, or decision ever reads it (D08).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import ChainReader, Payment
from core.clock import Clock
from core.ids import AssetNo, ChainId, CustomerNo, DepositId
from custody import catalogue, chain_state, deposits
from custody.db import Amount, Database, Int64, Text, table
from custody.deposit_rows import DepositState
from custody.deposit_rows import find as find_deposit
from custody.spending import rows
from custody.wallets import addresses

PENDING_MAX = 1_000
"""Waiting payments kept of one chain; who was seen first stays."""
SHOWN_MAX = 100
"""Waiting payments shown to one customer."""

pending_payments = table(
    "pending_payments",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("tx_id", Text, primary_key=True),
    sa.Column("position", Text, primary_key=True),
    sa.Column("asset_key", Text, primary_key=True),
    sa.Column("deposit_id", Text, nullable=False, unique=True),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no")),
    sa.Column("address", Text, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("seen_at_ns", Int64, nullable=False),
    sa.Index("ix_pending_payments_customer", "customer_no", "seen_at_ns"),
)


@dataclass(frozen=True, slots=True)
class Pending:
    """One waiting payment. deposit_id: the name it has once a block holds it."""

    chain: ChainId
    tx_id: str
    position: str
    asset_key: str
    deposit_id: DepositId
    asset_no: AssetNo | None
    address: str
    customer_no: CustomerNo
    amount: int
    seen_at_ns: int


def step(db: Database, chain: ChainReader, *, clock: Clock) -> int:
    """Ask what waits and show exactly that; return how many rows came or went.

    Unavailable: the node does not answer; what was shown stays until it does.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
        watched = addresses.watched(conn, chain_id)
    waiting = chain.pending(watched)
    with db.read() as conn:
        if not waiting and not _names(conn, chain_id):
            return 0
    return db.run(lambda conn: replace_all(conn, chain_id, waiting, now_ns=clock.now_ns()))


def replace_all(
    conn: sa.Connection, chain: ChainId, waiting: Sequence[Payment], *, now_ns: int
) -> int:
    """Show these payments and no others; return how many rows came or went.

    What a followed block holds already is left out, and so is what we send to ourselves.
    """
    known = _names(conn, chain)
    wanted = {deposits.deposit_id_of(chain, paid): paid for paid in waiting}
    gone = known - wanted.keys()
    _delete(conn, gone)
    room = PENDING_MAX - len(known - gone)
    own = rows.own_tx_ids(conn, chain, [paid.tx_id for paid in waiting])
    new = 0
    for deposit_id, paid in wanted.items():
        if new == room:
            break
        if deposit_id not in known and paid.tx_id not in own:
            new += _show(conn, chain, deposit_id, paid, now_ns)
    return len(gone) + new


def taken(conn: sa.Connection, chain: ChainId, payments: Sequence[Payment]) -> None:
    """Forget what a followed block holds, in the transaction that takes the block."""
    _delete(conn, {deposits.deposit_id_of(chain, paid) for paid in payments})


def of_customer(conn: sa.Connection, customer_no: CustomerNo | None) -> list[Pending]:
    """Return what waits for a customer (None: for anybody), oldest first, bounded."""
    query = sa.select(pending_payments)
    if customer_no is not None:
        query = query.where(pending_payments.c.customer_no == customer_no)
    query = query.order_by(pending_payments.c.seen_at_ns, pending_payments.c.deposit_id)
    return [_pending(row) for row in conn.execute(query.limit(SHOWN_MAX))]


def find(conn: sa.Connection, deposit_id: DepositId) -> Pending | None:
    """Return a waiting payment by the name of the deposit it may become."""
    row = conn.execute(
        sa.select(pending_payments).where(pending_payments.c.deposit_id == deposit_id)
    ).one_or_none()
    return None if row is None else _pending(row)


def _show(
    conn: sa.Connection, chain: ChainId, deposit_id: DepositId, paid: Payment, now_ns: int
) -> int:
    owner = addresses.find(conn, chain, paid.to_address)
    if owner is None or owner.customer_no is None:
        return 0
    row = find_deposit(conn, deposit_id)
    if row is not None and row.state is not DepositState.ORPHANED:
        return 0
    asset = catalogue.asset_by_key(conn, chain, paid.asset_key)
    conn.execute(
        pending_payments.insert().values(
            chain=chain, tx_id=paid.tx_id, position=paid.position, asset_key=paid.asset_key,
            deposit_id=deposit_id, asset_no=None if asset is None else asset.asset_no,
            address=paid.to_address, customer_no=owner.customer_no, amount=paid.amount,
            seen_at_ns=now_ns,
        )
    )  # fmt: skip
    return 1


def _names(conn: sa.Connection, chain: ChainId) -> set[str]:
    query = sa.select(pending_payments.c.deposit_id).where(pending_payments.c.chain == chain)
    return set(conn.execute(query).scalars())


def _delete(conn: sa.Connection, deposit_ids: Collection[str]) -> None:
    if deposit_ids:
        conn.execute(
            pending_payments.delete().where(pending_payments.c.deposit_id.in_(sorted(deposit_ids)))
        )


def _pending(row: sa.Row[tuple[object, ...]]) -> Pending:
    return Pending(**{column.name: getattr(row, column.name) for column in pending_payments.c})
