"""The database's shape: brought to the newest revision on purpose, and checked at every start."""

from __future__ import annotations

from app.settings_values import SettingsError
from custody.db import Database


def upgrade(db: Database) -> str:
    """Bring a database to the newest revision, in one transaction; return that revision.

    Unavailable: nothing was changed.
    """
    from infra.migrations.run import upgrade as run_upgrade

    with db.transaction() as conn:
        return run_upgrade(conn)


def current(db: Database) -> str | None:
    """Return the revision of a database; None when it is empty."""
    from infra.migrations.revisions import current as read_current

    with db.read() as conn:
        return read_current(conn)


def newest() -> str:
    """Return the newest revision there is."""
    from infra.migrations.revisions import newest as read_newest

    return read_newest()


def require_current(db: Database) -> None:
    """Return when the database has the newest revision. SettingsError: it has another one."""
    found, wanted = current(db), newest()
    if found != wanted:
        raise SettingsError(
            [f"the database is at revision {found}, wanted {wanted}: run `strongroom db upgrade`"]
        )
