"""What cannot be moved now takes nobody's turn: P04 for payments, P02 for crowds of dust."""

from __future__ import annotations

import pytest

from chains.base import NATIVE, SpendKind
from custody.spending import drive
from custody.spending.rows import SpendState
from custody.withdrawals import execute
from custody.withdrawals.states import WithdrawalState
from sweeper.policy import SweepRules
from tests.support.evm import ETHER, GWEI, listed, minted
from tests.support.house import HOT
from tests.support.threats import OUTSIDE, Stage


def test_P04_withdrawals_that_cannot_be_paid_never_stop_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "BATCH_MAX", 4)
    token = minted(stage.contracts, "PausableBlocklistToken")
    scene = stage(listed(token.address))
    alice = scene.funded()
    mallory = scene.customer("mallory")
    token.send("transfer", mallory.address, 5_000)
    token.send("transfer", scene.house.own_address(HOT), 5_000)
    scene.go()
    token.send("setPaused", True)
    stuck = [
        scene.approved(mallory, 10, key=token.address, client_id=f"stuck {n}")
        for n in range(execute.BATCH_MAX + 2)
    ]
    paid = scene.approved(alice, ETHER)
    scene.until(lambda: scene.withdrawal(paid).state is WithdrawalState.CONFIRMED, tries=5)
    assert {scene.withdrawal(each).state for each in stuck} == {WithdrawalState.APPROVED}
    assert sum("would_revert" in p.why for p in scene.house.problems) >= len(stuck), "the control"
    token.send("setPaused", False)
    scene.go()
    assert {scene.withdrawal(each).state for each in stuck} == {WithdrawalState.CONFIRMED}
    assert token.ask("balanceOf", OUTSIDE) == 10 * len(stuck)
    scene.assert_equations_hold()


def test_P04_sweeps_that_are_stuck_never_stop_a_payment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "BATCH_MAX", 5)
    node = stage.node
    payer = stage.contracts.deploy("Payer")
    scene = stage()
    alice = scene.funded()
    many = [scene.customer(f"customer {n}") for n in range(drive.BATCH_MAX + 2)]
    payer.send("pay", [c.address for c in many], [ETHER] * len(many), value=ETHER * len(many))
    scene.go()
    node.call("evm_setAutomine", False)
    scene.set_sweeps(SweepRules(fee_max=21_000 * 10 * GWEI))
    scene.run(3)
    flying = [s for s in scene.spends(SpendKind.SWEEP) if s.state is SpendState.BROADCAST]
    assert len(flying) > drive.BATCH_MAX

    def block() -> None:
        node.call("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))
        node.mine(1)

    block()
    paid = scene.approved(alice, ETHER)
    for _ in range(6):
        scene.run(1)
        block()
    scene.run(1)
    now = {spend.state for spend in scene.spends(SpendKind.SWEEP)}
    assert now == {SpendState.BROADCAST}, "the control: all of them wait for cheaper days"
    assert scene.withdrawal(paid).state is WithdrawalState.CONFIRMED
    node.call("evm_setAutomine", True)
    for _ in range(4):
        node.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        node.mine(1)
    scene.assert_equations_hold()


def test_P02_a_crowd_of_dust_is_credited_and_never_hides_what_is_worth_its_sweep(
    stage: Stage,
) -> None:
    payer = stage.contracts.deploy("Payer")
    scene = stage()
    scene.fund_wallets()
    mallory, bob = scene.customer("mallory"), scene.customer("bob")
    addresses = [scene.house.address(mallory.number) for _ in range(6)]
    for address in addresses:
        payer.send("pay", [address] * 100, [GWEI] * 100, value=100 * GWEI)
    stage.contracts.pay(bob.address, ETHER)
    scene.go()
    assert len(scene.deposits(mallory)) == 600, "the control: all of them came before bob's"
    assert (scene.credited(mallory), scene.credited(bob)) == (600 * GWEI, ETHER)
    scene.set_sweeps(SweepRules())
    scene.until(lambda: bool(scene.spends(SpendKind.SWEEP)) and scene.is_settled(), tries=6)
    assert {spend.source for spend in scene.spends(SpendKind.SWEEP)} == {bob.address}
    assert scene.chain.balance_of(addresses[0], NATIVE, scene.chain.head()) == 100 * GWEI
    scene.assert_equations_hold()
