"""The watch over a wallet that spends coins: each of its coins is used by what we sent.

What its owners signed elsewhere, alone or with a thief, shows as a coin that a final block uses in
a transaction that is none of our attempts: the chain stops and an incident opens.
"""

from __future__ import annotations

import sqlalchemy as sa

from custody import chain_state
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.pins import CHANGED
from custody.spending.rows import spend_attempts
from custody.wallets.coins import coins

_LOOKED_AT = 1_000


def watch(desk: CoinDesk) -> str | None:
    """Judge a wallet at the final block; return what is wrong, after freezing its chain."""

    def apply(conn: sa.Connection) -> str | None:
        state = chain_state.state(conn, desk.chain_id)
        if state.final is None:
            return None
        query = (
            sa.select(coins.c.outpoint, coins.c.used_tx)
            .where(
                coins.c.chain == desk.chain_id,
                coins.c.address == desk.row.address,
                coins.c.used_height <= state.final.height,
            )
            .order_by(coins.c.used_height.desc(), coins.c.outpoint)
            .limit(_LOOKED_AT)
        )
        used = [(row.outpoint, row.used_tx) for row in conn.execute(query)]
        asked = sa.select(spend_attempts.c.tx_id).where(
            spend_attempts.c.chain == desk.chain_id,
            spend_attempts.c.tx_id.in_(sorted({tx_id for _, tx_id in used})),
        )
        ours = frozenset(conn.execute(asked).scalars())
        foreign = [(outpoint, tx_id) for outpoint, tx_id in used if tx_id not in ours]
        if not foreign:
            return None
        outpoint, tx_id = foreign[0]
        wrong = f"{desk.row.wallet}: {outpoint} was used by {tx_id}, which we did not send"
        if not state.frozen:
            now_ns = desk.clock.now_ns()
            chain_state.freeze(conn, desk.chain_id, kind=CHANGED, detail=wrong, now_ns=now_ns)
        return wrong

    return desk.db.run(apply)
