"""Follow a chain: one block, read completely, becomes rows and cursor in one transaction."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import Block, BlockRef, ChainReader
from core.clock import Clock
from core.errors import Corrupt, Unavailable
from custody import chain_state, decided_deposits, deposits, pending
from custody.db import Database
from custody.spending import own_payments
from custody.spending import rows as spending_rows
from custody.wallets import addresses, coins
from indexers.reorg import Reaction, Rollback, fork_point, plan_rollback


class Progress(enum.StrEnum):
    """What one step did."""

    IDLE = "idle"
    ADVANCED = "advanced"
    ROLLED_BACK = "rolled_back"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Followed:
    """The result of one step: where the cursor is and how many deposits changed."""

    progress: Progress
    height: int
    deposits: int = 0


def step(
    db: Database, chain: ChainReader, *, clock: Clock, start_height: int | None = None
) -> Followed:
    """Read the next block of a chain.

    Or deal with a fork. Unavailable when a node's answer is incomplete.

    start_height: where a chain that was never followed begins (default: its head). Nothing is
    written unless the block connects to the cursor, and a fork below our final height freezes the
    chain.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        state = chain_state.state(conn, chain_id)
        tip = chain_state.cursor(conn, chain_id)
    if state.frozen:
        return Followed(Progress.FROZEN, -1 if tip is None else tip.height)
    if tip is None:
        height = chain.head().height if start_height is None else start_height
        block = chain.block_at(height)
        return Followed(Progress.IDLE, -1) if block is None else _take(db, chain, block, clock, tip)
    block = chain.block_at(tip.height + 1)
    if block is None or block.parent_hash != tip.hash:
        now_at_tip = chain.block_at(tip.height)
        if now_at_tip is not None and now_at_tip.ref.hash == tip.hash:
            return Followed(Progress.IDLE, tip.height)
        if now_at_tip is None and chain.head().height < tip.height and block is None:
            return _shorter(db, chain, clock)
        return _fork(db, chain, clock)
    return _take(db, chain, block, clock, tip)


def _take(
    db: Database,
    chain: ChainReader,
    block: Block,
    clock: Clock,
    tip: BlockRef | None,
) -> Followed:
    chain_id, keep = chain.traits.chain, chain.traits.reorg_limit
    # Asked after the block is there: what is issued from here on is not paid in it, for nobody knew
    # the address when it was made. Comparing again later would let a busy day stop the follower.
    with db.read() as conn:
        watched = addresses.watched(conn, chain_id)
        unused = coins.watched(conn, chain_id) if chain.traits.spends_coins else frozenset[str]()
    payments = chain.payments_in(block, watched)
    used: Mapping[str, str] = {}
    if chain.traits.spends_coins:
        # A coin may be made and used in one block.
        used = chain.used_in(block, unused | {coins.name_of(paid) for paid in payments})

    def apply(conn: sa.Connection) -> int:
        chain_state.refuse_if_frozen(conn, chain_id)
        if chain_state.cursor(conn, chain_id) != tip:
            return -1  # another follower was faster
        chain_state.append_block(conn, chain_id, block, keep=keep)
        if chain.traits.spends_coins:
            coins.observe(conn, chain_id, block.ref, payments)
            coins.use(conn, chain_id, block.ref, used)
        own = spending_rows.own_tx_ids(conn, chain_id, [paid.tx_id for paid in payments])
        arrived = own_payments.without_change(conn, chain_id, payments)
        changed = deposits.observe(
            conn, chain_id, block.ref, arrived, own_tx_ids=own, now_ns=clock.now_ns()
        )
        pending.taken(conn, chain_id, payments)
        deposits.count(conn, chain_id, below=block.ref.height)
        return changed

    changed = db.run(apply)
    if changed < 0:
        return Followed(Progress.IDLE, block.ref.height - 1)
    return Followed(Progress.ADVANCED, block.ref.height, changed)


def _shorter(db: Database, chain: ChainReader, clock: Clock) -> Followed:
    """Handle a node whose head is below our cursor.

    Lagging, unless the blocks it has differ from ours.
    """
    chain_id = chain.traits.chain
    head = chain.head()
    with db.read() as conn:
        ours = chain_state.hash_at(conn, chain_id, head.height)
        tip = chain_state.cursor(conn, chain_id)
    if tip is None:
        raise Corrupt(f"{chain_id} lost its cursor")
    if ours == head.hash:
        return Followed(Progress.IDLE, tip.height)
    return _fork(db, chain, clock)


def _fork(db: Database, chain: ChainReader, clock: Clock) -> Followed:
    chain_id = chain.traits.chain
    with db.read() as conn:
        kept = chain_state.followed(conn, chain_id, limit=chain.traits.reorg_limit + 1)
        final = chain_state.state(conn, chain_id).final

    def hash_on_node(height: int) -> str | None:
        block = chain.block_at(height)
        return None if block is None else block.ref.hash

    decided = plan_rollback(kept[0], fork_point(kept, hash_on_node), final=final)
    if decided.reaction is Reaction.FREEZE:
        # A node that is merely behind, or answers from two branches, must not freeze the chain.
        witness = kept[-1] if decided.fork is None or final is None else final
        if hash_on_node(witness.height) in (None, witness.hash):
            raise Unavailable(f"{chain_id}: the node contradicts itself about {witness}")
    if not db.run(lambda conn: _apply_rollback(conn, chain, decided, clock, kept[0])):
        return Followed(Progress.IDLE, kept[0].height)
    if decided.reaction is Reaction.FREEZE or decided.fork is None:
        return Followed(Progress.FROZEN, kept[0].height)
    return Followed(Progress.ROLLED_BACK, decided.fork.height)


def _apply_rollback(
    conn: sa.Connection, chain: ChainReader, decided: Rollback, clock: Clock, tip: BlockRef
) -> bool:
    chain_id = chain.traits.chain
    if chain_state.cursor(conn, chain_id) != tip:
        return False  # another follower was faster; what was decided is about another cursor
    if decided.reaction is Reaction.FREEZE or decided.fork is None:
        fork = "none" if decided.fork is None else f"{decided.fork.height} {decided.fork.hash}"
        chain_state.freeze(
            conn, chain_id, kind="deep_reorganisation",
            detail=f"common ancestor {fork}, depth {decided.depth}", now_ns=clock.now_ns(),
        )  # fmt: skip
        return True
    if decided_deposits.decided_above(conn, chain_id, decided.fork.height):
        # Finality fell back in a resolution: what was decided before may be lost by a short fork.
        chain_state.freeze(
            conn, chain_id, kind="deep_reorganisation",
            detail=f"decided deposits above {decided.fork.height} {decided.fork.hash}",
            now_ns=clock.now_ns(),
        )  # fmt: skip
        return True
    chain_state.rewind(conn, chain_id, to_height=decided.fork.height, depth=decided.depth)
    deposits.orphan_above(conn, chain_id, decided.fork.height)
    coins.rewind(conn, chain_id, to_height=decided.fork.height)
    return True
