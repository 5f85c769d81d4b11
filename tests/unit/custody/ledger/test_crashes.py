"""Whatever dies, wherever it dies: all transfers of a batch are in the books, or none."""

from __future__ import annotations

import functools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.errors import Reason, Refused
from custody.db import Database, TransactionHooks
from custody.ledger.audit import audit
from custody.ledger.balances import balance_of
from custody.ledger.chart import AccountKind, customer_owner
from custody.ledger.records import Transfer, transfers
from custody.ledger.transfers import post
from tests.unit.custody.ledger.events import (
    ANN,
    BOB,
    ETH,
    USD,
    book,
    deposit,
    fill,
    hold,
    of_customer,
    reversal,
)

ROOT = Path(__file__).resolve().parents[4]
FIVE_LEGS = fill(3, base=20, quote=600, base_fee=1, quote_fee=3) + hold(4, ANN, ETH, 15)


class Crash(Exception):
    """The process died here."""


def count(db: Database) -> int:
    with db.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(transfers)).scalar_one()


def in_order(db: Database) -> bool:
    with db.read() as conn:
        return audit(conn) == []


def fill_up(db: Database) -> None:
    book(db, deposit(1, ANN, USD, 1_000) + deposit(2, BOB, ETH, 50))


def crash_at(db: Database, event: str, k: int) -> Callable[[], bool]:
    """Crash at the k-th statement from now on; the answer says whether it came to that."""
    seen = 0

    def count_down(*_args: object) -> None:
        nonlocal seen
        seen += 1
        if seen == k:
            raise Crash

    sa.event.listen(db._writer, event, count_down)

    def stop() -> bool:
        sa.event.remove(db._writer, event, count_down)
        return seen >= k

    return stop


@pytest.mark.parametrize("event", ["before_cursor_execute", "after_cursor_execute"])
def test_a_posting_killed_at_any_statement_leaves_all_legs_or_none(
    books: Database, event: str
) -> None:
    fill_up(books)
    for k in range(1, 100):
        stop = crash_at(books, event, k)
        try:
            book(books, FIVE_LEGS)
        except Crash:
            assert stop()
            assert count(books) == 2
            assert in_order(books)
            continue
        assert not stop()
        break
    assert k > 5  # the control: there were that many statements to die at
    assert count(books) == 7
    assert in_order(books)


def test_a_posting_killed_around_its_commit_is_there_or_not_and_may_be_repeated(
    books: Database, database_url: str
) -> None:
    fill_up(books)

    def crash() -> None:
        raise Crash

    for hooks, expected in (
        (TransactionHooks(before_commit=crash), 2),
        (TransactionHooks(after_commit=crash), 7),
    ):
        dying = Database.open(database_url, hooks=hooks)
        with pytest.raises(Crash):
            book(dying, FIVE_LEGS)
        dying.close()
        assert count(books) == expected
    assert book(books, FIVE_LEGS).repeated == 5
    assert of_customer(books, ANN, ETH) == 4


def test_a_posting_contended_at_any_statement_is_run_again_with_one_effect(
    books: Database,
) -> None:
    for k in range(1, 100):
        seen = 0

        def contend(conn: sa.Connection, *_args: object, k: int = k) -> None:
            nonlocal seen
            seen += 1
            if seen == k:
                _contend(conn)

        sa.event.listen(books._writer, "before_cursor_execute", contend)
        batch = deposit(2 * k, ANN, ETH, 100) + hold(2 * k + 1, ANN, ETH, 60)
        assert book(books, batch).posted == 2
        sa.event.remove(books._writer, "before_cursor_execute", contend)
        assert count(books) == 2 * k
        assert of_customer(books, ANN, ETH) == 40 * k
        if seen < k:
            break
    assert k > 5  # the control: there were that many statements to contend at


def _contend(conn: sa.Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.connection.cursor().execute(
            "DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '40P01'; END $$"
        )
    raise sqlite3.OperationalError("database is locked")


POSTING = """
import sys
from custody.db import Database
from tests.unit.custody.ledger.events import book, deposit, hold
db = Database.open(sys.argv[1])
for sequence in range(int(sys.argv[2]), 10**9, 2):
    book(db, deposit(sequence, 1, 0, 10) + hold(sequence + 1, 1, 0, 3))
    print(sequence, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(books: Database, database_url: str) -> None:
    acknowledged: list[int] = []
    start = 0
    for moment in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", POSTING, database_url, str(start)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10 + 17 * moment)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
        acknowledged += [int(line) for line in lines if line.endswith("\n")]
        process.wait()
        process.stdout.close()
        start = acknowledged[-1] + 2
        assert in_order(books)
    assert count(books) >= 2 * len(acknowledged) > 150
    with books.read() as conn:
        causes = set(conn.execute(sa.select(transfers.c.cause_id)).scalars())
    assert {f"dep_{sequence}" for sequence in acknowledged} <= causes


def spenders() -> list[list[list[Transfer]]]:
    """Give each of several threads its way of taking Ann's 100: holds, trades, fees, reversals."""
    return [
        [_way_of_spending(1_000 * thread + n, (thread + n) % 4) for n in range(10, 22)]
        for thread in range(4)
    ]


def _way_of_spending(sequence: int, way: int) -> list[Transfer]:
    if way == 0:
        return hold(sequence, ANN, USD, 7)
    if way == 1:
        return fill(sequence, base=1, quote=6)
    if way == 2:
        return reversal(sequence, ANN, USD, taken=5, shortfall=0)
    return fill(sequence, base=2, quote=8, base_fee=2, quote_fee=1)


def test_every_way_of_spending_at_once_never_takes_a_balance_below_zero(books: Database) -> None:
    book(books, deposit(1, ANN, USD, 100) + deposit(2, BOB, ETH, 1_000))
    lowest: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            with books.read() as conn:
                lowest.append(balance_of(conn, AccountKind.BALANCE, customer_owner(ANN), USD))

    def spend(batches: list[list[Transfer]]) -> tuple[int, int]:
        taken = refused = 0
        for batch in batches:
            try:
                books.run(functools.partial(post, batch=batch), attempts=200)
                taken += 1
            except Refused as refusal:
                refused += refusal.reason is Reason.EXCEEDS_AVAILABLE
        return taken, refused

    with ThreadPoolExecutor(5) as pool:
        watching = pool.submit(watch)
        try:
            spending = [pool.submit(spend, batches) for batches in spenders()]
            outcomes = [future.result() for future in spending]
        finally:
            done.set()
        watching.result()
    assert min(lowest) >= 0
    assert sum(refused for _, refused in outcomes) > 0  # the control: there was not enough
    assert 0 <= of_customer(books, ANN, USD) < 5
