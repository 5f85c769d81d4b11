"""Every fact runs on every chain that has what it is about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import chains
from tests.conformance.harness import (
    ChainHarness,
    CoinHarness,
    OddTokenHarness,
    TaggedHarness,
    TokenHarness,
)


@pytest.fixture(params=sorted(chains.CHAINS))
def harness(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain, each time from an empty one."""
    with chains.CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.TOKEN_CHAINS))
def token_harness(request: pytest.FixtureRequest) -> Iterator[TokenHarness]:
    """Run the test once per chain with tokens."""
    with chains.TOKEN_CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.ODD_TOKEN_CHAINS))
def odd_harness(request: pytest.FixtureRequest) -> Iterator[OddTokenHarness]:
    """Run the test once per chain whose tokens run code of their issuers."""
    with chains.ODD_TOKEN_CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.TAGGED_CHAINS))
def tagged_harness(request: pytest.FixtureRequest) -> Iterator[TaggedHarness]:
    """Run the test once per chain that says itself what is final."""
    with chains.TAGGED_CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.NONCE_CHAINS))
def nonce_harness(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain whose senders count their transactions."""
    with chains.CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.FORKING_CHAINS))
def forking_harness(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain whose newest blocks may be replaced."""
    with chains.CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.WAITING_CHAINS))
def waiting_harness(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain whose transactions wait and are replaced by dearer ones."""
    with chains.CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.COIN_CHAINS))
def coin_harness(request: pytest.FixtureRequest) -> Iterator[CoinHarness]:
    """Run the test once per chain whose senders use up coins."""
    with chains.COIN_CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.SIMULATING_CHAINS))
def simulating(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain whose nodes run unsigned transactions."""
    with chains.CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted(chains.BATCH_CHAINS))
def batch_harness(request: pytest.FixtureRequest) -> Iterator[ChainHarness]:
    """Run the test once per chain with batches."""
    with chains.CHAINS[request.param]() as running:
        yield running


@pytest.fixture(params=sorted({*chains.BATCH_CHAINS} & {*chains.ODD_TOKEN_CHAINS}))
def odd_batch_harness(request: pytest.FixtureRequest) -> Iterator[OddTokenHarness]:
    """Run the test once per chain with batches of tokens that run code."""
    with chains.ODD_TOKEN_CHAINS[request.param]() as running:
        yield running
