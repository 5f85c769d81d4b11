"""Reserve what a new spend uses up, in the transaction of its cause: a nonce, coins or a ticket."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import Chain, SpendIntent, SpendKind
from core.errors import Corrupt
from core.ids import AssetNo, ChainId, SpendId
from custody import chain_state
from custody.db import Database, Int64, Text, table
from custody.spending import means, rows
from custody.spending.means import NOTHING, Means
from custody.spending.rows import Spend, SpendState
from custody.wallets.addresses import Address

lanes = table(
    "lanes",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("sender", Text, primary_key=True),
    sa.Column("next_nonce", Int64, nullable=False),
)
"""Our allocator is the authority for nonces (N05); a node's answer only opens a lane.

Where nonces are not counted a lane only numbers what was planned, from 0.
"""


def open_lane(db: Database, chain: Chain, sender: str) -> None:
    """Create the lane of a sender once, at the number of nonces the chain says are used.

    Where nonces are not counted the chain is not asked.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        if next_nonce(conn, chain_id, sender) is not None:
            return
    counted = means.counts_nonces(chain.traits)
    used = chain.used_nonces(sender, chain.head()) if counted else 0
    open_lane_at(db, chain_id, sender, used=used)


def open_lane_at(db: Database, chain_id: ChainId, sender: str, *, used: int) -> None:
    """Create a lane once, at a number of nonces that the chain was asked for."""

    def apply(conn: sa.Connection) -> None:
        if next_nonce(conn, chain_id, sender) is None:
            conn.execute(lanes.insert().values(chain=chain_id, sender=sender, next_nonce=used))

    db.run(apply)


def next_nonce(conn: sa.Connection, chain: ChainId, sender: str) -> int | None:
    """Return the next nonce we would give, None when the lane is not open."""
    return conn.execute(
        sa.select(lanes.c.next_nonce).where(lanes.c.chain == chain, lanes.c.sender == sender)
    ).scalar_one_or_none()


def take_nonce(conn: sa.Connection, chain: ChainId, sender: str) -> int:
    """Return the next nonce of a lane and take it away. Corrupt: the lane is not open."""
    nonce = next_nonce(conn, chain, sender)
    if nonce is None:
        raise Corrupt(f"the lane of {sender} is not open")
    conn.execute(
        lanes.update()
        .where(lanes.c.chain == chain, lanes.c.sender == sender)
        .values(next_nonce=nonce + 1)
    )
    return nonce


@dataclass(frozen=True, slots=True)
class Relayed:
    """The signed transaction of a wallet that a spend carries to the chain."""

    wallet: str
    nonce: int
    relay: bytes
    cause_id: str
    """Of the proposal; of a second burn another one than its intent's."""


def reserve(
    conn: sa.Connection,
    intent: SpendIntent,
    *,
    source: Address,
    asset_no: AssetNo,
    destination_account: str | None,
    now_ns: int,
    relayed: Relayed | None = None,
    claims: Means = NOTHING,
) -> Spend:
    """Plan one spend on the next nonce of its sender's lane. Refused: frozen.

    `source` sends: the intent's source, or the relayer of the wallet that is. The nonce and the
    row come into being together, so nonces have no gaps (I9). claims: the coins or the ticket that
    it takes (custody.spending.means). Refused: in_progress (they went meanwhile).
    """
    chain_state.refuse_if_frozen(conn, intent.chain)
    nonce = take_nonce(conn, intent.chain, source.address)
    spend = Spend(
        spend_id=SpendId(intent.spend_id),
        kind=intent.kind,
        cause_id=intent.cause_id if relayed is None else relayed.cause_id,
        chain=intent.chain,
        asset_no=asset_no,
        account=source.account,
        key_index=source.key_index,
        source=source.address,
        destination_account=destination_account,
        destination=intent.destination,
        amount=0 if intent.kind is SpendKind.OWNERS else intent.amount,
        intent=intent,
        nonce=nonce,
        state=SpendState.PLANNED,
        abandoned=False,
        failure=None,
        fee_paid=None,
        delivered=None,
        final_height=None,
        planned_at_ns=now_ns,
        wallet=None if relayed is None else relayed.wallet,
        wallet_nonce=None if relayed is None else relayed.nonce,
        relay=None if relayed is None else relayed.relay,
    )
    rows.insert(conn, spend)
    means.take(conn, spend, claims)
    return spend
