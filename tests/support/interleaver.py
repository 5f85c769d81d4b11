"""Runs two transactions on PostgreSQL in every order of their statements, one order after another.

Each transaction has a thread that stops before every statement and before its commit until it is
let go. Which one goes next is chosen depth first, so every order is tried exactly once; one that
waits for a lock of the other (pg_blocking_pids says so) cannot be chosen until it has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from custody.db.failures import Contended, failure_of

RUNS_AGAIN = 4
"""How often a transaction that another one was in the way of runs again, as Database.run does."""
PATIENCE_S = 20


class Stuck(Exception):
    """Neither transaction moves: a deadlock, or the interleaver itself is wrong."""


@dataclass
class Session:
    """One transaction on its own connection."""

    name: str
    engine: sa.Engine
    pid: int = 0
    waits: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False
    answer: Any = None
    runs: int = 0
    log: list[str] = field(default_factory=list)

    def gate(self, what: str) -> None:
        """Stop until the scheduler lets this transaction do one thing."""
        self.log.append(what)
        self.waits.set()
        if not self.may_go.wait(PATIENCE_S):
            raise Stuck(f"{self.name} was never let go: {what}")
        self.may_go.clear()

    def run(self, work: Callable[[sa.Connection], Any]) -> None:
        """Run the work in a transaction, again when another was in the way."""
        try:
            for _ in range(RUNS_AGAIN):
                self.runs += 1
                try:
                    with self.engine.begin() as conn:
                        self.answer = work(conn)
                    return
                except exc.DBAPIError as error:
                    if not isinstance(failure_of(error, committing=False), Contended):
                        raise
                    self.answer = "contended"
        except Exception as error:
            self.answer = error
        finally:
            self.is_over = True
            self.waits.set()


class Interleaver:
    """Two sessions of one isolation level on one database."""

    def __init__(self, url: str, isolation: str) -> None:
        self._watch = sa.create_engine(_driver(url), isolation_level="AUTOCOMMIT")
        self._monitor = self._watch.connect()
        self._sessions = [
            Session(name, self._engine(url, isolation)) for name in ("first", "second")
        ]
        for session in self._sessions:
            self._listen(session)

    def close(self) -> None:
        """Close every connection."""
        self._monitor.close()
        self._watch.dispose()
        for session in self._sessions:
            session.engine.dispose()

    def orders(
        self, prepare: Callable[[], None], works: Sequence[Callable[[sa.Connection], Any]]
    ) -> Iterator[tuple[str, list[Session]]]:
        """Yield (order, sessions) after each complete run; `prepare` ran before it."""
        forced: list[int] = []
        while True:
            prepare()
            taken, open_to = self._once(works, forced)
            names = "".join("ab"[choice] for choice in taken)
            yield names, self._sessions
            forced = self._next(taken, open_to)
            if not forced:
                return

    @staticmethod
    def _next(taken: list[int], open_to: list[list[int]]) -> list[int]:
        """Return the choices up to the last one that has an alternative left, with it."""
        for at in reversed(range(len(taken))):
            later = [choice for choice in open_to[at] if choice > taken[at]]
            if later:
                return [*taken[:at], later[0]]
        return []

    def _once(
        self, works: Sequence[Callable[[sa.Connection], Any]], forced: Sequence[int]
    ) -> tuple[list[int], list[list[int]]]:
        threads = []
        for session, work in zip(self._sessions, works, strict=True):
            session.is_over, session.answer, session.runs = False, None, 0
            session.waits.clear()
            session.may_go.clear()
            session.log.clear()
            threads.append(threading.Thread(target=session.run, args=(work,), daemon=True))
        for thread in threads:
            thread.start()
        taken: list[int] = []
        open_to: list[list[int]] = []
        while ready := self._ready():
            choice = forced[len(taken)] if len(taken) < len(forced) else ready[0]
            assert choice in ready, "the same order went another way"
            taken.append(choice)
            open_to.append(ready)
            self._sessions[choice].waits.clear()
            self._sessions[choice].may_go.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        for session in self._sessions:
            if isinstance(session.answer, Exception):
                raise session.answer
        return taken, open_to

    def _ready(self) -> list[int]:
        """Return who stands at a gate, once everybody stands, is over or waits for a lock."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            stands = [session.waits.is_set() for session in self._sessions]
            if all(
                stands[number] or self._is_blocked(session)
                for number, session in enumerate(self._sessions)
            ):
                ready = [
                    number
                    for number, session in enumerate(self._sessions)
                    if stands[number] and not session.is_over
                ]
                if ready or all(session.is_over for session in self._sessions):
                    return ready
            time.sleep(0.0005)
        raise Stuck([(session.name, session.log) for session in self._sessions])

    def _is_blocked(self, session: Session) -> bool:
        blocked = sa.text("SELECT cardinality(pg_blocking_pids(:pid))")
        return bool(self._monitor.execute(blocked, {"pid": session.pid}).scalar_one())

    @staticmethod
    def _engine(url: str, isolation: str) -> sa.Engine:
        return sa.create_engine(_driver(url), isolation_level=isolation, pool_size=1)

    @staticmethod
    def _listen(session: Session) -> None:
        with session.engine.connect() as conn:
            session.pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()

        @event.listens_for(session.engine, "before_cursor_execute")
        def statement(_conn: Any, _cursor: Any, text: str, *_more: Any) -> None:
            session.gate(text)

        @event.listens_for(session.engine, "commit")
        def commit(_conn: Any) -> None:
            session.gate("COMMIT")


@contextmanager
def interleaved(url: str, isolation: str) -> Iterator[Interleaver]:
    """Open an interleaver for a test."""
    opened = Interleaver(url, isolation)
    try:
        yield opened
    finally:
        opened.close()


def _driver(url: str) -> sa.URL:
    return sa.make_url(url).set(drivername="postgresql+psycopg")
