"""Which revision a database has and which is the newest, without alembic: it imports slowly."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

HERE = Path(__file__).resolve().parent
_VERSION_TABLE = "alembic_version"
_FILE = re.compile(r"r([0-9]{4})_[a-z_]+\.py", re.ASCII)


def current(conn: sa.Connection) -> str | None:
    """Return the revision of a database; None when it never had one."""
    if not sa.inspect(conn).has_table(_VERSION_TABLE):
        return None
    version = sa.column("version_num", sa.String)
    query = sa.select(version).select_from(sa.table(_VERSION_TABLE))
    return conn.execute(query).scalar_one_or_none()


def newest() -> str:
    """Return the newest revision; a revision's file is named after it."""
    names = (path.name for path in (HERE / "versions").iterdir())
    return max(found.group(1) for name in names if (found := _FILE.fullmatch(name)))
