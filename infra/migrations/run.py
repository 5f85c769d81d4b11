"""Runs the revisions on one open connection; there is no ini file, so no URL lies about in one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from infra.migrations.revisions import HERE, current

CONNECTION = "connection"


def upgrade(conn: sa.Connection, revision: str = "head") -> str:
    """Bring a database to a revision inside the caller's transaction; return where it stands."""
    config = _config()
    config.attributes[CONNECTION] = conn
    command.upgrade(config, revision)
    found = current(conn)
    assert found is not None
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "os")
    return config
