"""A transaction happens whole, once, or not at all, and says which."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.clock import ManualClock
from core.entropy import SeededEntropy
from core.errors import Corrupt, OutcomeUnknown, Unavailable
from custody.db import (
    Contended,
    Database,
    Int64,
    TransactionHooks,
    append_only,
    next_number,
    next_numbers,
    schema_objects,
    table,
    violated,
)

ROOT = Path(__file__).resolve().parents[3]

effects_probe = table(
    "effects_probe",
    sa.Column("number", Int64, primary_key=True, autoincrement=False),
    sa.Column("value", Int64, sa.CheckConstraint("value < 1000", name="small"), nullable=False),
)
history_probe = table(
    "history_probe",
    sa.Column("number", Int64, primary_key=True, autoincrement=False),
    sa.Column("other", Int64, nullable=False, unique=True),
)
append_only(history_probe)


class Crash(Exception):
    """The process died here."""


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url, busy_timeout_ms=2_000)
    opened.create_all()
    yield opened
    opened.close()


def add(conn: sa.Connection, number: int, value: int = 0) -> None:
    conn.execute(effects_probe.insert().values(number=number, value=value))


def numbers(db: Database) -> list[int]:
    with db.read() as conn:
        return list(conn.execute(sa.select(effects_probe.c.number).order_by("number")).scalars())


def test_a_block_that_ends_is_committed(db: Database) -> None:
    with db.transaction() as conn:
        add(conn, 1)
    assert numbers(db) == [1]


def test_a_block_that_raises_is_rolled_back(db: Database) -> None:
    def add_and_crash(conn: sa.Connection) -> None:
        add(conn, 1)
        raise Crash

    with pytest.raises(Crash):
        db.run(add_and_crash)
    assert numbers(db) == []


def test_a_crash_before_the_commit_leaves_nothing_and_after_it_everything(
    database_url: str, db: Database
) -> None:
    def crash() -> None:
        raise Crash

    for number, hooks in enumerate(
        (TransactionHooks(before_commit=crash), TransactionHooks(after_commit=crash))
    ):
        crashing = Database.open(database_url, hooks=hooks)
        with pytest.raises(Crash):
            crashing.run(functools.partial(add, number=number))
        crashing.close()
    assert numbers(db) == [1]


def test_a_reader_cannot_write(db: Database) -> None:
    with pytest.raises((Unavailable, sa.exc.DBAPIError)), db.read() as conn:
        add(conn, 1)
    assert numbers(db) == []


def test_a_reader_sees_one_moment(db: Database) -> None:
    count = sa.select(sa.func.count()).select_from(effects_probe)
    with db.read() as conn:
        before = conn.execute(count).scalar_one()
        with db.transaction() as writer:
            add(writer, 1)
        assert conn.execute(count).scalar_one() == before == 0
    assert numbers(db) == [1]


def test_a_violated_constraint_passes_through_and_is_named(db: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as error, db.transaction() as conn:
        add(conn, 1, value=1000)
    assert violated(error.value) == "ck_effects_probe_small"


def test_numbers_have_no_gaps_although_transactions_roll_back(db: Database) -> None:
    given = []
    for attempt in range(9):
        with contextlib.suppress(Crash), db.transaction() as conn:
            number = next_number(conn, "probe")
            if attempt % 3 == 0:
                raise Crash
            given.append(number)
    assert given == [1, 2, 3, 4, 5, 6]
    assert db.run(lambda conn: next_numbers(conn, "probe", 3)) == range(7, 10)
    assert db.run(lambda conn: next_number(conn, "another")) == 1


def at_statement(db: Database, k: int, act: Callable[[sa.Connection], None]) -> Callable[[], None]:
    """Call act just before the k-th statement of the writer, once; return how to stop."""
    seen = 0

    def before(conn: sa.Connection, *_rest: object) -> None:
        nonlocal seen
        seen += 1
        if seen == k:
            act(conn)

    sa.event.listen(db._writer, "before_cursor_execute", before)
    return lambda: sa.event.remove(db._writer, "before_cursor_execute", before)


def contend(conn: sa.Connection) -> None:
    """Fail as the driver does when another transaction is in the way; really, where possible."""
    if conn.dialect.name == "postgresql":
        conn.connection.cursor().execute(
            "DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END $$"
        )
    raise sqlite3.OperationalError("database is locked")


@pytest.mark.parametrize("k", range(1, 6))
def test_a_contended_statement_runs_the_whole_function_again_with_one_effect(
    db: Database, k: int
) -> None:
    entered = []

    def four_statements(conn: sa.Connection) -> int:
        entered.append(conn)
        seen = conn.execute(sa.select(sa.func.count()).select_from(effects_probe)).scalar()
        assert seen == 0
        add(conn, next_number(conn, "probe"))
        return next_number(conn, "probe")

    stop = at_statement(db, k, contend)
    assert db.run(four_statements) == 2
    stop()
    assert numbers(db) == [1]
    # On SQLite the first statement is BEGIN IMMEDIATE, so nothing was entered when it failed.
    assert len(entered) == {("sqlite", 1): 1, ("postgresql", 5): 1}.get((db.dialect, k), 2)


def test_after_its_attempts_a_contended_function_is_unavailable(database_url: str) -> None:
    clock = ManualClock()
    db = Database.open(database_url, clock=clock, entropy=SeededEntropy(1))
    calls = []

    def always(conn: sa.Connection) -> None:
        calls.append(conn)
        raise Contended("in the way")

    with pytest.raises(Unavailable):
        db.run(always, attempts=5)
    assert len(calls) == 5
    assert 0 < clock.monotonic_ns() < 5 * 250_000_000
    db.close()


def test_write_skew_cannot_break_a_shared_limit(db: Database) -> None:
    both_read = threading.Barrier(2)

    def spend_under_limit(number: int) -> None:
        def work(conn: sa.Connection) -> None:
            total = conn.execute(sa.select(sa.func.sum(effects_probe.c.value))).scalar() or 0
            # SQLite's second writer waits at BEGIN, so it never comes here in time.
            with contextlib.suppress(threading.BrokenBarrierError):
                both_read.wait(timeout=0.5)
            if int(total) + 60 <= 100:
                add(conn, number, 60)

        db.run(work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(spend_under_limit, number) for number in (1, 2)]:
            done.result()
    assert len(numbers(db)) == 1


def test_no_update_is_lost_between_threads(db: Database) -> None:
    db.run(lambda conn: add(conn, 1, 0))

    def raise_by_one(conn: sa.Connection) -> None:
        value = conn.execute(sa.select(effects_probe.c.value)).scalar_one()
        conn.execute(effects_probe.update().values(value=value + 1))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(db.run, raise_by_one, attempts=100) for _ in range(40)]:
            done.result()
    with db.read() as conn:
        assert conn.execute(sa.select(effects_probe.c.value)).scalar_one() == 40


COUNTING = """
import sys
from custody.db import Database, next_number
db = Database.open(sys.argv[1])
for _ in range(40):
    db.run(lambda conn: next_number(conn, "shared"), attempts=200)
"""


def test_two_processes_share_one_database(database_url: str, db: Database) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", COUNTING, database_url], cwd=ROOT) for _ in range(2)
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert db.run(lambda conn: next_number(conn, "shared")) == 81


def test_a_database_locked_by_another_is_unavailable_in_time(database_url: str) -> None:
    db = Database.open(database_url, busy_timeout_ms=50)
    db.create_all()
    db.run(lambda conn: add(conn, 1, 0))
    with db.transaction() as holder:
        holder.execute(effects_probe.update().values(value=1))
        with pytest.raises(Contended):
            db.run(lambda conn: conn.execute(effects_probe.update().values(value=2)), attempts=2)
    with db.read() as conn:
        assert conn.execute(sa.select(effects_probe.c.value)).scalar_one() == 1
    db.close()


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    db = Database.open(f"sqlite:///{tmp_path / 'full.db'}")
    db.create_all()

    def write_more_than_fits(conn: sa.Connection) -> None:
        (pages,) = conn.exec_driver_sql("PRAGMA page_count").one()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
        conn.execute(effects_probe.insert(), [{"number": n, "value": 1} for n in range(5_000)])

    with pytest.raises(Unavailable):
        db.run(write_more_than_fits)
    assert numbers(db) == []
    db.close()


def test_an_unreachable_database_is_unavailable(tmp_path: Path) -> None:
    for url in (
        f"sqlite:///{tmp_path}/no/such/folder/x.db",
        "postgresql://nobody@127.0.0.1:1/nothing",
    ):
        db = Database.open(url)
        with pytest.raises(Unavailable):
            db.run(next_of_probe)
        db.close()


def next_of_probe(conn: sa.Connection) -> int:
    return next_number(conn, "probe")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x", "sqlite+aiosqlite:///"]
)
def test_a_database_that_is_no_file_and_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite file or a PostgreSQL URL"):
        Database.open(url)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is a text file, and a rather long one, so that it has a header" * 50)
    db = Database.open(f"sqlite:///{path}")
    with pytest.raises(Corrupt):
        db.run(next_of_probe)
    db.close()


REFUSED = [
    "UPDATE history_probe SET other = 5",
    "DELETE FROM history_probe",
    "DELETE FROM history_probe WHERE number = 1",
]
REFUSED_BY = {
    "sqlite": [
        "REPLACE INTO history_probe VALUES (1, 7)",
        "REPLACE INTO history_probe VALUES (7, 1)",
        "INSERT INTO history_probe VALUES (1, 1) ON CONFLICT DO UPDATE SET other = 9",
    ],
    "postgresql": [
        "TRUNCATE history_probe",
        "INSERT INTO history_probe VALUES (1, 1) ON CONFLICT (number) DO UPDATE SET other = 9",
    ],
}


def test_the_database_itself_keeps_history(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute(history_probe.insert(), [{"number": n, "other": n} for n in (1, 2)])
    for statement in [*REFUSED, *REFUSED_BY[db.dialect]]:
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), db.transaction() as conn:
            conn.exec_driver_sql(statement)
    with db.read() as conn:
        assert [tuple(row) for row in conn.execute(sa.select(history_probe))] == [(1, 1), (2, 2)]


def test_migrations_get_every_trigger_that_create_all_makes(db: Database) -> None:
    catalog = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }
    with db.read() as conn:
        made = set(conn.exec_driver_sql(catalog[db.dialect]).scalars())
    statements = [text for _, text in schema_objects(db.dialect)]
    announced = {text.split()[2] for text in statements if text.startswith("CREATE TRIGGER")}
    assert made == announced
    assert any(name.startswith("history_probe") for name in made)


def test_outcome_unknown_is_an_unavailable_that_is_never_run_again(database_url: str) -> None:
    db = Database.open(database_url)
    calls = []

    def unknown(conn: sa.Connection) -> None:
        calls.append(conn)
        raise OutcomeUnknown("lost")

    with pytest.raises(OutcomeUnknown):
        db.run(unknown)
    assert len(calls) == 1
    db.close()
