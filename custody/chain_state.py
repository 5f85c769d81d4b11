"""Where each chain stands with us: the followed blocks, the final height, freezes and incidents.

The rows in `blocks` are one hash-linked chain per chain id, no longer than its reorg limit; the
newest of them is the cursor. A frozen chain gives no credit, signs nothing and sweeps nothing until
officers thaw it.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import Block, BlockRef
from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId
from custody import audit_log
from custody.db import Flag, Int64, Text, next_number, table

chain_states = table(
    "chain_states",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("network", Text, nullable=False),
    sa.Column("final_height", Int64, nullable=False),
    sa.Column("final_hash", Text),
    sa.Column("frozen", Flag, nullable=False),
    sa.Column("reorgs", Int64, nullable=False),
    sa.Column("deepest_reorg", Int64, nullable=False),
)

REAPPEARED = "reversed_deposit_reappeared"
"""An incident about a customer's money: no later thaw closes it."""

blocks = table(
    "blocks",
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), primary_key=True),
    sa.Column("height", Int64, primary_key=True, autoincrement=False),
    sa.Column("hash", Text, nullable=False),
    sa.Column("parent_hash", Text, nullable=False),
    sa.Column("time_s", Int64, nullable=False),
    sa.UniqueConstraint("chain", "hash"),
)

incidents = table(
    "incidents",
    sa.Column("incident_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("chain", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Column("opened_at_ns", Int64, nullable=False),
    sa.Column("closed_at_ns", Int64),
)


@dataclass(frozen=True, slots=True)
class ChainState:
    """One chain's row."""

    chain: ChainId
    network: str
    final: BlockRef | None
    frozen: bool
    reorgs: int
    deepest_reorg: int


@dataclass(frozen=True, slots=True)
class Incident:
    """Something a person must look at."""

    incident_no: int
    chain: ChainId
    kind: str
    detail: str
    opened_at_ns: int


def register(conn: sa.Connection, chain: ChainId, network: str) -> None:
    """Create the chain's row once and pin its network for ever.

    Corrupt when it is another network.
    """
    row = conn.execute(
        sa.select(chain_states.c.network).where(chain_states.c.chain == chain)
    ).one_or_none()
    if row is None:
        conn.execute(
            chain_states.insert().values(
                chain=chain,
                network=network,
                final_height=-1,
                frozen=False,
                reorgs=0,
                deepest_reorg=0,
            )
        )
    elif row.network != network:
        raise Corrupt(f"{chain} was {row.network} and is now {network}")


def state(conn: sa.Connection, chain: ChainId) -> ChainState:
    """Return a registered chain's state. Refused: unknown_chain."""
    row = conn.execute(sa.select(chain_states).where(chain_states.c.chain == chain)).one_or_none()
    if row is None:
        raise Refused(Reason.UNKNOWN_CHAIN, chain)
    final = BlockRef(row.final_height, row.final_hash) if row.final_height >= 0 else None
    return ChainState(chain, row.network, final, row.frozen, row.reorgs, row.deepest_reorg)


def registered(conn: sa.Connection) -> list[ChainId]:
    """Return every registered chain, by name."""
    query = sa.select(chain_states.c.chain).order_by(chain_states.c.chain)
    return [ChainId(row.chain) for row in conn.execute(query)]


def refuse_if_frozen(conn: sa.Connection, chain: ChainId) -> None:
    """Refused: frozen."""
    if state(conn, chain).frozen:
        raise Refused(Reason.FROZEN, chain)


def cursor(conn: sa.Connection, chain: ChainId) -> BlockRef | None:
    """Return the newest followed block, None before the first."""
    row = conn.execute(
        sa.select(blocks.c.height, blocks.c.hash)
        .where(blocks.c.chain == chain)
        .order_by(blocks.c.height.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else BlockRef(row.height, row.hash)


def followed(conn: sa.Connection, chain: ChainId, *, limit: int) -> list[BlockRef]:
    """Return up to limit followed blocks, newest first."""
    query = (
        sa.select(blocks.c.height, blocks.c.hash)
        .where(blocks.c.chain == chain)
        .order_by(blocks.c.height.desc())
        .limit(limit)
    )
    return [BlockRef(row.height, row.hash) for row in conn.execute(query)]


def hash_at(conn: sa.Connection, chain: ChainId, height: int) -> str | None:
    """Return the followed block's hash at a height, None when it is not kept."""
    return conn.execute(
        sa.select(blocks.c.hash).where(blocks.c.chain == chain, blocks.c.height == height)
    ).scalar_one_or_none()


def append_block(conn: sa.Connection, chain: ChainId, block: Block, *, keep: int) -> None:
    """Move the cursor onto block, forget blocks more than `keep` below it.

    Corrupt when it does not connect.
    """
    tip = cursor(conn, chain)
    if tip is not None and (block.ref.height != tip.height + 1 or block.parent_hash != tip.hash):
        raise Corrupt(f"{chain} block {block.ref} does not extend the cursor {tip}")
    conn.execute(
        blocks.insert().values(
            chain=chain,
            height=block.ref.height,
            hash=block.ref.hash,
            parent_hash=block.parent_hash,
            time_s=block.time_s,
        )
    )
    conn.execute(
        blocks.delete().where(blocks.c.chain == chain, blocks.c.height < block.ref.height - keep)
    )


def rewind(conn: sa.Connection, chain: ChainId, *, to_height: int, depth: int) -> None:
    """Drop the followed blocks above a height and count the reorganisation."""
    conn.execute(blocks.delete().where(blocks.c.chain == chain, blocks.c.height > to_height))
    now = state(conn, chain)
    conn.execute(
        chain_states.update()
        .where(chain_states.c.chain == chain)
        .values(reorgs=now.reorgs + 1, deepest_reorg=max(now.deepest_reorg, depth))
    )


def set_final(conn: sa.Connection, chain: ChainId, final: BlockRef) -> None:
    """Raise the final height; Corrupt when it would fall."""
    before = state(conn, chain).final
    if before is not None and final.height < before.height:
        raise Corrupt(f"{chain} final height would fall from {before.height} to {final.height}")
    conn.execute(
        chain_states.update()
        .where(chain_states.c.chain == chain)
        .values(final_height=final.height, final_hash=final.hash)
    )


def freeze(conn: sa.Connection, chain: ChainId, *, kind: str, detail: str, now_ns: int) -> None:
    """Freeze a chain and open an incident, once per kind while it is open."""
    conn.execute(chain_states.update().where(chain_states.c.chain == chain).values(frozen=True))
    open_incident(conn, chain, kind=kind, detail=detail, now_ns=now_ns)


def thaw(conn: sa.Connection, chain: ChainId, *, resume_at: BlockRef, by: str, now_ns: int) -> None:
    """Lift a freeze after officers decided: follow again from a block of the surviving branch.

    The followed blocks above resume_at are forgotten and the final height falls back to it: the one
    place where it may, because a quorum said so. It never rises here: what the chain does not call
    final is not.
    """
    conn.execute(blocks.delete().where(blocks.c.chain == chain, blocks.c.height > resume_at.height))
    final = state(conn, chain).final
    if final is not None and resume_at.height < final.height:
        final = resume_at
    conn.execute(
        chain_states.update()
        .where(chain_states.c.chain == chain)
        .values(
            frozen=False,
            final_height=-1 if final is None else final.height,
            final_hash=None if final is None else final.hash,
        )
    )
    conn.execute(
        incidents.update()
        .where(
            incidents.c.chain == chain,
            incidents.c.closed_at_ns.is_(None),
            incidents.c.kind != REAPPEARED,
        )
        .values(closed_at_ns=now_ns)
    )
    audit_log.record(
        conn, actor=by, action="chain.thaw", subject=chain,
        detail={"height": str(resume_at.height), "hash": resume_at.hash}, at_ns=now_ns,
    )  # fmt: skip


def open_incident(
    conn: sa.Connection,
    chain: ChainId,
    *,
    kind: str,
    detail: str,
    now_ns: int,
    each: bool = False,
) -> None:
    """Open an incident unless one of this kind (each: with this detail) is open for the chain."""
    query = sa.select(incidents.c.incident_no).where(
        incidents.c.chain == chain,
        incidents.c.kind == kind,
        incidents.c.closed_at_ns.is_(None),
    )
    if each:
        query = query.where(incidents.c.detail == detail)
    if conn.execute(query).first() is not None:
        return
    conn.execute(
        incidents.insert().values(
            incident_no=next_number(conn, "incident_no"),
            chain=chain,
            kind=kind,
            detail=detail,
            opened_at_ns=now_ns,
        )
    )
    audit_log.record(
        conn, actor="platform", action=f"incident.{kind}", subject=chain,
        detail={"detail": detail}, at_ns=now_ns,
    )  # fmt: skip


def close_incidents(conn: sa.Connection, chain: ChainId, *, kind: str, now_ns: int) -> int:
    """Close a chain's incidents of a kind whose cause is gone; return how many there were."""
    closed = conn.execute(
        incidents.update()
        .where(
            incidents.c.chain == chain,
            incidents.c.kind == kind,
            incidents.c.closed_at_ns.is_(None),
        )
        .values(closed_at_ns=now_ns)
    ).rowcount
    if closed:
        audit_log.record(
            conn, actor="platform", action=f"incident.{kind}.closed", subject=chain,
            detail={"count": str(closed)}, at_ns=now_ns,
        )  # fmt: skip
    return closed


def open_incidents(conn: sa.Connection, *, limit: int = 100) -> list[Incident]:
    """Return open incidents, oldest first."""
    query = (
        sa.select(incidents)
        .where(incidents.c.closed_at_ns.is_(None))
        .order_by(incidents.c.incident_no)
        .limit(limit)
    )
    return [
        Incident(row.incident_no, ChainId(row.chain), row.kind, row.detail, row.opened_at_ns)
        for row in conn.execute(query)
    ]
