"""What one whole coin was worth, when, and who says so: a history that only grows.

Values are integers of 10^-12 USD for one whole coin and come from decimal text, never from a float.
How old a price may be is the policy's business; a price is never zero, because below it every limit
in USD would be void.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import SECOND_NS
from core.errors import Reason, Refused
from core.ids import AssetNo
from core.money import format_amount, parse_amount, require_int
from custody import audit_log
from custody.db import Amount, Int64, Text, append_only, next_number, table
from custody.policy.request import PRICE_SCALE, Price

BATCH_MAX = 1_000
AHEAD_NS = 5 * SECOND_NS
"""How far ahead of our clock a source's may be."""
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}", re.ASCII)

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


@dataclass(frozen=True, slots=True)
class Quote:
    """A price of an asset as a source told it."""

    asset_no: AssetNo
    price: Price


@dataclass(frozen=True, slots=True)
class PriceRecord:
    """A price as it was recorded, by whom."""

    price_no: int
    asset_no: AssetNo
    price: Price
    recorded_by: str
    recorded_at_ns: int


def parse_price(text: object) -> int:
    """Return decimal text in USD as 10^-12 USD.

    Refused: malformed_amount (no string, more than 12 decimal places), amount_out_of_range.
    """
    return parse_amount(text, PRICE_SCALE)


def format_price(value: int) -> str:
    """Return 10^-12 USD as decimal text in USD; the inverse of parse_price."""
    return format_amount(value, PRICE_SCALE)


def record(conn: sa.Connection, asset_no: AssetNo, price: Price, *, by: str, now_ns: int) -> None:
    """Store what somebody says a coin is worth; as record_all of one."""
    record_all(conn, [Quote(asset_no, price)], by=by, now_ns=now_ns)


def record_all(conn: sa.Connection, quotes: Sequence[Quote], *, by: str, now_ns: int) -> int:
    """Append prices, all or none; return how many are new. The same ones again change nothing.

    Refused: too_large (more than 1,000), malformed_amount, malformed (the source's name),
    invalid_price (zero), issued_in_future, exists_with_other_content (another price of that source
    at that time).
    """
    if len(quotes) > BATCH_MAX:
        raise Refused(Reason.TOO_LARGE, f"at most {BATCH_MAX} prices at once")
    written = 0
    for quote in quotes:
        price = quote.price
        _check(price, now_ns)
        at = (prices.c.asset_no == quote.asset_no, prices.c.at_ns == price.at_ns)
        known = conn.execute(
            sa.select(prices.c.value).where(*at, prices.c.source == price.source)
        ).scalar_one_or_none()
        if known == price.value:
            continue
        if known is not None:
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"{price.source} said another price")
        conn.execute(
            prices.insert().values(
                price_no=next_number(conn, "price_no"),
                asset_no=quote.asset_no,
                value=price.value,
                at_ns=price.at_ns,
                source=price.source,
                recorded_by=by,
                recorded_at_ns=now_ns,
            )
        )
        audit_log.record(
            conn, actor=by, action="price.record", subject=f"asset:{quote.asset_no}",
            detail={
                "usd": format_price(price.value), "at_ns": str(price.at_ns), "source": price.source,
            },
            at_ns=now_ns,
        )  # fmt: skip
        written += 1
    return written


def latest(conn: sa.Connection, asset_no: AssetNo) -> Price | None:
    """Return the price with the newest time, None when nobody ever said one."""
    found = history(conn, asset_no, limit=1)
    return found[0].price if found else None


def history(conn: sa.Connection, asset_no: AssetNo, *, limit: int = 100) -> list[PriceRecord]:
    """Return an asset's prices, the one with the newest time first."""
    newest_first = (prices.c.at_ns.desc(), prices.c.price_no.desc())
    query = sa.select(prices).where(prices.c.asset_no == asset_no).order_by(*newest_first)
    return [
        PriceRecord(
            row.price_no,
            AssetNo(row.asset_no),
            Price(row.value, row.at_ns, row.source),
            row.recorded_by,
            row.recorded_at_ns,
        )
        for row in conn.execute(query.limit(limit))
    ]


def _check(price: Price, now_ns: int) -> None:
    if require_int(price.value, "a price") == 0:
        raise Refused(Reason.INVALID_PRICE, "a price is above zero")
    if require_int(price.at_ns, "a time") > now_ns + AHEAD_NS:
        raise Refused(Reason.ISSUED_IN_FUTURE, "a price is told when it is known")
    if _SOURCE.fullmatch(price.source) is None:
        raise Refused(Reason.MALFORMED, "a source is a short name")
