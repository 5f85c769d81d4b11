"""Decided deposits and the blocks they are in, while finality is in doubt.

A deposit is decided by a final block and no reorganisation touches it any more. Only the resolution
of a deep one lets the final height fall below decided deposits: until it has passed them again,
each of them must be found in a followed block, or the chain is frozen anew.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import BlockRef
from core.ids import ChainId, DepositId
from custody import funding
from custody.chain_state import blocks
from custody.deposit_rows import DECIDED, Deposit, DepositState, deposit_of, deposits
from custody.funding import FundingKind

FELL_OUT = "deep_reorganisation"
"""Reason of a deposit that was taken back."""
REAPPEARED = "reappeared"
"""Reason of one that was taken back and is in the chain again: a person decides whose it is."""


def decided_above(conn: sa.Connection, chain: ChainId, height: int) -> list[Deposit]:
    """Return every decided deposit above a height that is not being taken back, by arrival.

    There are none above a final height, but after a resolution: finality falls back below deposits
    that the surviving branch holds too.
    """
    query = (sa.select(deposits).where(_is_decided(chain), deposits.c.height > height)).order_by(
        deposits.c.arrival_no
    )
    return [deposit_of(row) for row in conn.execute(query)]


def misplaced(conn: sa.Connection, chain: ChainId, *, above: int, up_to: int) -> list[Deposit]:
    """Return decided deposits between two heights whose block is not the one we followed there."""
    ours = sa.and_(blocks.c.chain == deposits.c.chain, blocks.c.height == deposits.c.height)
    query = (
        sa.select(deposits)
        .join(blocks, ours)
        .where(
            _is_decided(chain),
            deposits.c.height > above,
            deposits.c.height <= up_to,
            blocks.c.hash != deposits.c.block_hash,
        )
    )
    return [deposit_of(row) for row in conn.execute(query)]


def move(conn: sa.Connection, deposit_id: DepositId, block: BlockRef) -> None:
    """Write down in which block of the surviving branch a decided deposit is."""
    conn.execute(
        deposits.update()
        .where(deposits.c.deposit_id == deposit_id)
        .values(height=block.height, block_hash=block.hash)
    )


def is_taken_back(conn: sa.Connection, row: Deposit) -> bool:
    """Return whether a deposit was taken back, or will be, and has not reappeared since."""
    if row.reason == REAPPEARED:
        return False
    if row.state is DepositState.REVERSED:
        return True
    return (
        row.state in DECIDED and funding.find(conn, FundingKind.DEBIT, row.deposit_id) is not None
    )


def _is_decided(chain: ChainId) -> sa.ColumnElement[bool]:
    taken_back = sa.exists().where(
        funding.funding.c.cause_id == deposits.c.deposit_id,
        funding.funding.c.kind == FundingKind.DEBIT.value,
    )
    decided = deposits.c.state.in_([state.value for state in DECIDED])
    return sa.and_(deposits.c.chain == chain, decided, ~taken_back)
