"""Durable ledger transfers on both databases; the peer is a plain insert of the same rows."""

from __future__ import annotations

import contextlib
import tempfile
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from core.ids import transfer_id
from custody.db import Amount, Bytes, Database, Int64, table
from custody.ledger.chart import PLATFORM, AccountKey, AccountKind, customer_account
from custody.ledger.records import Chain, Transfer
from custody.ledger.transfers import post
from tests.benchmarks.measure import Contest, Run
from tests.support.postgres import postgres_server

COUNT, BATCH, CUSTOMERS = 5_000, 1_000, 200

plain_rows = table(
    "plain_rows_probe",
    sa.Column("id", Bytes, primary_key=True),
    sa.Column("debit", Int64, nullable=False, index=True),
    sa.Column("credit", Int64, nullable=False, index=True),
    sa.Column("amount", Amount, nullable=False),
)


def _transfers(run: int) -> list[Transfer]:
    bank = AccountKey(AccountKind.DEPOSIT_ADDRESSES, "deposits", 1)
    fees = AccountKey(AccountKind.FEE_INCOME, PLATFORM, 1)
    made = []
    for n in range(COUNT):
        customer = customer_account(AccountKind.BALANCE, n % CUSTOMERS + 1, 1)
        debit, credit = (bank, customer) if n % 3 else (bank, fees)
        made.append(
            Transfer(
                id=transfer_id("bench", run, n), chain=Chain.TREASURY, debit=debit, credit=credit,
                amount=n + 1, cause_kind="bench", cause_id=f"{run}",
            )
        )  # fmt: skip
    return made


def _posting(db: Database) -> Run:
    runs = iter(range(1_000))

    def run() -> int:
        work = _transfers(next(runs))
        for start in range(0, COUNT, BATCH):
            part = work[start : start + BATCH]
            db.run(partial(post, batch=part, at_ns=1))
        return COUNT

    return run


def _insert(conn: sa.Connection, rows: list[dict[str, object]]) -> None:
    conn.execute(plain_rows.insert(), rows)


def _inserting(db: Database) -> Run:
    runs = iter(range(1_000))

    def run() -> int:
        number = next(runs)
        rows: list[dict[str, object]] = [
            {
                "id": transfer_id("plain", number, n), "debit": n % CUSTOMERS, "credit": n % 7,
                "amount": n + 1,
            }
            for n in range(COUNT)
        ]  # fmt: skip
        for start in range(0, COUNT, BATCH):
            part = rows[start : start + BATCH]
            db.run(partial(_insert, rows=part))
        return COUNT

    return run


def contests(stack: contextlib.ExitStack) -> list[Contest]:
    """Return one contest per database, each with its durability switched on."""
    Path("var").mkdir(exist_ok=True)
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir="var"))
    server = stack.enter_context(postgres_server(durable=True))
    urls = {
        "SQLite": f"sqlite:///{folder}/bench.db",
        "PostgreSQL": stack.enter_context(server.database()),
    }
    found = []
    for name, url in urls.items():
        db = stack.enter_context(contextlib.closing(Database.open(url)))
        db.create_all()
        found.append(
            Contest(
                f"ledger, {name}", f"transfers, {BATCH} a transaction", _posting(db),
                floor=_inserting(db), floor_name="unchecked INSERT of as many rows",
                goal="see performance page: >= 1 x TigerBeetle's rows", wall=True,
            )
        )  # fmt: skip
    return found
