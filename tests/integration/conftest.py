"""Fixtures of the tests that need a real node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chains.evm.chain import EvmChain
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.databases import Databases
from tests.support.evm import Opener, listed
from tests.support.proxy import FaultProxy
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


@pytest.fixture
def token(contracts: Deployer) -> Contract:
    """Deploy an honest token of which its creator has a million units."""
    deployed = contracts.deploy("DemoToken", "Demo Dollar", "USDX", 6)
    deployed.send("mint", deployed.creator, 1_000_000)
    return deployed


@pytest.fixture
def chain(proxy: FaultProxy, token: Contract, open_on: Opener) -> EvmChain:
    """Open the test's node through the proxy, with the token listed."""
    return open_on(proxy.url, assets=[listed(token.address)])
