"""Reserve the nonce of a new spend, in the transaction of its cause."""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import Chain, SpendIntent
from core.errors import Corrupt
from core.ids import AssetNo, ChainId, SpendId
from custody import chain_state
from custody.db import Database, Int64, Text, table
from custody.spending import rows
from custody.spending.rows import Spend, SpendState
from custody.wallets.addresses import Address

lanes = table(
    "lanes",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("sender", Text, primary_key=True),
    sa.Column("next_nonce", Int64, nullable=False),
)
"""Our allocator is the authority for nonces (N05); a node's answer only opens a lane."""


def open_lane(db: Database, chain: Chain, sender: str) -> None:
    """Create the lane of a sender once, at the number of nonces the chain says are used."""
    chain_id = chain.traits.chain
    with db.read() as conn:
        if next_nonce(conn, chain_id, sender) is not None:
            return
    used = chain.used_nonces(sender, chain.head())

    def apply(conn: sa.Connection) -> None:
        if next_nonce(conn, chain_id, sender) is None:
            conn.execute(lanes.insert().values(chain=chain_id, sender=sender, next_nonce=used))

    db.run(apply)


def next_nonce(conn: sa.Connection, chain: ChainId, sender: str) -> int | None:
    """Return the next nonce we would give, None when the lane is not open."""
    return conn.execute(
        sa.select(lanes.c.next_nonce).where(lanes.c.chain == chain, lanes.c.sender == sender)
    ).scalar_one_or_none()


def reserve(
    conn: sa.Connection,
    intent: SpendIntent,
    *,
    source: Address,
    asset_no: AssetNo,
    destination_account: str | None,
    now_ns: int,
) -> Spend:
    """Plan one spend on the next nonce of its sender's lane. Refused: frozen.

    The nonce and the row come into being together, so nonces have no gaps (I9).
    """
    chain_state.refuse_if_frozen(conn, intent.chain)
    nonce = next_nonce(conn, intent.chain, intent.source)
    if nonce is None:
        raise Corrupt(f"the lane of {intent.source} is not open")
    conn.execute(
        lanes.update()
        .where(lanes.c.chain == intent.chain, lanes.c.sender == intent.source)
        .values(next_nonce=nonce + 1)
    )
    spend = Spend(
        spend_id=SpendId(intent.spend_id),
        kind=intent.kind,
        cause_id=intent.cause_id,
        chain=intent.chain,
        asset_no=asset_no,
        account=source.account,
        key_index=source.key_index,
        source=intent.source,
        destination_account=destination_account,
        destination=intent.destination,
        amount=intent.amount,
        intent=intent,
        nonce=nonce,
        state=SpendState.PLANNED,
        abandoned=False,
        failure=None,
        fee_paid=None,
        delivered=None,
        final_height=None,
        planned_at_ns=now_ns,
    )
    rows.insert(conn, spend)
    return spend
