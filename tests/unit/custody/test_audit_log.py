"""The audit log cannot be changed, and whoever changes it all the same is found out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from custody import audit_log
from custody.audit_log import BadRecord
from custody.db import Database


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


def record(conn: sa.Connection, subject: str = "wd_1") -> int:
    return audit_log.record(
        conn,
        actor="officer:ann",
        action="withdrawal.approve",
        subject=subject,
        detail={"intent": "ab", "rule": "two of three"},
        at_ns=1_700_000_000_000_000_000,
    )


def verdict(db: Database) -> BadRecord | None:
    with db.read() as conn:
        return audit_log.verify(conn)


def test_records_are_numbered_and_read_back_whole(db: Database) -> None:
    given = [db.run(functools.partial(record, subject=subject)) for subject in ("a", "b")]
    assert given == [1, 2]
    with db.read() as conn:
        first, second = audit_log.records(conn)
        assert audit_log.records(conn, after=1) == [second]
    assert (first.actor, first.action, first.subject) == ("officer:ann", "withdrawal.approve", "a")
    assert first.detail == {"intent": "ab", "rule": "two of three"}
    assert first.at_ns == 1_700_000_000_000_000_000


def test_an_empty_log_is_in_order(db: Database) -> None:
    assert verdict(db) is None


def test_a_record_of_an_effect_that_did_not_happen_does_not_exist(db: Database) -> None:
    class Crash(Exception):
        pass

    with contextlib.suppress(Crash), db.transaction() as conn:
        record(conn)
        raise Crash
    assert db.run(record) == 1
    assert verdict(db) is None


def test_concurrent_records_form_one_chain(db: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(db.run, record, attempts=100) for _ in range(24)]
        assert sorted(one.result() for one in done) == list(range(1, 25))
    assert verdict(db) is None


@pytest.mark.parametrize("detail", [{"a": 1}, {1: "a"}, {"a": None}])
def test_detail_that_is_not_text_is_a_type_error(db: Database, detail: dict[str, str]) -> None:
    with pytest.raises(TypeError), db.transaction() as conn:
        audit_log.record(conn, actor="a", action="b", subject="c", detail=detail, at_ns=1)


def test_the_database_refuses_to_change_the_log(db: Database) -> None:
    db.run(record)
    for statement in (
        "UPDATE audit_records SET actor = 'officer:bob'",
        "DELETE FROM audit_records",
    ):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), db.transaction() as conn:
            conn.exec_driver_sql(statement)
    assert verdict(db) is None


def unguard(conn: sa.Connection) -> None:
    """Do what somebody with all rights on the database can do."""
    if conn.dialect.name == "sqlite":
        for name in ("update", "delete", "replace"):
            conn.exec_driver_sql(f"DROP TRIGGER audit_records_no_{name}")
    else:
        conn.exec_driver_sql("ALTER TABLE audit_records DISABLE TRIGGER ALL")


COPIED_HASH = (
    "UPDATE audit_records SET hash = (SELECT hash FROM audit_records WHERE number = 1)"
    " WHERE number = 2"
)


@pytest.mark.parametrize(
    ("tampering", "bad"),
    [
        ("UPDATE audit_records SET actor = 'officer:bob' WHERE number = 3", 3),
        ("UPDATE audit_records SET at_ns = at_ns - 1 WHERE number = 5", 5),
        ("UPDATE audit_records SET detail = '{}' WHERE number = 1", 1),
        (COPIED_HASH, 2),
        ("DELETE FROM audit_records WHERE number = 4", 4),
        ("DELETE FROM audit_records WHERE number = 1", 1),
        ("DELETE FROM audit_records WHERE number >= 5", 5),
        ("DELETE FROM audit_records", 1),
        ("UPDATE audit_records SET number = 7 WHERE number = 6", 6),
    ],
)  # fmt: skip
def test_the_first_bad_record_is_named(db: Database, tampering: str, bad: int) -> None:
    for _ in range(6):
        db.run(record)
    assert verdict(db) is None  # the control: before tampering all is well
    with db.transaction() as conn:
        unguard(conn)
        conn.exec_driver_sql(tampering)
    found = verdict(db)
    assert found is not None
    assert found.number == bad
