"""What transactions cost lately, hour by hour: own transfers wait for the cheaper hours."""

from __future__ import annotations

import sqlalchemy as sa

from core.clock import SECOND_NS
from core.ids import ChainId
from custody.db import Int64, Text, table

HOUR_NS = 3_600 * SECOND_NS
HOURS_KEPT = 7 * 24
HOURS_LEAST = 24
"""Before so many hours are known, nothing is called cheap or dear."""

fee_hours = table(
    "fee_hours",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("hour", Int64, primary_key=True, autoincrement=False),
    sa.Column("rate", Int64, nullable=False),
)


def note(conn: sa.Connection, chain: ChainId, rate: int, *, now_ns: int) -> None:
    """Remember the lowest rate of this hour; hours long gone are forgotten."""
    hour = now_ns // HOUR_NS
    mine = sa.and_(fee_hours.c.chain == chain, fee_hours.c.hour == hour)
    known = conn.execute(sa.select(fee_hours.c.rate).where(mine)).scalar_one_or_none()
    if known is None:
        conn.execute(fee_hours.insert().values(chain=chain, hour=hour, rate=rate))
        old = fee_hours.c.hour <= hour - HOURS_KEPT
        conn.execute(fee_hours.delete().where(fee_hours.c.chain == chain, old))
    elif rate < known:
        conn.execute(fee_hours.update().where(mine).values(rate=rate))


def percentile(conn: sa.Connection, chain: ChainId, percent: int) -> int | None:
    """Return the rate that so many percent of the known hours were at or below.

    None while too few hours are known.
    """
    query = sa.select(fee_hours.c.rate).where(fee_hours.c.chain == chain)
    rates = sorted(conn.execute(query.order_by(fee_hours.c.rate)).scalars())
    if len(rates) < HOURS_LEAST:
        return None
    found: int = rates[min(len(rates) - 1, len(rates) * percent // 100)]
    return found
