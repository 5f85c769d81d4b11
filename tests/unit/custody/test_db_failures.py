"""What the driver says becomes one of few answers; a COMMIT whose answer is lost is its own."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
import sqlalchemy as sa

from core.errors import Corrupt, OutcomeUnknown, StrongroomError, Unavailable
from custody.db import Contended, Database, Int64, table
from custody.db.failures import failure_of
from tests.support.postgres import PostgresServer

outcomes_probe = table(
    "outcomes_probe", sa.Column("number", Int64, primary_key=True, autoincrement=False)
)


def wrapped(orig: Exception) -> sa.exc.DBAPIError:
    return sa.exc.OperationalError("SELECT 1", None, orig)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "running", "committing"),
    [
        (sqlite3.SQLITE_BUSY, Contended, Contended),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Contended, Contended),
        (sqlite3.SQLITE_LOCKED, Contended, Contended),
        (sqlite3.SQLITE_FULL, Unavailable, Unavailable),
        (sqlite3.SQLITE_READONLY, Unavailable, Unavailable),
        (sqlite3.SQLITE_CANTOPEN, Unavailable, Unavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, Unavailable, OutcomeUnknown),
        (sqlite3.SQLITE_IOERR_WRITE, Unavailable, OutcomeUnknown),
        (sqlite3.SQLITE_CORRUPT, Corrupt, Corrupt),
        (sqlite3.SQLITE_NOTADB, Corrupt, Corrupt),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, type(None), type(None)),
        (sqlite3.SQLITE_ERROR, type(None), type(None)),
    ],
)
def test_every_sqlite_code_has_one_meaning(code: int, running: type, committing: type) -> None:
    assert type(failure_of(wrapped(sqlite_error(code)), committing=False)) is running
    assert type(failure_of(wrapped(sqlite_error(code)), committing=True)) is committing


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("database is locked", Contended),
        ("database table is locked: accounts", Contended),
        ("database or disk is full", Unavailable),
        ("disk I/O error", Unavailable),
        ("unable to open database file", Unavailable),
        ("database disk image is malformed", Corrupt),
        ('near "SELEC": syntax error', type(None)),
    ],
)
def test_sqlite_errors_without_a_code_are_known_by_their_words(words: str, meaning: type) -> None:
    error = wrapped(sqlite3.OperationalError(words))
    assert type(failure_of(error, committing=False)) is meaning


@pytest.fixture
def postgresql(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database("template0") as url:
        db = Database.open(url)
        with db.transaction() as conn:
            outcomes_probe.create(conn)
        yield db
        db.close()


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("40001", Contended),
        ("40P01", Contended),
        ("55P03", Contended),
        ("53100", Unavailable),
        ("53200", Unavailable),
        ("53300", Unavailable),
        ("57014", Unavailable),
        ("57P03", Unavailable),
        ("58030", Unavailable),
        ("08006", Unavailable),
        ("XX001", Corrupt),
    ],
)
def test_every_sqlstate_that_the_server_raises_has_one_meaning(
    postgresql: Database, state: str, meaning: type[StrongroomError]
) -> None:
    def write_and_fail(conn: sa.Connection) -> None:
        conn.execute(outcomes_probe.insert().values(number=1))
        conn.exec_driver_sql(
            f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{state}'; END $$"
        )

    with pytest.raises(meaning) as error:
        postgresql.run(write_and_fail, attempts=1)
    assert type(error.value) is meaning
    assert stored(postgresql) == set()


@pytest.mark.parametrize("state", ["22003", "23514", "42P01", "P0001"])
def test_what_is_wrong_with_the_statement_passes_through(postgresql: Database, state: str) -> None:
    with pytest.raises(sa.exc.DBAPIError), postgresql.transaction() as conn:
        conn.exec_driver_sql(
            f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{state}'; END $$"
        )


def test_a_session_ended_by_the_server_is_unavailable_and_the_next_one_works(
    postgresql: Database,
) -> None:
    def lose_the_session(conn: sa.Connection) -> None:
        conn.execute(outcomes_probe.insert().values(number=1))
        pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with postgresql.transaction() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        conn.execute(outcomes_probe.insert().values(number=2))

    with pytest.raises(Unavailable) as error:
        postgresql.run(lose_the_session)
    assert not isinstance(error.value, OutcomeUnknown)
    assert stored(postgresql) == set()


class CuttingProxy:
    """Passes a database connection through and cuts it around COMMIT when told to.

    "before" cuts instead of passing COMMIT on; "after" passes it on, waits for the server's answer
    and cuts instead of passing the answer back.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut: str | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for pump in (self._forward, self._back):
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.cut == "before" and b"COMMIT" in data:
                    self._end(client, server)
                    return
                if self.cut == "after" and b"COMMIT" in data:
                    self.cut = "now"
                server.sendall(data)
        self._end(client, server, count=False)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.cut == "now":
                    assert b"COMMIT" in data  # the server has committed
                    self._end(client, server)
                    return
                client.sendall(data)
        self._end(client, server, count=False)

    def _end(self, client: socket.socket, server: socket.socket, *, count: bool = True) -> None:
        if count:
            self.cuts += 1
            self.cut = None
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def cutting(postgresql: Database) -> Iterator[tuple[CuttingProxy, Database]]:
    url = postgresql._writer.url
    assert url.host is not None
    proxy = CuttingProxy(url.host, url.port or 5432)
    through = url.set(host="127.0.0.1", port=proxy.port)
    db = Database.open(through.render_as_string(hide_password=False))
    yield proxy, db
    db.close()
    proxy.close()


def stored(db: Database) -> set[int]:
    with db.read() as conn:
        return set(conn.execute(sa.select(outcomes_probe.c.number)).scalars())


def put(number: int) -> Callable[[sa.Connection], None]:
    def work(conn: sa.Connection) -> None:
        conn.execute(outcomes_probe.insert().values(number=number))

    return work


@pytest.mark.parametrize(("cut", "happened"), [("before", False), ("after", True)])
def test_a_connection_lost_during_commit_is_an_unknown_outcome(
    postgresql: Database, cutting: tuple[CuttingProxy, Database], cut: str, happened: bool
) -> None:
    proxy, db = cutting
    db.run(put(1))  # the control: without a cut the proxy changes nothing
    proxy.cut = cut
    with pytest.raises(OutcomeUnknown):
        db.run(put(2))
    assert proxy.cuts == 1
    assert stored(postgresql) == ({1, 2} if happened else {1})


def test_deciding_by_look_up_gives_every_request_one_effect_over_many_cuts(
    postgresql: Database, cutting: tuple[CuttingProxy, Database]
) -> None:
    proxy, db = cutting
    unknown = 0
    for number in range(100):
        proxy.cut = (None, "before", "after", "before", "after")[number % 5]
        while number not in stored(postgresql):
            try:
                db.run(put(number))
            except OutcomeUnknown:
                unknown += 1
    assert stored(postgresql) == set(range(100))
    assert unknown == proxy.cuts == 80


def test_the_driver_in_use_is_psycopg(postgresql: Database) -> None:
    with postgresql.read() as conn:
        assert isinstance(conn.connection.dbapi_connection, psycopg.Connection)
