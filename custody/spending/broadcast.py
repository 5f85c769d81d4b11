"""Send saved bytes.

What was sent has four outcomes; UNKNOWN keeps the money held and the bytes are resent.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import BroadcastResult, ChainWriter
from custody import chain_state
from custody.db import Database
from custody.spending import effects, rows
from custody.spending.rows import Attempt, Spend, SpendState


def send(
    db: Database, chain: ChainWriter, spend: Spend, attempt: Attempt, *, now_ns: int
) -> BroadcastResult:
    """Send one attempt's saved bytes, for the first time or again. Refused: frozen.

    The intention to send is committed first, so that a crash during the send is indistinguishable
    from an UNKNOWN outcome and is treated as one.
    """

    def mark(conn: sa.Connection) -> None:
        chain_state.refuse_if_frozen(conn, spend.chain)
        now = rows.get(conn, spend.spend_id)
        if now.state is SpendState.SIGNED:
            effects.leaving(conn, rows.advance(conn, now, SpendState.BROADCAST), now_ns=now_ns)
        rows.note_send(conn, attempt, outcome=None, detail="", now_ns=now_ns)

    db.run(mark)
    result = chain.broadcast(attempt.raw)
    db.run(
        lambda conn: rows.note_send(
            conn, attempt, outcome=result.outcome, detail=result.detail, now_ns=now_ns
        )
    )
    return result
