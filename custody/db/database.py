"""Open a database, run transactions on it, and say truthfully how each one ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection

from core.clock import Clock, SystemClock
from core.entropy import Entropy, SystemEntropy
from core.errors import Unavailable
from custody.db.columns import SqliteSum
from custody.db.failures import Contended, failure_of
from custody.db.schema import Dialect, metadata

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000
"""How long a statement waits for another transaction's lock before it is Contended."""
POOL_SIZE = 8
POOL_WAIT_S = 5
ATTEMPTS = 8
BACKOFF_NS = 2_000_000
BACKOFF_NS_MAX = 250_000_000
WAL_ATTEMPTS = 50


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class TransactionHooks:
    """Where the simulator crashes: just before a commit is sent and just after it is durable."""

    before_commit: Callable[[], None] = _nothing
    after_commit: Callable[[], None] = _nothing


class Database:
    """One database: serializable writers, readers on consistent snapshots."""

    def __init__(
        self,
        writer: sa.Engine,
        reader: sa.Engine,
        hooks: TransactionHooks,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._hooks = hooks
        self._clock = clock
        self._entropy = entropy
        self.dialect: Dialect = "sqlite" if writer.dialect.name == "sqlite" else "postgresql"

    @classmethod
    def open(
        cls,
        url: str,
        *,
        hooks: TransactionHooks | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ) -> Self:
        """Open `sqlite:///path` or `postgresql://…`; connections are made when first needed.

        ValueError for any other URL, in-memory SQLite included: it is another database per thread.
        """
        parsed = sa.make_url(url)
        kind = parsed.get_backend_name()
        clock = clock or SystemClock()
        if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
            writer = _sqlite(parsed, clock, busy_timeout_ms, read_only=False)
            reader = _sqlite(parsed, clock, busy_timeout_ms, read_only=True)
        elif kind in ("postgresql", "postgres"):
            base = _postgresql(parsed, busy_timeout_ms)
            writer = base.execution_options(isolation_level="SERIALIZABLE")
            reader = base.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        else:
            raise ValueError("a database is a SQLite file or a PostgreSQL URL")
        return cls(writer, reader, hooks or TransactionHooks(), clock, entropy or SystemEntropy())

    def close(self) -> None:
        """Close idle connections."""
        self._writer.dispose()
        self._reader.dispose()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open one transaction: committed when the block ends, rolled back when it raises.

        Raises what the module docstring of custody.db lists; see `run` for re-running.
        """
        with _translated(), self._writer.connect() as conn, conn.begin() as transaction:
            yield conn
            self._hooks.before_commit()
            _commit(transaction)
            self._hooks.after_commit()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open one consistent snapshot that cannot write."""
        with _translated(), self._reader.connect() as conn, conn.begin():
            yield conn

    def run(self, fn: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Return fn(conn) of the transaction that committed.

        The whole function runs again, with fresh reads, while another transaction is in the way, so
        it must have no effect outside the connection. After the last attempt: Contended.
        """
        assert attempts >= 1
        for attempt in range(1, attempts):
            try:
                return self._once(fn)
            except Contended:
                self._back_off(attempt)
        return self._once(fn)

    def create_all(self) -> None:
        """Create every imported table with its triggers, as migrations would; for tests."""
        with _translated(), self._writer.begin() as conn:
            metadata.create_all(conn)

    def _once(self, fn: Callable[[sa.Connection], T]) -> T:
        with self.transaction() as conn:
            return fn(conn)

    def _back_off(self, attempt: int) -> None:
        limit = min(BACKOFF_NS_MAX, BACKOFF_NS << attempt)
        self._clock.sleep(int.from_bytes(self._entropy.token_bytes(8), "big") % limit)


def _commit(transaction: sa.RootTransaction) -> None:
    try:
        transaction.commit()
    except exc.DBAPIError as error:
        failure = failure_of(error, committing=True)
        if failure is None:
            raise
        raise failure from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        failure = failure_of(error, committing=False)
        if failure is None:
            raise
        raise failure from error
    except exc.TimeoutError as error:
        raise Unavailable("every database connection is in use") from error


def _sqlite(url: sa.URL, clock: Clock, busy_timeout_ms: int, *, read_only: bool) -> sa.Engine:
    engine = sa.create_engine(
        url, pool_size=POOL_SIZE, pool_timeout=POOL_WAIT_S, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: object) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # the driver must not begin transactions of its own
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        _switch_to_wal(connection, clock)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA recursive_triggers = ON")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA temp_store = MEMORY")  # where statements with triggers undo
        connection.create_aggregate("strongroom_sum", 1, SqliteSum)  # type: ignore[arg-type]
        if read_only:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(conn: sa.Connection) -> None:
        # A deferred transaction that writes later fails at once instead of waiting for the lock.
        conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _switch_to_wal(connection: sqlite3.Connection, clock: Clock) -> None:
    # The switch answers "locked" without waiting when two processes open a new file together.
    for _ in range(WAL_ATTEMPTS):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            clock.sleep(BACKOFF_NS_MAX // 10)
            continue
        if mode != "wal":
            raise Unavailable("the database file is on a file system without write-ahead log")
        return
    raise Unavailable("the database file stays locked")


def _postgresql(url: sa.URL, busy_timeout_ms: int) -> sa.Engine:
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=POOL_SIZE,
        pool_timeout=POOL_WAIT_S,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: object) -> None:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {busy_timeout_ms}")
        # What was answered must survive a crash, whatever the server's default is.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        cursor.close()
        connection.autocommit = False

    return engine
