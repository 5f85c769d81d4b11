"""What the database itself refuses, from whoever holds a connection: balanced, signed, for ever."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from custody.db import AMOUNT_MAX, Database, violated
from custody.ledger.chart import CHART, AccountKind, Guard
from tests.unit.custody.ledger.events import ANN, BOB, ETH, USD, book, deposit, hold

COLUMNS = (
    "chain, position, id, debit_account, credit_account, asset_no, amount, cause_kind, cause_id,"
    " posted_at_ns, previous, hash"
)


@pytest.fixture
def filled(books: Database) -> Database:
    """Return books in which account 1 is Ann's balance of asset 0 and 2 holds deposit addresses."""
    book(books, deposit(1, ANN, ETH, 100))
    book(books, deposit(2, BOB, USD, 100))
    return books


def literal(db: Database, amount: int) -> str:
    return f"x'{amount:064x}'" if db.dialect == "sqlite" else str(amount)


def blob(db: Database, text: str) -> str:
    return f"x'{text}'" if db.dialect == "sqlite" else f"'\\x{text}'"


def attempt(db: Database, statement: str) -> sa.exc.DBAPIError:
    with pytest.raises(sa.exc.DBAPIError) as error, db.transaction() as conn:
        conn.exec_driver_sql(statement)
    return error.value


def insert(db: Database, **changes: str) -> str:
    values = {
        "chain": "'projected'",
        "position": "3",
        "id": blob(db, "07" * 16),
        "debit_account": "2",
        "credit_account": "1",
        "asset_no": "0",
        "amount": literal(db, 5),
        "cause_kind": "'test'",
        "cause_id": "'1'",
        "posted_at_ns": "NULL",
        "previous": blob(db, "07" * 32),
        "hash": blob(db, "07" * 32),
    }
    values |= changes
    return f"INSERT INTO transfers ({COLUMNS}) VALUES ({', '.join(values.values())})"


def test_the_control_row_is_accepted_without_changes(db: Database) -> None:
    book(db, deposit(1, ANN, ETH, 100))
    with db.transaction() as conn:
        conn.exec_driver_sql(insert(db, position="2"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("debit_account", "1"),  # both sides
        ("debit_account", "99"),  # unknown account
        ("credit_account", "99"),
        ("credit_account", "3"),  # account of another asset
        ("asset_no", "1"),  # not the asset of the accounts
        ("debit_account", "NULL"),  # one leg
        ("credit_account", "NULL"),
        ("amount", "NULL"),
        ("amount", "'NaN'"),
        ("amount", "'Infinity'"),
        ("amount", "'abc'"),
        ("amount", "-1"),
        ("chain", "'third'"),
        ("posted_at_ns", "1"),  # a projected transfer with a time
        ("cause_id", "NULL"),
        ("position", "0"),
        ("position", "1"),  # taken
    ],
)
def test_a_malformed_transfer_is_refused(filled: Database, column: str, value: str) -> None:
    attempt(filled, insert(filled, **{column: value}))


@pytest.mark.parametrize("amount", [0, 1 << 128, AMOUNT_MAX])
def test_an_amount_outside_its_range_is_refused(filled: Database, amount: int) -> None:
    error = attempt(filled, insert(filled, amount=literal(filled, amount)))
    assert isinstance(error, sa.exc.IntegrityError)
    assert violated(error) == "ck_transfers_amount_amount"


def test_a_treasury_transfer_without_a_time_is_refused(filled: Database) -> None:
    error = attempt(filled, insert(filled, chain="'treasury'"))
    assert isinstance(error, sa.exc.IntegrityError)
    assert violated(error) == "ck_transfers_only_the_treasury_has_time"


HISTORY = [
    "UPDATE transfers SET amount = amount",
    "UPDATE transfers SET cause_id = 'other' WHERE position = 1",
    "DELETE FROM transfers",
    "DELETE FROM transfers WHERE position = 2",
]


def test_nobody_changes_or_removes_a_transfer(filled: Database) -> None:
    known = "SELECT id FROM transfers WHERE position = 1"
    with filled.read() as conn:
        identity = conn.exec_driver_sql(known).scalar_one().hex()
    replace = insert(filled, id=blob(filled, identity)).replace("INSERT", "REPLACE", 1)
    own = {"sqlite": [replace], "postgresql": ["TRUNCATE transfers"]}
    for statement in HISTORY + own[filled.dialect]:
        error = attempt(filled, statement)
        assert isinstance(error, sa.exc.IntegrityError)
        assert "append-only" in str(error.orig)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM accounts",
        "UPDATE accounts SET owner = 'customer:2' WHERE account_id = 1",
        "UPDATE accounts SET kind = 'equity', guard = 'none' WHERE account_id = 1",
        "UPDATE accounts SET guard = 'none' WHERE account_id = 1",
        "UPDATE accounts SET asset_no = 1 WHERE account_id = 1",
        "UPDATE accounts SET credits = {one} WHERE account_id = 1",
        "UPDATE accounts SET debits = {hundred_and_one} WHERE account_id = 1",
        "UPDATE accounts SET credits = 'NaN' WHERE account_id = 1",
        "UPDATE accounts SET credits = 'Infinity' WHERE account_id = 1",
        "UPDATE accounts SET credits = 'abc' WHERE account_id = 1",
        "UPDATE accounts SET credits = -1 WHERE account_id = 1",
        "UPDATE accounts SET credits = NULL WHERE account_id = 1",
    ],
)
def test_nobody_changes_an_account_but_by_growing_it(filled: Database, statement: str) -> None:
    numbers = {"one": literal(filled, 1), "hundred_and_one": literal(filled, 101)}
    attempt(filled, statement.format(**numbers))


def test_a_balance_below_zero_cannot_be_stored(filled: Database) -> None:
    overdrawn = literal(filled, 101)
    error = attempt(filled, f"UPDATE accounts SET debits = {overdrawn} WHERE account_id = 1")
    assert isinstance(error, sa.exc.IntegrityError)
    assert violated(error) == "ck_accounts_debits_at_most_credits"


def account_row(
    db: Database, kind: str, guard: Guard, *, number: int = 1, debits: int = 0, credited: int = 0
) -> str:
    return (
        "INSERT INTO accounts (account_id, kind, owner, asset_no, debits, credits, guard)"
        f" VALUES ({number}, '{kind}', 'x', 0, {literal(db, debits)}, {literal(db, credited)},"
        f" '{guard.value}')"
    )


def test_a_kind_is_stored_with_its_own_guard_only(db: Database) -> None:
    for number, kind in enumerate(AccountKind):
        for guard in Guard:
            statement = account_row(db, kind.value, guard, number=number)
            if CHART[kind].guard is not guard:
                attempt(db, statement)
        with db.transaction() as conn:
            conn.exec_driver_sql(account_row(db, kind.value, CHART[kind].guard, number=number))


def test_every_guarded_kind_is_held_on_its_side(db: Database) -> None:
    guarded = [kind for kind in AccountKind if CHART[kind].guard is not Guard.NONE]
    assert len(guarded) >= 4
    for kind in guarded:
        guard = CHART[kind].guard
        debits, credits_ = (6, 5) if guard is Guard.CREDIT else (5, 6)
        attempt(db, account_row(db, kind.value, guard, debits=debits, credited=credits_))


def test_an_unknown_kind_of_account_is_refused(db: Database) -> None:
    attempt(db, account_row(db, "slush", Guard.NONE))


def test_posting_still_works_after_every_refusal(filled: Database) -> None:
    attempt(filled, "DELETE FROM transfers")
    book(filled, hold(9, ANN, ETH, 100))
