"""Fresh databases are fresh, of both kinds, and nothing of them stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import sqlalchemy

from tests.support.databases import Databases
from tests.support.postgres import PostgresServer, postgres_server, wheel_programs

RUNS: list[str] = []


def make_table(url: str) -> None:
    """Prepare a database with one row."""
    RUNS.append(url.partition(":")[0])
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES (7)"))
    engine.dispose()


def rows(url: str, statement: str) -> list[int]:
    """Return the first column of what a statement answers."""
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            return [row[0] for row in connection.execute(sqlalchemy.text(statement))]
    finally:
        engine.dispose()


@pytest.mark.parametrize("attempt", [1, 2])
def test_every_test_gets_an_empty_database(database_url: str, attempt: int) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        rows(database_url, "SELECT x FROM t")
    make_table(database_url)
    assert rows(database_url, "SELECT x FROM t") == [7]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_prepared_database_is_prepared_once_and_copied_each_time(
    databases: Databases, kind: str
) -> None:
    RUNS.clear()
    for _ in range(3):
        with databases.fresh(kind, make_table) as url:
            assert rows(url, "SELECT x FROM t") == [7]
            assert rows(url, "UPDATE t SET x = 8 RETURNING x") == [8]
    assert len(RUNS) == 1
    assert RUNS[0].startswith(kind)


def test_two_databases_at_once_do_not_see_each_other(databases: Databases) -> None:
    for kind in ("sqlite", "postgresql"):
        with databases.fresh(kind, make_table) as first, databases.fresh(kind, make_table) as other:
            rows(first, "UPDATE t SET x = 8 RETURNING x")
            assert rows(other, "SELECT x FROM t") == [7]


def test_a_database_is_gone_after_its_test(
    databases: Databases, postgres: PostgresServer, tmp_path: Path
) -> None:
    with databases.fresh("postgresql") as url:
        name = url.rsplit("/", 1)[1]
        alive = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"
        assert rows(postgres.url("postgres"), alive) == [1]
    assert rows(postgres.url("postgres"), alive) == []
    with databases.fresh("sqlite", make_table) as url:
        path = Path(url.removeprefix("sqlite:///"))
        assert path.exists()
    assert not path.exists()


def test_the_wheel_serves_too_from_a_folder_its_user_may_not_enter(tmp_path: Path) -> None:
    private = tmp_path / "private"
    package = wheel_programs().parent.parent
    for part in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / part, private / part, symlinks=True)
    private.chmod(0o700)
    with postgres_server(private / package.name / "pginstall" / "bin") as server:
        folder = server.folder
        assert rows(server.url("postgres"), "SELECT 1") == [1]
        assert (folder / "programs").exists() is (os.geteuid() == 0)
    assert not folder.exists()
