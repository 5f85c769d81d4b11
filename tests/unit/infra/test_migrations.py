"""The revisions make exactly the tables that the rooms say they have, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from app import migrating
from app.settings_values import SettingsError
from custody.db import Database
from infra.migrations import revisions, run
from infra.migrations.shape import differences, shape
from infra.migrations.tables import all_tables as known_tables
from tests.support.databases import KINDS, Databases

PROBE = "_probe"
"""Ends the name of a table that some test made on the shared metadata of this process."""


def all_tables() -> tuple[str, ...]:
    return tuple(name for name in known_tables() if not name.endswith(PROBE))


def _migrated(url: str) -> dict[str, str]:
    db = Database.open(url)
    migrating.upgrade(db)
    with db.read() as conn:
        found = shape(conn)
    db.close()
    return found


def _created(url: str, change: str | None = None) -> dict[str, str]:
    all_tables()
    db = Database.open(url)
    db.create_all()
    if change is not None:
        with db.transaction() as conn:
            conn.execute(sa.text(change))
    with db.read() as conn:
        found = shape(conn)
    db.close()
    return {name: text for name, text in found.items() if PROBE not in name}


@pytest.mark.parametrize("kind", KINDS)
def test_a_migrated_database_has_the_shape_of_a_created_one(
    databases: Databases, kind: str
) -> None:
    with databases.fresh(kind) as one, databases.fresh(kind) as other:
        migrated, created = _migrated(one), _created(other)
    assert differences(migrated, created) == []
    assert len(created) > len(all_tables())


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("sqlite", "ALTER TABLE customers ADD COLUMN nickname TEXT"),
        ("sqlite", "DROP TRIGGER transfers_no_update"),
        ("sqlite", "DROP INDEX ix_deposits_state"),
        ("sqlite", "CREATE TABLE loose (name TEXT)"),
        ("postgresql", "ALTER TABLE customers ALTER COLUMN external_id DROP NOT NULL"),
        ("postgresql", "ALTER TABLE customers ALTER COLUMN created_at_ns TYPE numeric"),
        ("postgresql", "ALTER TABLE accounts DROP CONSTRAINT ck_accounts_debits_at_most_credits"),
        ("postgresql", "DROP TRIGGER transfers_append_only ON transfers"),
        ("postgresql", "DROP INDEX ix_deposits_state"),
        ("postgresql", "ALTER TABLE transfers ALTER COLUMN cause_id SET DEFAULT 'nobody'"),
    ],
)
def test_the_comparison_sees_every_kind_of_difference(
    databases: Databases, kind: str, change: str
) -> None:
    with databases.fresh(kind) as one, databases.fresh(kind) as other:
        assert differences(_created(one), _created(other, change)) != []


def test_tables_of_a_migrated_sqlite_database_are_strict(databases: Databases) -> None:
    with databases.fresh("sqlite") as url:
        tables = {name: text for name, text in _migrated(url).items() if " table " in name}
    assert len(tables) == len(all_tables())
    assert [name for name, text in tables.items() if "STRICT" not in text] == []


def test_the_history_is_one_line() -> None:
    config = Config()
    config.set_main_option("script_location", str(revisions.HERE))
    config.set_main_option("path_separator", "os")
    history = ScriptDirectory.from_config(config)
    found = list(history.walk_revisions())
    assert [one.revision for one in found] == sorted((one.revision for one in found), reverse=True)
    assert all(isinstance(one.down_revision, str | None) for one in found)
    assert history.get_current_head() == revisions.newest()


def test_a_database_is_refused_until_it_is_upgraded(database_url: str) -> None:
    db = Database.open(database_url)
    with pytest.raises(SettingsError, match="strongroom db upgrade"):
        migrating.require_current(db)
    assert migrating.current(db) is None
    assert migrating.upgrade(db) == migrating.newest()
    migrating.require_current(db)
    assert migrating.upgrade(db) == migrating.newest()
    db.close()


def test_an_upgrade_that_fails_leaves_nothing_behind(database_url: str) -> None:
    db = Database.open(database_url)

    def upgrade_and_die(conn: sa.Connection) -> None:
        run.upgrade(conn)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        db.run(upgrade_and_die)
    with db.read() as conn:
        assert shape(conn) == {}
    assert migrating.current(db) is None
    db.close()
