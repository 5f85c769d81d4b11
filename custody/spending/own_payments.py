"""What our own payments bring back to us: change is no deposit."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from chains.base import Payment
from core.ids import ChainId, SpendId
from custody.spending import rows
from custody.spending.rows import spend_attempts, spends


def without_change(
    conn: sa.Connection, chain: ChainId, payments: Sequence[Payment]
) -> list[Payment]:
    """Return payments without those that bring the rest of a customer's payment back to its payer.

    A payment to a customer whose destination became an address of ours stays: it is his deposit.
    Own transfers are not our business here; all they pay is ours (rows.own_tx_ids).
    """
    tx_ids = sorted({paid.tx_id for paid in payments})
    if not tx_ids:
        return []
    query = (
        sa.select(spend_attempts.c.tx_id, spend_attempts.c.spend_id)
        .join(spends, spends.c.spend_id == spend_attempts.c.spend_id)
        .where(
            spend_attempts.c.chain == chain,
            spend_attempts.c.tx_id.in_(tx_ids),
            spends.c.destination_account.is_(None),
        )
    )
    payers: dict[str, frozenset[str]] = {}
    for tx_id, spend_id in conn.execute(query):
        spend = rows.get(conn, SpendId(spend_id))
        payers[tx_id] = frozenset({spend.source, spend.intent.source})
    return [paid for paid in payments if paid.to_address not in payers.get(paid.tx_id, ())]
