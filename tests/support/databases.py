"""Fresh databases for tests, of both kinds, empty or copied from one that was prepared once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.devnet.servers import temporary_folder
from tests.support.postgres import PostgresServer

KINDS = ("sqlite", "postgresql")


class Databases:
    """Lends databases by URL. PostgreSQL is started when it is first asked for."""

    def __init__(self, start_postgres: Callable[[], PostgresServer]) -> None:
        self._start_postgres = start_postgres
        self._folder = temporary_folder("sqlite")
        self._prepared: dict[str, Path] = {}
        self._count = 0

    @contextlib.contextmanager
    def fresh(self, kind: str, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
        """Lend a database of kind; prepare(url) ran on it, or on the original it is a copy of.

        prepare is run once a session for each kind, so it must be a module-level function whose
        result never differs, and it must leave no connection open.
        """
        assert kind in KINDS, kind
        if kind == "postgresql":
            server = self._start_postgres()
            source = server.template(_key(prepare), prepare) if prepare else "template0"
            with server.database(source) as url:
                yield url
            return
        path = self._new_path()
        if prepare is not None:
            shutil.copy(self._original(prepare), path)
        try:
            yield f"sqlite:///{path}"
        finally:
            for leftover in path.parent.glob(f"{path.name}*"):
                leftover.unlink()

    def close(self) -> None:
        """Remove every SQLite file."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _new_path(self) -> Path:
        self._count += 1
        return self._folder / f"{self._count}.db"

    def _original(self, prepare: Callable[[str], None]) -> Path:
        key = _key(prepare)
        if key not in self._prepared:
            path = self._new_path()
            prepare(f"sqlite:///{path}")
            left = {f.name for f in self._folder.glob(f"{path.name}-*") if f.stat().st_size}
            assert not left, f"{key} left a connection open: {left}"
            self._prepared[key] = path
        return self._prepared[key]


def _key(prepare: Callable[[str], None]) -> str:
    return f"{prepare.__module__}.{prepare.__qualname__}"
