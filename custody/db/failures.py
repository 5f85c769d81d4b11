"""What an error of a driver means: one place that reads SQLSTATEs and SQLite result codes."""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from core.errors import Corrupt, OutcomeUnknown, StrongroomError, Unavailable


class Contended(Unavailable):
    """Another transaction was in the way; nothing was done and the same function may run again."""


SQLSTATES_CONTENDED = frozenset({"40001", "40P01", "55P03"})
"""serialization_failure, deadlock_detected, lock_not_available."""
SQLSTATES_DISCONNECTED = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03"})
"""The server ended the session: shutdown, crash, starting up, dropped, idle too long."""
SQLSTATE_CLASSES_UNAVAILABLE = ("08", "53", "58")
"""Connection, insufficient resources (53100 is a full disk), system error."""
SQLSTATES_UNAVAILABLE = frozenset({"57014", "25006"})
"""Statement timeout or cancel; the server is a read-only standby."""
SQLSTATES_CORRUPT = frozenset({"XX001", "XX002"})
SQLITE_CONTENDED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_INTERRUPT,
    }
)
SQLITE_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SQLITE_WORDS = (
    ("is locked", sqlite3.SQLITE_BUSY),
    ("database or disk is full", sqlite3.SQLITE_FULL),
    ("disk I/O error", sqlite3.SQLITE_IOERR),
    ("unable to open database file", sqlite3.SQLITE_CANTOPEN),
    ("readonly database", sqlite3.SQLITE_READONLY),
    ("malformed", sqlite3.SQLITE_CORRUPT),
    ("file is not a database", sqlite3.SQLITE_NOTADB),
)


def failure_of(error: exc.DBAPIError, *, committing: bool) -> StrongroomError | None:
    """Return what a driver's error means, or None when it is the statement that was wrong."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_failure(error.orig, committing=committing)
    return _postgresql_failure(error, committing=committing)


def _sqlite_failure(error: sqlite3.Error, *, committing: bool) -> StrongroomError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by the binding or injected by a test: only the words are left
        code = next((code for words, code in _SQLITE_WORDS if words in str(error)), 0)
    primary = code & 0xFF
    if primary in SQLITE_CONTENDED:
        return Contended("the database is locked")
    if primary == sqlite3.SQLITE_IOERR:
        # The commit frame may have reached the log although syncing it failed.
        what = f"the database's disk failed: {error}"
        return OutcomeUnknown(what) if committing else Unavailable(what)
    if primary in SQLITE_UNAVAILABLE:
        return Unavailable(f"the database is not writable: {error}")
    if primary in SQLITE_CORRUPT:
        return Corrupt(f"the database file is damaged: {error}")
    return None


def _postgresql_failure(error: exc.DBAPIError, *, committing: bool) -> StrongroomError | None:
    state = getattr(error.orig, "sqlstate", None)
    if state in SQLSTATES_CONTENDED:
        return Contended(f"another transaction was in the way ({state})")
    lost = state in SQLSTATES_DISCONNECTED or (state or "").startswith("08")
    if state is None:
        lost = error.connection_invalidated or isinstance(error, exc.OperationalError)
    if lost and committing:
        return OutcomeUnknown("the connection was lost during COMMIT")
    if lost:
        return Unavailable(f"the database cannot be reached ({state or 'no connection'})")
    if state in SQLSTATES_CORRUPT:
        return Corrupt(f"the database's files are damaged ({state})")
    if state in SQLSTATES_UNAVAILABLE or (state or "").startswith(SQLSTATE_CLASSES_UNAVAILABLE):
        return Unavailable(f"the database refuses ({state})")
    return None


def violated(error: exc.IntegrityError) -> str:
    """Return which constraint said no: its name, or on SQLite what its message names instead.

    SQLite names checks ("ck_accounts_guard") but of unique keys only the columns ("transfers.id").
    """
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if name:
        return str(name)
    return str(error.orig).partition(" constraint failed: ")[2] or str(error.orig)
