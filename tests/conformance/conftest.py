"""Every fact runs on every chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.chains import CHAINS
from tests.conformance.harness import ChainHarness


@pytest.fixture(params=sorted(CHAINS))
def harness(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain, each time from an empty one."""
    with CHAINS[request.param]() as running:
        yield running
