"""Imported sanctions lists: by the hash of the file, in the order they came, never changed."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Reason, Refused
from custody import audit_log
from custody.db import Bytes, Int64, Text, append_only, next_number, table
from custody.screening.sdn import SanctionsList, comparable

BATCH = 500

sanction_lists = table(
    "sanction_lists",
    sa.Column("list_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("sha256", Bytes, nullable=False),
    sa.Column("published", Text, nullable=False),
    sa.Column("parties", Int64, nullable=False),
    sa.Column("addresses", Int64, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("checked_at_ns", Int64, nullable=False),
)
append_only(sanction_lists)

sanctioned_addresses = table(
    "sanctioned_addresses",
    sa.Column("sha256", Bytes, primary_key=True),
    sa.Column("comparable", Text, primary_key=True),
    sa.Column("address", Text, nullable=False),
    sa.Column("symbol", Text, nullable=False),
    sa.Column("party", Text, nullable=False),
)
append_only(sanctioned_addresses)


@dataclass(frozen=True, slots=True)
class ListState:
    """One import: which file, when it was published, and when we last fetched it."""

    list_no: int
    sha256: bytes
    published: str
    parties: int
    addresses: int
    by: str
    checked_at_ns: int


@dataclass(frozen=True, slots=True)
class Hit:
    """An address on the list in force."""

    party: str
    symbol: str
    published: str
    sha256: bytes


def put(
    conn: sa.Connection, found: SanctionsList, sha256: bytes, *, by: str, now_ns: int
) -> ListState:
    """Make a list the one in force; the same file again only says that it is still the newest.

    Refused: illegal_transition (older than the one in force).
    """
    before = in_force(conn)
    if before is not None and found.published < before.published:
        raise Refused(
            Reason.ILLEGAL_TRANSITION,
            f"published {found.published}, the list in force {before.published}",
        )
    first = {comparable(one.address): one for one in reversed(found.addresses)}
    if _count(conn, sha256) == 0 and first:
        rows = [
            {"sha256": sha256, "comparable": key, "address": one.address,
             "symbol": one.symbol, "party": one.party}
            for key, one in sorted(first.items())
        ]  # fmt: skip
        for start in range(0, len(rows), BATCH):
            conn.execute(sanctioned_addresses.insert(), rows[start : start + BATCH])
    made = ListState(
        list_no=next_number(conn, "sanction_list"),
        sha256=sha256,
        published=found.published,
        parties=found.parties,
        addresses=len(first),
        by=by,
        checked_at_ns=now_ns,
    )
    values = {c.name: getattr(made, c.name) for c in sanction_lists.c}
    conn.execute(sanction_lists.insert().values(**values))
    audit_log.record(
        conn, actor=by, action="screening.list", subject=sha256.hex(),
        detail={"published": found.published, "addresses": str(len(first))}, at_ns=now_ns,
    )  # fmt: skip
    return made


def in_force(conn: sa.Connection) -> ListState | None:
    """Return the newest import, None before the first."""
    row = conn.execute(
        sa.select(sanction_lists).order_by(sanction_lists.c.list_no.desc()).limit(1)
    ).one_or_none()
    if row is None:
        return None
    return ListState(**{c.name: getattr(row, c.name) for c in sanction_lists.c})


def hit(conn: sa.Connection, address: str) -> Hit | None:
    """Return the entry of an address in the list in force, None when it is not listed."""
    newest = in_force(conn)
    if newest is None:
        return None
    row = conn.execute(
        sa.select(sanctioned_addresses).where(
            sanctioned_addresses.c.sha256 == newest.sha256,
            sanctioned_addresses.c.comparable == comparable(address),
        )
    ).one_or_none()
    return None if row is None else Hit(row.party, row.symbol, newest.published, newest.sha256)


def _count(conn: sa.Connection, sha256: bytes) -> int:
    query = sa.select(sa.func.count()).where(sanctioned_addresses.c.sha256 == sha256)
    return conn.execute(query).scalar_one()
