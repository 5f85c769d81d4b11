"""Runs the revisions on one open connection; there is no ini file, so no URL lies about in one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

HERE = Path(__file__).resolve().parent
CONNECTION = "connection"


def upgrade(conn: sa.Connection, revision: str = "head") -> str:
    """Bring a database to a revision inside the caller's transaction; return where it stands."""
    config = _config()
    config.attributes[CONNECTION] = conn
    command.upgrade(config, revision)
    found = current(conn)
    assert found is not None
    return found


def current(conn: sa.Connection) -> str | None:
    """Return the revision of a database; None when it never had one."""
    return MigrationContext.configure(conn).get_current_revision()


def newest() -> str:
    """Return the newest revision. An error of alembic's when the history is not one line."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "os")
    return config
