"""Fixtures of the tests that need a real node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.evm import Opener


@pytest.fixture
def open_on() -> Iterator[Opener]:
    """Return what opens chains on running nodes; they are closed with the test."""
    with Opener() as opener:
        yield opener
