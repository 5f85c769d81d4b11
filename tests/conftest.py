"""Fixtures that every test may ask for by name."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode, start_anvil
from tests.support.databases import KINDS, Databases
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.proxy import FaultProxy
from tests.support.vault import real_server

# "default" looks for new cases in every run, "ci" repeats itself: a red build is red again.
settings.register_profile("default", deadline=None)
settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests of the signers had nothing to run against."""
    ran = (report.nodeid for report in terminalreporter.stats.get("passed", []))
    if real_server() is None and any("test_every_signer" in nodeid for nodeid in ran):
        terminalreporter.write_line(
            "not run: signers against a real Vault server (set VAULT_ADDR and VAULT_TOKEN)"
        )


@pytest.fixture(scope="session")
def _servers() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def start_postgres(_servers: contextlib.ExitStack) -> Callable[[], PostgresServer]:
    """Return a function that starts the session's PostgreSQL once and returns it."""
    return functools.cache(lambda: _servers.enter_context(postgres_server()))


@pytest.fixture(scope="session")
def postgres(start_postgres: Callable[[], PostgresServer]) -> PostgresServer:
    """Return the session's PostgreSQL."""
    return start_postgres()


@pytest.fixture(scope="session")
def databases(start_postgres: Callable[[], PostgresServer]) -> Iterator[Databases]:
    """Return the lender of fresh databases, for a test that needs a kind or several at once."""
    lender = Databases(start_postgres)
    yield lender
    lender.close()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """Run the test once on SQLite and once on PostgreSQL, each time with an empty database."""
    with databases.fresh(request.param) as url:
        yield url


@pytest.fixture
def start_node() -> Iterator[Callable[..., AnvilNode]]:
    """Return `start_anvil`; what it starts in the test ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: object) -> AnvilNode:
            return stack.enter_context(start_anvil(**options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def anvil() -> Iterator[AnvilNode]:
    """Start a fresh node that mines at every transaction and calls final the head minus 2."""
    with start_anvil() as node:
        yield node


@pytest.fixture
def contracts(anvil: AnvilNode) -> Deployer:
    """Return what deploys the contracts of contracts/src on the test's node."""
    return Deployer(anvil)


@pytest.fixture
def proxy(anvil: AnvilNode) -> Iterator[FaultProxy]:
    """Put a fault-injecting proxy in front of the test's node."""
    with FaultProxy(anvil.url) as running:
        yield running
