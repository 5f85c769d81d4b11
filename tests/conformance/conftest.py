"""Every fact runs on every chain that has what it is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

import pytest

from tests.conformance import chains

Harness = TypeVar("Harness")


def each_of(
    opened: Mapping[str, Callable[[], AbstractContextManager[Harness]]],
    names: Collection[str] | None = None,
) -> Callable[[pytest.FixtureRequest], Iterator[Harness]]:
    """Return a fixture that opens one chain after the other, each time from an empty one."""

    @pytest.fixture(params=sorted(opened if names is None else names))
    def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
        with opened[request.param]() as running:
            yield running

    return harness


harness = each_of(chains.CHAINS)
"""All of them."""
token_harness = each_of(chains.TOKEN_CHAINS)
"""With tokens."""
odd_harness = each_of(chains.ODD_TOKEN_CHAINS)
"""Whose tokens run code of their issuers."""
tagged_harness = each_of(chains.TAGGED_CHAINS)
"""Those that say themselves what is final."""
nonce_harness = each_of(chains.CHAINS, chains.NONCE_CHAINS)
"""Whose senders count their transactions."""
forking_harness = each_of(chains.CHAINS, chains.FORKING_CHAINS)
"""Whose newest blocks may be replaced."""
waiting_harness = each_of(chains.CHAINS, chains.WAITING_CHAINS)
"""Whose transactions wait and are replaced by dearer ones."""
coin_harness = each_of(chains.COIN_CHAINS)
"""Whose senders use up coins."""
simulating = each_of(chains.CHAINS, chains.SIMULATING_CHAINS)
"""Whose nodes run unsigned transactions."""
batch_harness = each_of(chains.CHAINS, chains.BATCH_CHAINS)
"""With batches."""
odd_batch_harness = each_of(
    chains.ODD_TOKEN_CHAINS, {*chains.BATCH_CHAINS} & {*chains.ODD_TOKEN_CHAINS}
)
"""With batches of tokens that run code."""
