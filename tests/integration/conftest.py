"""Fixtures of the tests that need a real node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.devnet.nodes import AnvilNode
from tests.support.databases import Databases
from tests.support.evm import Opener
from tests.support.threats import Stage


@pytest.fixture
def open_on() -> Iterator[Opener]:
    """Return what opens chains on running nodes; they are closed with the test."""
    with Opener() as opener:
        yield opener


@pytest.fixture
def stage(databases: Databases, anvil: AnvilNode) -> Iterator[Stage]:
    """Return what opens whole platforms on the test's node, for the cases of threats.md."""
    opened = Stage(databases, anvil)
    yield opened
    opened.close()
