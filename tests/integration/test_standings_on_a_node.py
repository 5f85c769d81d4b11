"""What stands at an address, as a real node says: W12, contracts without a way to be paid."""

from __future__ import annotations

import pytest

from chains.base import NATIVE, Standing
from chains.evm.chain import EvmChain
from core.errors import Reason, Refused, Unavailable
from custody.withdrawals import destinations
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import Opener
from tests.support.evm import watched_address as address
from tests.support.faults import Close, Error, Result
from tests.support.proxy import FaultProxy

ACCEPTS, REFUSES, BURNS, WRITES = range(4)
TOKEN = "0x" + "11" * 20


@pytest.fixture
def chain(anvil: AnvilNode, open_on: Opener) -> EvmChain:
    return open_on(anvil.url)


@pytest.mark.parametrize(
    ("mood", "standing"),
    [
        (ACCEPTS, Standing.CONTRACT),
        (REFUSES, Standing.REFUSES),
        (BURNS, Standing.REFUSES),
        (WRITES, Standing.CONTRACT),
    ],
)
def test_a_contract_is_asked_whether_it_takes_the_coin(
    chain: EvmChain, contracts: Deployer, mood: int, standing: Standing
) -> None:
    where = contracts.deploy("Receiver", mood).address
    assert destinations.survey(chain, where, asset_key=NATIVE) is standing
    assert chain.standing_of(where, asset_key=TOKEN) is Standing.CONTRACT, "tokens ask nobody"


def test_a_contract_that_cannot_be_paid_at_all_refuses(
    chain: EvmChain, contracts: Deployer
) -> None:
    """A token's contract has no function that takes native coin."""
    token = contracts.deploy("NoReturnToken").address
    assert chain.standing_of(token, asset_key=NATIVE) is Standing.REFUSES


def test_an_account_is_one_even_when_it_runs_a_contracts_code(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    assert chain.standing_of(address(5), asset_key=NATIVE) is Standing.ACCOUNT
    for mood, standing in ((ACCEPTS, Standing.ACCOUNT), (REFUSES, Standing.REFUSES)):
        delegate = contracts.deploy("Receiver", mood).address
        anvil.call("anvil_setCode", address(6), "0xef0100" + delegate[2:].lower())
        if mood == REFUSES:  # the mood is the delegate's storage; the account has its own
            anvil.call("anvil_setStorageAt", address(6), "0x0", "0x" + "0" * 63 + "1")
        anvil.mine()
        assert chain.standing_of(address(6), asset_key=NATIVE) is standing
        assert chain.standing_of(address(6), asset_key=TOKEN) is Standing.ACCOUNT


def test_no_address_is_surveyed_that_is_none(chain: EvmChain) -> None:
    with pytest.raises(Refused) as caught:
        destinations.survey(chain, "0x" + "0" * 40, asset_key=NATIVE)
    assert caught.value.reason is Reason.FORBIDDEN_DESTINATION


@pytest.mark.parametrize("fault", [Close(), Error(-32000, "header not found"), Result(None)])
def test_a_node_that_does_not_answer_fails_closed(
    anvil: AnvilNode, open_on: Opener, proxy: FaultProxy, contracts: Deployer, fault: object
) -> None:
    where = contracts.deploy("Receiver", ACCEPTS).address
    chain = open_on(proxy.url)
    assert chain.standing_of(where, asset_key=NATIVE) is Standing.CONTRACT, "control"
    for method in ("eth_getCode", "eth_call"):
        proxy.add(fault, method)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            chain.standing_of(where, asset_key=NATIVE)
        proxy.clear()
