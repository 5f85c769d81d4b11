"""What one whole coin was worth, when, and who says so: a history that only grows.

Values are integers of 10^-12 USD for one whole coin and come from decimal text, never from a float.
How old a price may be is the policy's business.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.errors import Reason, Refused
from core.ids import AssetNo
from custody.db import Amount, Int64, Text, append_only, next_number, table
from custody.policy.request import Price

prices = table(
    "prices",
    sa.Column("price_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("value", Amount, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("recorded_by", Text, nullable=False),
    sa.Column("recorded_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("asset_no", "at_ns", "source"),
)
append_only(prices)


def latest(conn: sa.Connection, asset_no: AssetNo) -> Price | None:
    """Return the price with the newest time, None when nobody ever said one."""
    row = conn.execute(
        sa.select(prices)
        .where(prices.c.asset_no == asset_no)
        .order_by(prices.c.at_ns.desc(), prices.c.price_no.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Price(row.value, row.at_ns, row.source)


def record(conn: sa.Connection, asset_no: AssetNo, price: Price, *, by: str, now_ns: int) -> None:
    """Store what somebody says a coin is worth; the same again changes nothing.

    Refused: exists_with_other_content (another value of the same source and time).
    """
    known = conn.execute(
        sa.select(prices.c.value).where(
            prices.c.asset_no == asset_no,
            prices.c.at_ns == price.at_ns,
            prices.c.source == price.source,
        )
    ).scalar_one_or_none()
    if known is not None:
        if known != price.value:
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"price of {price.source}")
        return
    conn.execute(
        prices.insert().values(
            price_no=next_number(conn, "price"),
            asset_no=asset_no,
            value=price.value,
            at_ns=price.at_ns,
            source=price.source,
            recorded_by=by,
            recorded_at_ns=now_ns,
        )
    )
