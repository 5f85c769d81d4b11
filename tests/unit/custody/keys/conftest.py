"""Fixtures of the guard's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import custody.keys.signature_log
from custody.db import Database
from tests.support.databases import Databases
from tests.unit.custody.keys.guardroom import Guardroom, guardroom

_TABLES = (
    custody.keys.signature_log.signing_records,
    custody.keys.signature_log.signing_nonces,
    custody.keys.signature_log.signatures_made,
)


def create_tables(url: str) -> None:
    """Create every imported table."""
    assert all(table.metadata is _TABLES[0].metadata for table in _TABLES)
    database = Database.open(url)
    database.create_all()
    database.close()


@pytest.fixture(params=("sqlite", "postgresql"))
def prepared_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """Lend a database with tables, once of each kind."""
    with databases.fresh(request.param, create_tables) as url:
        yield url


@pytest.fixture
def room(databases: Databases) -> Iterator[Guardroom]:
    """Return a guardroom on SQLite."""
    with databases.fresh("sqlite", create_tables) as url:
        database = Database.open(url)
        yield guardroom(database)
        database.close()


@pytest.fixture
def any_room(prepared_url: str) -> Iterator[Guardroom]:
    """Return a guardroom, once on each kind of database."""
    database = Database.open(prepared_url)
    yield guardroom(database)
    database.close()
