"""Books on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from custody.db import Database
from custody.ledger.audit import audit
from custody.ledger.transfers import post  # noqa: F401 - its tables belong to the schema


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """Open an empty database with every table; after the test its books must be in order."""
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


@pytest.fixture
def books(db: Database) -> Iterator[Database]:
    """Open empty books that must pass the audit when the test is over."""
    yield db
    with db.read() as conn:
        assert audit(conn) == []
