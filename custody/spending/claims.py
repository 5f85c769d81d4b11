"""What a spend holds and no other spend may take: coins, or a ticket.

On chains whose senders count nonces the lane is what a spend holds (custody.spending.plan). A
coin belongs to one spend at a time, all attempts of a spend share one of its coins, and what was
held is free again only when the spend ended without a signature, or at finality without using it.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.errors import Reason, Refused
from core.ids import ChainId, SpendId
from custody.db import Int64, Text, table
from custody.spending.rows import IN_FLIGHT, spends

spend_claims = table(
    "spend_claims",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("claim", Text, primary_key=True),
    sa.Column("spend_id", Text, sa.ForeignKey("spends.spend_id"), nullable=False),
    sa.Column("claim_no", Int64, nullable=False),
    sa.UniqueConstraint("spend_id", "claim_no"),
)


def take(conn: sa.Connection, chain: ChainId, spend_id: SpendId, claims: Sequence[str]) -> None:
    """Give claims to a spend, after those it has. Refused: in_progress (another one's)."""
    first = len(of(conn, spend_id))
    for number, claim in enumerate(claims, start=first):
        holder = holder_of(conn, chain, claim)
        if holder is not None:
            raise Refused(Reason.IN_PROGRESS, f"{claim} is held by {holder}")
        conn.execute(
            spend_claims.insert().values(
                chain=chain, claim=claim, spend_id=spend_id, claim_no=number
            )
        )


def give_back(conn: sa.Connection, spend_id: SpendId) -> None:
    """Free what a spend holds: it can never use it any more."""
    conn.execute(spend_claims.delete().where(spend_claims.c.spend_id == spend_id))


def of(conn: sa.Connection, spend_id: SpendId) -> list[str]:
    """Return what a spend holds, in the order it was taken."""
    query = (
        sa.select(spend_claims.c.claim)
        .where(spend_claims.c.spend_id == spend_id)
        .order_by(spend_claims.c.claim_no)
    )
    return list(conn.execute(query).scalars())


def holder_of(conn: sa.Connection, chain: ChainId, claim: str) -> SpendId | None:
    """Return the spend that holds a claim, None when nobody does."""
    found = conn.execute(
        sa.select(spend_claims.c.spend_id).where(
            spend_claims.c.chain == chain, spend_claims.c.claim == claim
        )
    ).scalar_one_or_none()
    return None if found is None else SpendId(found)


def held(conn: sa.Connection, chain: ChainId) -> frozenset[str]:
    """Return everything that spends of a chain hold."""
    query = sa.select(spend_claims.c.claim).where(spend_claims.c.chain == chain)
    return frozenset(conn.execute(query).scalars())


def held_in_flight(conn: sa.Connection, chain: ChainId) -> frozenset[str]:
    """Return what spends of a chain that have not ended hold."""
    query = (
        sa.select(spend_claims.c.claim)
        .join(spends, spends.c.spend_id == spend_claims.c.spend_id)
        .where(
            spend_claims.c.chain == chain,
            spends.c.state.in_([state.value for state in IN_FLIGHT]),
        )
    )
    return frozenset(conn.execute(query).scalars())


def keep_only(conn: sa.Connection, spend_id: SpendId, used: Sequence[str]) -> None:
    """Free what a spend held and did not use: it is final how it ended."""
    conn.execute(
        spend_claims.delete().where(
            spend_claims.c.spend_id == spend_id, spend_claims.c.claim.not_in(list(used))
        )
    )
