"""Carry a chain's own finality into our rows: deposits become final, spends end.

Never by count or age.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import BlockRef, ChainReader
from core.clock import Clock
from custody import chain_state, decided_deposits, deposits
from custody.db import Database


def step(db: Database, chain: ChainReader, *, clock: Clock) -> int:
    """Raise our final height as far as the chain and our followed blocks agree.

    Return decided deposits.

    A final block that contradicts a followed one changes nothing here: the follower finds the fork.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        state = chain_state.state(conn, chain_id)
        tip = chain_state.cursor(conn, chain_id)
    if state.frozen or tip is None:
        return 0
    claimed = chain.final_head()
    if claimed is None:
        return 0
    target = _agreed(db, chain, claimed, tip)
    if target is None or (state.final is not None and target.height < state.final.height):
        return 0

    def apply(conn: sa.Connection) -> int:
        if chain_state.state(conn, chain_id).frozen:
            return 0
        if chain_state.hash_at(conn, chain_id, target.height) != target.hash:
            return 0
        before = chain_state.state(conn, chain_id).final
        above = -1 if before is None else before.height
        lost = decided_deposits.misplaced(conn, chain_id, above=above, up_to=target.height)
        if lost:
            # A resolution named the block that holds them; the chain went another way since.
            chain_state.freeze(
                conn, chain_id, kind="deep_reorganisation",
                detail=f"{lost[0].deposit_id} is not in {lost[0].block}", now_ns=clock.now_ns(),
            )  # fmt: skip
            return 0
        chain_state.set_final(conn, chain_id, target)
        return deposits.finalise(conn, chain_id, target, now_ns=clock.now_ns())

    return db.run(apply)


def _agreed(db: Database, chain: ChainReader, claimed: BlockRef, tip: BlockRef) -> BlockRef | None:
    """Return the newest followed block at or below the claimed final one.

    If the node's chain has it.
    """
    if claimed.height <= tip.height:
        target = claimed
    else:
        block = chain.block_at(tip.height)
        if block is None or block.ref.hash != tip.hash:
            return None
        target = tip
    with db.read() as conn:
        ours = chain_state.hash_at(conn, chain.traits.chain, target.height)
    return target if ours == target.hash else None
