"""What officers are told of a payment before they sign: on a real node, with contracts that cheat.

Every cheat has an honest twin that has no other effects.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from coincurve import PrivateKey

from chains.base import NATIVE, Simulation, SpendIntent, SpendKind, UnsignedTx
from chains.evm.chain import EvmChain
from core.errors import Unavailable
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import ETHER, Opener, listed, watched_address

BOB = watched_address(2)
KEY = PrivateKey(hashlib.sha256(b"payer").digest())
GAS = 200_000


def payment(
    chain: EvmChain, to: str, amount: int, asset: str = NATIVE, *, gas: int = GAS
) -> UnsignedTx:
    """Return a payment by the wallet."""
    sender = chain.address_of(KEY.public_key.format(compressed=True))
    intent = SpendIntent(
        spend_id="sp_1", kind=SpendKind.WITHDRAWAL, cause_id="wd_1", chain=chain.traits.chain,
        network=chain.traits.network, asset_key=asset, source=sender, destination=to,
        amount=amount, fee_max=ETHER,
    )  # fmt: skip
    return chain.build(intent, nonce=0, rate=chain.fee_rate(), units=gas)


def ran(chain: EvmChain, anvil: AnvilNode, *what: Any, gas: int = GAS) -> Simulation:
    """Simulate a payment of a rich wallet."""
    unsigned = payment(chain, *what, gas=gas)
    anvil.set_balance(unsigned.sender, 100 * ETHER)
    return chain.simulate(unsigned)


def with_token(
    open_on: Opener, anvil: AnvilNode, contracts: Deployer, name: str, *arguments: object
) -> tuple[EvmChain, Contract]:
    """Return a chain that lists a token of which the wallet owns 1,000."""
    token = contracts.deploy(name, *arguments)
    chain = open_on(anvil.url, assets=[listed(token.address)])
    token.send("mint", chain.address_of(KEY.public_key.format(compressed=True)), 1_000)
    return chain, token


def test_a_receiver_that_writes_is_another_effect(
    open_on: Opener, anvil: AnvilNode, contracts: Deployer
) -> None:
    chain = open_on(anvil.url)
    quiet, writes = (contracts.deploy("Receiver", mood).address for mood in (0, 3))
    assert ran(chain, anvil, quiet, ETHER).others == ()
    found = ran(chain, anvil, writes, ETHER)
    assert found.succeeded
    assert found.others == (f"1 words of storage of {writes}",)


def test_what_needs_more_than_its_gas_fails(
    open_on: Opener, anvil: AnvilNode, contracts: Deployer
) -> None:
    chain = open_on(anvil.url)
    writes, refuses = (contracts.deploy("Receiver", mood).address for mood in (3, 1))
    assert not ran(chain, anvil, writes, ETHER, gas=21_000).succeeded
    assert not ran(chain, anvil, refuses, ETHER).succeeded
    assert ran(chain, anvil, BOB, ETHER, gas=21_000).succeeded


def test_a_token_that_pays_somebody_else_besides_is_seen(
    open_on: Opener, anvil: AnvilNode, contracts: Deployer
) -> None:
    chain, token = with_token(open_on, anvil, contracts, "FeeToken", False)
    found = ran(chain, anvil, BOB, 500, token.address)
    assert found.succeeded
    assert found.others == (f"3 words of storage of {token.address}",)
    assert sorted(one.after - one.before for one in found.changes) == [-500, 490]
    chain, honest = with_token(open_on, anvil, contracts, "FeeToken", True)
    loud = ran(chain, anvil, BOB, 500, honest.address)
    assert f"event of {honest.address}" in loud.others


def test_a_token_that_says_no_fails(open_on: Opener, anvil: AnvilNode, contracts: Deployer) -> None:
    chain, token = with_token(open_on, anvil, contracts, "FalseToken", 0)
    found = ran(chain, anvil, BOB, 500, token.address)
    assert not found.succeeded
    assert "did not transfer" in found.detail
    chain, silent = with_token(open_on, anvil, contracts, "NoReturnToken")
    assert ran(chain, anvil, BOB, 500, silent.address).succeeded


def test_nodes_that_do_not_answer_give_no_simulation(open_on: Opener, anvil: AnvilNode) -> None:
    chain = open_on(anvil.url)
    unsigned = payment(chain, BOB, 1)
    anvil.set_balance(unsigned.sender, ETHER)
    assert chain.simulate(unsigned).succeeded
    anvil.stop()
    with pytest.raises(Unavailable):
        chain.simulate(unsigned)
