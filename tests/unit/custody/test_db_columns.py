"""Columns hold what they are given, exactly, or refuse it; the database itself refuses the rest."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from core.errors import Reason, Refused
from custody.db import (
    AMOUNT_MAX,
    Amount,
    Bytes,
    Database,
    Flag,
    Int64,
    Text,
    amount_check,
    sum_amount,
    table,
)

columns_probe = table(
    "columns_probe",
    sa.Column("number", Int64, primary_key=True, autoincrement=False),
    sa.Column("amount", Amount),
    sa.Column("small", Amount),
    sa.Column("flag", Flag),
    sa.Column("text", Text),
    sa.Column("body", Bytes),
    *amount_check("small", minimum=1, maximum=1_000),
)
EDGES = (0, 1, 2**63 - 1, 2**63, 10**19, 2**128, 2**255 - 1, 2**255, AMOUNT_MAX)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    with opened.transaction() as conn:
        columns_probe.create(conn)
    yield opened
    opened.close()


def insert(db: Database, **values: object) -> None:
    with db.transaction() as conn:
        conn.execute(columns_probe.insert().values(number=1, **values))


def insert_directly(db: Database, column: str, literal: str) -> None:
    with db.transaction() as conn:
        conn.exec_driver_sql(f"INSERT INTO columns_probe (number, {column}) VALUES (1, {literal})")


def column(db: Database, statement: sa.Select[Any]) -> list[Any]:
    with db.read() as conn:
        return list(conn.execute(statement).scalars())


def test_amounts_come_back_exactly_and_in_numeric_order(db: Database) -> None:
    with db.transaction() as conn:
        rows = [{"number": n, "amount": amount} for n, amount in enumerate(reversed(EDGES))]
        conn.execute(columns_probe.insert(), rows)
    probe = columns_probe.c.amount
    found = column(db, sa.select(probe).order_by(probe))
    assert found == list(EDGES)
    assert all(type(amount) is int for amount in found)
    assert column(db, sa.select(probe).where(probe == 2**255)) == [2**255]
    assert column(db, sa.select(probe).where(probe > 2**255)) == [AMOUNT_MAX]
    assert column(db, sa.select(probe).where(probe.between(10**19, 2**128)).order_by(probe)) == [
        10**19,
        2**128,
    ]


def test_a_sum_is_exact_beyond_the_width_of_a_column(db: Database) -> None:
    with db.transaction() as conn:
        rows = [{"number": n, "amount": AMOUNT_MAX - n} for n in range(1_000)]
        conn.execute(columns_probe.insert(), [*rows, {"number": -1, "amount": None}])
    total = column(db, sa.select(sum_amount(columns_probe.c.amount)))
    assert total == [1_000 * AMOUNT_MAX - 499_500]


def test_the_sum_of_nothing_is_zero(db: Database) -> None:
    assert column(db, sa.select(sum_amount(columns_probe.c.amount))) == [0]


def test_a_million_trades_of_one_unit_lose_nothing(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute(columns_probe.insert().values(number=0, amount=10**18 + 1))
        numbers = [{"number": n, "amount": 10**18 + n} for n in range(1, 10_000)]
        conn.execute(columns_probe.insert(), numbers)
    expected = 10_000 * 10**18 + 1 + sum(range(1, 10_000))
    assert column(db, sa.select(sum_amount(columns_probe.c.amount))) == [expected]


@pytest.mark.parametrize("value", [1.0, True, Decimal(1), "1", b"1"])
def test_an_amount_that_is_not_an_int_is_a_type_error(db: Database, value: object) -> None:
    with pytest.raises(TypeError):
        insert(db, amount=value)


@pytest.mark.parametrize("value", [-1, AMOUNT_MAX + 1])
def test_an_amount_outside_256_bits_is_refused(db: Database, value: int) -> None:
    with pytest.raises(Refused) as refusal:
        insert(db, amount=value)
    assert refusal.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize(
    "literal",
    ["'NaN'", "'Infinity'", "'-Infinity'", "'abc'", "-1", "1e78", str(AMOUNT_MAX + 1), "''"],
)
def test_the_database_itself_refuses_what_is_no_amount(db: Database, literal: str) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        insert_directly(db, "amount", literal)
    assert column(db, sa.select(columns_probe.c.number)) == []


@pytest.mark.parametrize("literal", ["x''", "x'01'", f"x'{'00' * 33}'", "1", "1.5", "10000000000"])
def test_strict_tables_store_amounts_as_32_bytes_only(db: Database, literal: str) -> None:
    if db.dialect == "sqlite":
        with pytest.raises(sa.exc.IntegrityError):
            insert_directly(db, "amount", literal)
    else:  # the control: there a number is a number
        insert_directly(db, "amount", "10000000000")
        assert column(db, sa.select(columns_probe.c.amount)) == [10**10]


@pytest.mark.parametrize(("value", "fits"), [(0, False), (1, True), (1_000, True), (1_001, False)])
def test_a_narrower_amount_is_checked_by_the_database(db: Database, value: int, fits: bool) -> None:
    if fits:
        insert(db, small=value)
        assert column(db, sa.select(columns_probe.c.small)) == [value]
    else:
        with pytest.raises(sa.exc.IntegrityError, match="ck_columns_probe_small_amount"):
            insert(db, small=value)


def test_flags_are_bools_and_can_be_asked_for(db: Database) -> None:
    with db.transaction() as conn:
        rows = [{"number": n, "flag": flag} for n, flag in enumerate((True, False, None))]
        conn.execute(columns_probe.insert(), rows)
    flag = columns_probe.c.flag
    assert column(db, sa.select(flag).order_by(columns_probe.c.number)) == [True, False, None]
    assert column(db, sa.select(columns_probe.c.number).where(flag)) == [0]
    assert column(db, sa.select(columns_probe.c.number).where(flag == sa.false())) == [1]


@pytest.mark.parametrize("literal", ["2", "'x'"])
def test_a_flag_is_nothing_else(db: Database, literal: str) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        insert_directly(db, "flag", literal)
    with pytest.raises(TypeError):
        insert(db, flag=1)


@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_an_int64_that_is_not_an_int_is_a_type_error(db: Database, value: object) -> None:
    with pytest.raises(TypeError), db.transaction() as conn:
        conn.execute(columns_probe.insert().values(number=value))


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1])
def test_an_int64_holds_its_edges(db: Database, value: int) -> None:
    with db.transaction() as conn:
        conn.execute(columns_probe.insert().values(number=value))
    assert column(db, sa.select(columns_probe.c.number)) == [value]


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**63])
def test_an_int64_refuses_what_does_not_fit(db: Database, value: int) -> None:
    with pytest.raises(Refused), db.transaction() as conn:
        conn.execute(columns_probe.insert().values(number=value))


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", ["", "grün", "🜚", "'; DROP TABLE x; --", "%s", Colour.RED])
def test_text_comes_back_as_it_was(db: Database, value: str) -> None:
    insert(db, text=value)
    found = column(db, sa.select(columns_probe.c.text).where(columns_probe.c.text == value))
    assert found == [str(value)]
    assert type(found[0]) is str


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_text_that_one_database_cannot_hold_is_refused_by_both(db: Database, value: str) -> None:
    with pytest.raises(Refused) as refusal:
        insert(db, text=value)
    assert refusal.value.reason is Reason.MALFORMED


def test_bytes_come_back_as_they_were(db: Database) -> None:
    insert(db, body=bytes(range(256)))
    assert column(db, sa.select(columns_probe.c.body)) == [bytes(range(256))]
