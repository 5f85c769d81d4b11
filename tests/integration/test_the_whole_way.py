"""Money goes the whole way on a real node: deposit, credit, trade, sweep, withdrawal, proof."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import equations
from chains.base import NATIVE
from chains.evm import open_evm
from core.entropy import SeededEntropy
from core.ids import AssetNo, CustomerNo, MarketNo
from custody.catalogue import MarketRow
from custody.ledger.audit import audit
from custody.reserves import report, verify
from custody.reserves.publish import Prover, publish
from custody.withdrawals.states import WithdrawalState
from custody.withdrawals.workflow import WithdrawalTerms
from engine.types import PlaceOrder, Side
from indexers.reconcile import reconcile
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import CHAIN, ETHER, config_for, genesis_hash, listed
from tests.support.house import GAS, HOT, House, open_house

TOKEN_UNIT = 10**6


@pytest.fixture
def token(contracts: Deployer) -> Contract:
    made = contracts.deploy("DemoToken", "Demo dollar", "USDD", 6)
    made.send("mint", made.creator, 10**15)
    return made


@pytest.fixture
def house(database_url: str, anvil: AnvilNode, token: Contract) -> Iterator[House]:
    assets = [listed(NATIVE, "ETH"), listed(token.address, "USDD")]
    chain = open_evm(config_for([anvil.url], *assets, genesis=genesis_hash(anvil.url)))
    market = MarketRow(
        MarketNo(0), "ETH-USDD", AssetNo(1), AssetNo(2), tick_minor=1, lot_minor=10**12,
        maker_ppm=1_000, taker_ppm=2_000,
    )  # fmt: skip
    terms = WithdrawalTerms(network_fee_max=ETHER // 10)
    with (
        contextlib.closing(chain),
        open_house(database_url, chain, assets, markets=[market], terms=terms) as opened,
    ):
        yield opened


def order(customer_no: CustomerNo, side: Side, price: int, lots: int, house: House) -> PlaceOrder:
    return PlaceOrder(
        customer_no=customer_no, client_order_id=lots, market_no=1, side=side,
        price_ticks=price, quantity_lots=lots, issued_ns=house.clock.now_ns(),
    )  # fmt: skip


def test_money_goes_the_whole_way_on_a_real_node(
    house: House, anvil: AnvilNode, contracts: Deployer, token: Contract, tmp_path: Path
) -> None:
    contracts.pay(house.own_address(HOT), 10 * ETHER)
    contracts.pay(house.own_address(GAS), 10 * ETHER)
    alice, bob = house.customer("alice"), house.customer("bob")
    at_alice, at_bob = house.address(alice), house.address(bob)
    house.run(2)
    contracts.pay(at_alice, 3 * ETHER)
    token.send("transfer", at_bob, 9_000 * TOKEN_UNIT)
    anvil.mine(4)
    house.run(3)
    assert house.balance(alice, NATIVE) == 3 * ETHER
    assert house.balance(bob, token.address) == 9_000 * TOKEN_UNIT

    house.sequencer.execute([order(alice, Side.SELL, 2_000, 1_000_000, house)])
    house.sequencer.execute([order(bob, Side.BUY, 2_000, 1_000_000, house)])
    house.run(1)
    assert house.balance(bob, NATIVE) == ETHER - ETHER * 2_000 // 10**6
    assert house.balance(alice, token.address) == 2_000 * TOKEN_UNIT * 999 // 1_000

    for _ in range(6):
        house.run(2)
        anvil.mine(3)
    house.run(2)
    chain = house.home.chain
    assert token.ask("balanceOf", house.own_address(HOT)) == 9_000 * TOKEN_UNIT
    assert chain.balance_of(at_alice, NATIVE, chain.head()) < ETHER // 100

    outside = contracts.accounts[5]
    row = house.withdraw(alice, token.address, 1_500 * TOKEN_UNIT, outside)
    house.run(1)
    house.approve(row.withdrawal_id)
    for _ in range(5):
        house.run(2)
        anvil.mine(3)
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert token.ask("balanceOf", outside) == 1_500 * TOKEN_UNIT
    assert house.problems == []

    result = reconcile(house.platform.db, chain)
    assert result.holds, [line for line in result.lines if line.unexplained]
    with house.platform.db.read() as conn:
        assert audit(conn) == []
    published = publish(
        house.platform.db, {CHAIN: Prover(chain, house.platform.signer)}, entity="Strongroom test",
        folder=tmp_path, leaves_folder=tmp_path / "leaves", clock=house.clock,
        entropy=SeededEntropy(7, "reserves"),
    )  # fmt: skip
    proof = tmp_path / "proof.json"
    proof.write_bytes(report.proof_file(published.sealed, published.tree, alice))
    command = [sys.executable, "-I", "-S", verify.__file__, str(published.path), str(proof)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = equations.check(house.platform, house.storage, published=published.sealed.data)
    assert [each for each in found if not each.holds] == []
    assert [each.name for each in found] == ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I17"]
