"""The auditor finds what somebody with all rights on the database has changed, and where first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from custody.db import Database
from custody.ledger.audit import Finding, audit
from custody.ledger.records import Chain
from custody.ledger.transfers import chain_head
from tests.unit.custody.ledger.events import (
    ANN,
    BOB,
    ETH,
    USD,
    book,
    deposit,
    fill,
    hold,
)
from tests.unit.custody.ledger.test_templates import TREASURY

LAST = 9


@pytest.fixture
def filled(db: Database) -> Database:
    """Return good books with nine projected and seven treasury transfers."""
    book(db, deposit(1, ANN, USD, 1_000))
    book(db, deposit(2, BOB, ETH, 50))
    book(db, fill(3, base=20, quote=600, base_fee=1, quote_fee=3))
    book(db, hold(4, ANN, ETH, 15) + deposit(5, ANN, ETH, 7) + hold(6, BOB, USD, 5))
    for transfers, _ in TREASURY:
        book(db, transfers)
    return db


def findings(db: Database) -> list[Finding]:
    with db.read() as conn:
        return audit(conn)


@contextlib.contextmanager
def all_rights(db: Database) -> Iterator[sa.Connection]:
    """Open a connection on which no trigger, no foreign key and no check is in the way."""
    if db.dialect == "postgresql":
        with db.transaction() as conn:
            for table in ("transfers", "accounts", "ledger_chains"):
                conn.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            checks = conn.exec_driver_sql(
                "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype IN ('c', 'f')"
            ).all()
            for table, check in checks:
                if table in ("transfers", "accounts", "ledger_chains"):
                    conn.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {check}")
            yield conn
        return
    with db.transaction() as conn:
        names = conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for name in list(names.scalars()):
            conn.exec_driver_sql(f"DROP TRIGGER {name}")
    with db._writer.connect() as conn:
        raw = conn.connection.cursor()
        raw.execute("PRAGMA foreign_keys = OFF")
        raw.execute("PRAGMA ignore_check_constraints = ON")
        with conn.begin():
            yield conn
        raw.execute("PRAGMA ignore_check_constraints = OFF")
        raw.execute("PRAGMA foreign_keys = ON")


def number(db: Database, amount: int) -> str:
    return f"x'{amount:064x}'" if db.dialect == "sqlite" else str(amount)


def tampered(db: Database, *statements: str) -> list[Finding]:
    assert findings(db) == []  # the control: before tampering all is well
    with all_rights(db) as conn:
        for statement in statements:
            conn.exec_driver_sql(
                statement.replace("{77}", number(db, 77)).replace("{0}", number(db, 0))
            )
    return findings(db)


def first(found: list[Finding], check: str) -> Finding:
    return {finding.check: finding for finding in found}[check]


def test_good_books_have_no_findings(filled: Database) -> None:
    assert findings(filled) == []
    with filled.read() as conn:
        assert chain_head(conn, Chain.PROJECTED).position == LAST
        assert chain_head(conn, Chain.TREASURY).position == len(TREASURY)


def test_empty_books_have_no_findings(db: Database) -> None:
    assert findings(db) == []


SWAPPED = (
    "UPDATE transfers SET debit_account = credit_account, credit_account = debit_account"
    " WHERE chain = 'projected' AND position = 7"
)


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("UPDATE transfers SET amount = {77} WHERE chain = 'projected' AND position = 4", 4),
        ("UPDATE transfers SET cause_id = 'dep_9' WHERE chain = 'projected' AND position = 2", 2),
        ("UPDATE transfers SET cause_kind = 'x' WHERE chain = 'projected' AND position = 9", 9),
        ("UPDATE transfers SET hash = previous WHERE chain = 'projected' AND position = 3", 3),
        ("UPDATE transfers SET previous = hash WHERE chain = 'projected' AND position = 5", 5),
        ("UPDATE transfers SET posted_at_ns = 1 WHERE chain = 'projected' AND position = 6", 6),
        (SWAPPED, 7),
    ],
)  # fmt: skip
def test_a_changed_row_is_named(filled: Database, statement: str, position: int) -> None:
    found = first(tampered(filled, statement), "chain projected")
    assert found.row.endswith(f"at projected {position}")


def test_a_back_dated_treasury_row_is_named(filled: Database) -> None:
    statement = "UPDATE transfers SET posted_at_ns = 1 WHERE chain = 'treasury' AND position = 2"
    assert first(tampered(filled, statement), "chain treasury").row.endswith("at treasury 2")


@pytest.mark.parametrize("position", [1, 4, LAST])
def test_a_removed_row_is_named(filled: Database, position: int) -> None:
    found = tampered(
        filled, f"DELETE FROM transfers WHERE chain = 'projected' AND position = {position}"
    )
    assert first(found, "chain projected").row == f"projected {position}"
    assert "I2" in {finding.check for finding in found}


def test_a_cut_off_end_is_found_although_the_noted_end_was_moved_back(filled: Database) -> None:
    found = tampered(
        filled,
        "UPDATE ledger_chains SET position = 8, hash = (SELECT hash FROM transfers"
        " WHERE chain = 'projected' AND position = 8) WHERE chain = 'projected'",
        f"DELETE FROM transfers WHERE chain = 'projected' AND position = {LAST}",
    )
    assert [finding.check for finding in found] == ["I2"]


def test_a_row_put_in_at_the_end_is_found(filled: Database) -> None:
    found = tampered(
        filled,
        "INSERT INTO transfers SELECT chain, position + 9, hash, debit_account, credit_account,"
        " asset_no, amount, cause_kind, cause_id, posted_at_ns, previous, hash FROM transfers"
        " WHERE chain = 'projected' AND position = 1",
    )
    assert first(found, "I1").what == "an id that has not 16 bytes"
    assert first(found, "chain projected").row.endswith("at projected 10")


def test_a_row_of_no_known_chain_is_found(filled: Database) -> None:
    found = tampered(
        filled,
        "INSERT INTO transfers SELECT 'third', position, hash, debit_account, credit_account,"
        " asset_no, amount, cause_kind, cause_id, posted_at_ns, previous, hash FROM transfers"
        " WHERE chain = 'projected' AND position = 1",
    )
    assert first(found, "chain").row == "third 1"


@pytest.mark.parametrize(
    ("statement", "check", "what"),
    [
        ("UPDATE transfers SET amount = {0} WHERE position = 3", "I1", "an amount of 0"),
        ("UPDATE transfers SET asset_no = 5 WHERE position = 3", "I1", "different assets"),
        ("UPDATE transfers SET debit_account = 99 WHERE position = 3", "I1", "missing"),
        ("UPDATE transfers SET debit_account = credit_account WHERE position = 3", "I1", "both"),
        ("UPDATE accounts SET kind = 'slush' WHERE account_id = 1", "I1", "unknown kind"),
        ("UPDATE accounts SET credits = {77} WHERE account_id = 1", "I2", "its rows sum to"),
        ("DELETE FROM accounts WHERE account_id = 1", "I1", "missing"),
        ("UPDATE accounts SET credits = {77} WHERE account_id = 1", "I2 sum", "not to zero"),
        ("UPDATE accounts SET credits = {0} WHERE kind = 'balance'", "I3", "credits"),
        ("UPDATE accounts SET owner = 'other' WHERE account_id = 1", "chain projected", "hash"),
        ("DELETE FROM ledger_chains", "chain projected", "ends at 0"),
    ],
)  # fmt: skip
def test_each_invariant_is_recomputed(
    filled: Database, statement: str, check: str, what: str
) -> None:
    assert what in first(tampered(filled, statement), check).what


def test_only_the_first_row_of_each_check_is_named(filled: Database) -> None:
    found = tampered(filled, "UPDATE transfers SET amount = {77}")
    assert len(found) == len({finding.check for finding in found})
    assert first(found, "chain projected").row.endswith("at projected 1")
    assert str(first(found, "chain projected")).startswith("chain projected transfer 7365")
