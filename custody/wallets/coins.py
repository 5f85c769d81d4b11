"""Coins of ours, on chains whose transactions use up coins: seen in blocks, used in blocks.

A row is made by the block that pays to an address of ours and says which block uses it up, if one
did; both are undone when the block falls out. What a spend of ours has taken but no block has used
yet is custody.spending.claims' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import NATIVE, BlockRef, Coin, Payment
from core.errors import Corrupt
from core.ids import ChainId
from custody.db import Amount, Int64, Text, sum_amount, table
from custody.wallets import addresses

coins = table(
    "coins",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("outpoint", Text, primary_key=True),
    sa.Column("address", Text, nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("height", Int64, nullable=False),
    sa.Column("used_tx", Text),
    sa.Column("used_height", Int64),
    sa.ForeignKeyConstraint(["chain", "address"], ["addresses.chain", "addresses.address"]),
    sa.Index("ix_coins_account", "chain", "account", "used_height", "height"),
    sa.Index("ix_coins_used", "chain", "used_height"),
)


@dataclass(frozen=True, slots=True)
class OwnCoin:
    """A coin of ours that a block made. account: the wallet of its address."""

    coin: Coin
    account: str
    height: int
    used_tx: str | None
    used_height: int | None


def name_of(payment: Payment) -> str:
    """Return the name of the coin that a payment made."""
    return f"{payment.tx_id}:{payment.position}"


def observe(
    conn: sa.Connection, chain: ChainId, block: BlockRef, payments: Sequence[Payment]
) -> None:
    """Record the coins that a followed block made for us; quiet where they are known."""
    for payment in payments:
        if payment.asset_key != NATIVE:
            continue
        owner = addresses.find(conn, chain, payment.to_address)
        if owner is None:
            raise Corrupt(f"{chain} {payment.to_address} was watched but is not ours")
        if get(conn, chain, name_of(payment)) is None:
            conn.execute(
                coins.insert().values(
                    chain=chain, outpoint=name_of(payment), address=owner.address,
                    account=owner.account, amount=payment.amount, height=block.height,
                )
            )  # fmt: skip


def use(conn: sa.Connection, chain: ChainId, block: BlockRef, used: Mapping[str, str]) -> None:
    """Record which of our coins a followed block used up, and in which transaction."""
    for outpoint, tx_id in sorted(used.items()):
        conn.execute(
            coins.update()
            .where(coins.c.chain == chain, coins.c.outpoint == outpoint)
            .values(used_tx=tx_id, used_height=block.height)
        )


def rewind(conn: sa.Connection, chain: ChainId, *, to_height: int) -> None:
    """Undo what the blocks above a fork made and used."""
    conn.execute(
        coins.update()
        .where(coins.c.chain == chain, coins.c.used_height > to_height)
        .values(used_tx=None, used_height=None)
    )
    conn.execute(coins.delete().where(coins.c.chain == chain, coins.c.height > to_height))


def get(conn: sa.Connection, chain: ChainId, outpoint: str) -> OwnCoin | None:
    """Return a coin of ours, None when no followed block made it."""
    row = conn.execute(
        sa.select(coins).where(coins.c.chain == chain, coins.c.outpoint == outpoint)
    ).one_or_none()
    return None if row is None else _coin(row)


def watched(conn: sa.Connection, chain: ChainId) -> frozenset[str]:
    """Return the names of all coins that no followed block has used."""
    query = sa.select(coins.c.outpoint).where(coins.c.chain == chain, coins.c.used_height.is_(None))
    return frozenset(conn.execute(query).scalars())


def held_at(conn: sa.Connection, chain: ChainId, height: int) -> dict[str, int]:
    """Return what the coins of each address come to after the block at a height."""
    alive = sa.or_(coins.c.used_height.is_(None), coins.c.used_height > height)
    query = (
        sa.select(coins.c.address, sum_amount(coins.c.amount).label("held"))
        .where(coins.c.chain == chain, coins.c.height <= height, alive)
        .group_by(coins.c.address)
    )
    return {row.address: row.held for row in conn.execute(query)}


def unused(
    conn: sa.Connection,
    chain: ChainId,
    *,
    account: str | None = None,
    address: str | None = None,
    up_to: int | None = None,
    limit: int = 100_000,
) -> list[OwnCoin]:
    """Return the coins that no followed block has used, oldest first.

    up_to: made at this height or below.
    """
    query = sa.select(coins).where(coins.c.chain == chain, coins.c.used_height.is_(None))
    if account is not None:
        query = query.where(coins.c.account == account)
    if address is not None:
        query = query.where(coins.c.address == address)
    if up_to is not None:
        query = query.where(coins.c.height <= up_to)
    query = query.order_by(coins.c.height, coins.c.outpoint).limit(limit)
    return [_coin(row) for row in conn.execute(query)]


def _coin(row: sa.Row[tuple[object, ...]]) -> OwnCoin:
    return OwnCoin(
        coin=Coin(outpoint=row.outpoint, owner=row.address, amount=row.amount),
        account=row.account,
        height=row.height,
        used_tx=row.used_tx,
        used_height=row.used_height,
    )
