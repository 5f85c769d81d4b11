"""Drafts: the unsigned transaction of an attempt, saved before the guard is asked to sign it.

After a crash the same digest is asked again, so that one attempt can never become two.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import UnsignedTx
from core.ids import SpendId
from custody.db import Amount, Bytes, Flag, Int64, Text, append_only, table
from custody.spending.rows import Spend

spend_drafts = table(
    "spend_drafts",
    sa.Column("spend_id", Text, sa.ForeignKey("spends.spend_id"), primary_key=True),
    sa.Column("attempt_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("cancels", Flag, primary_key=True),
    sa.Column("payload", Bytes, nullable=False),
    sa.Column("digest", Bytes, nullable=False),
    sa.Column("fee_max", Amount, nullable=False),
)
append_only(spend_drafts)


def draft(
    conn: sa.Connection, spend: Spend, attempt_no: int, *, cancels: bool, nonce: int | None = None
) -> UnsignedTx | None:
    """Return the unsigned transaction drafted for an attempt, None when there is none yet.

    nonce: the one inside it, where that is not the spend's own number.
    """
    row = conn.execute(
        sa.select(spend_drafts).where(
            spend_drafts.c.spend_id == spend.spend_id,
            spend_drafts.c.attempt_no == attempt_no,
            spend_drafts.c.cancels == cancels,
        )
    ).one_or_none()
    if row is None:
        return None
    number = spend.nonce if nonce is None else nonce
    return UnsignedTx(spend.chain, spend.source, number, row.payload, row.digest, row.fee_max)


def count(conn: sa.Connection, spend_id: SpendId) -> int:
    """Return how many transactions of a spend were drafted, so that a signature may exist."""
    query = sa.select(sa.func.count()).where(spend_drafts.c.spend_id == spend_id)
    return conn.execute(query).scalar_one()


def save_draft(
    conn: sa.Connection, spend: Spend, attempt_no: int, unsigned: UnsignedTx, *, cancels: bool
) -> UnsignedTx:
    """Save what the guard will be asked to sign, and return what is saved.

    The first draft stays.
    """
    saved = draft(conn, spend, attempt_no, cancels=cancels, nonce=unsigned.nonce)
    if saved is not None:
        return saved
    conn.execute(
        spend_drafts.insert().values(
            spend_id=spend.spend_id,
            attempt_no=attempt_no,
            cancels=cancels,
            payload=unsigned.payload,
            digest=unsigned.digest,
            fee_max=unsigned.fee_max,
        )
    )
    return unsigned
