"""Gathering deposits under attack: P01 to P05, each with sweeps that do happen as the control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chains.base import NATIVE, SpendKind
from custody.deposit_rows import DepositState
from custody.spending.rows import SpendState
from infra.devnet.nodes import AnvilNode
from sweeper.policy import SweepRules
from tests.support.evm import ETHER, GWEI, listed, minted
from tests.support.faults import Close
from tests.support.house import HOT
from tests.support.proxy import FaultProxy
from tests.support.threats import Scene, Stage, reopened

RULES = SweepRules()
OUR_OWN = (SpendKind.SWEEP, SpendKind.TOP_UP)
CRASHES_AFTER = ("sweeps.plan", "spending.move", "spending.settle")


def swept(scene: Scene) -> bool:
    """Return whether something was gathered and nothing is on its way."""
    return bool(scene.spends(SpendKind.SWEEP)) and scene.is_settled()


def test_P01_a_crash_between_top_up_and_sweep_makes_no_second_top_up(
    stage: Stage, proxy: FaultProxy
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    asset = listed(token.address)
    scene = stage(asset, sweeps=RULES, nodes=[proxy.url])
    scene.fund_wallets()
    alice = scene.customer("alice")
    token.send("transfer", alice.address, 5_000)
    lost = proxy.add(Close(after_forwarding=True), "eth_sendRawTransaction", times=1)
    stage.node.call("evm_setAutomine", False)  # what is sent waits, as it does in the world
    crashes = 0
    for _ in range(14):
        stage.node.mine(2)
        for name in [step.name for step in scene.house.steps()]:
            scene.house.step(name)
            if name.endswith(CRASHES_AFTER):
                # The process dies here; all that is left is its database and its journal.
                scene = reopened(stage, scene, asset, sweeps=RULES, nodes=[proxy.url])
                crashes += 1
            if name.endswith("sweeps.plan"):
                scene.house.step(name)  # the first thing that the new process does
        scene.house.clock.advance(10**9)
        if swept(scene) and token.ask("balanceOf", scene.house.own_address(HOT)):
            break
    assert lost.count == 1, "the control: the top-up's own answer was lost, too"
    assert crashes >= 6
    made = [(spend.kind, spend.state) for spend in scene.spends(*SpendKind)]
    assert made == [
        (SpendKind.TOP_UP, SpendState.CONFIRMED), (SpendKind.SWEEP, SpendState.CONFIRMED),
    ]  # fmt: skip
    assert len(scene.digests()) == 2
    assert token.ask("balanceOf", scene.house.own_address(HOT)) == 5_000
    top_up, sweep = scene.spends(*SpendKind)
    stranded = scene.chain.balance_of(alice.address, NATIVE, scene.chain.head())
    assert stranded == top_up.amount - (sweep.fee_paid or 0) < top_up.amount <= RULES.top_up_max
    scene.assert_equations_hold()
    assert len(scene.spends(*SpendKind)) == 2


def test_P02_while_gas_is_dear_deposits_are_credited_and_nothing_is_swept(stage: Stage) -> None:
    scene = stage(sweeps=RULES)
    scene.fund_wallets()
    several = [scene.customer(f"customer {n}") for n in range(8)]
    poor = scene.customer("poor")

    def block(base_fee: int) -> None:
        stage.node.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        stage.node.mine(1)

    values = [ETHER // 100] * 4 + [ETHER] * 4
    for each, value in zip(several, values, strict=True):
        stage.contracts.pay(each.address, value)
    stage.contracts.pay(poor.address, ETHER // 10_000)
    for _ in range(4):
        block(400 * GWEI)
        scene.run(1)
    assert scene.chain.fee_rate().max_rate > RULES.rate_max, "the control: gas is dear"
    assert [scene.credited(each) for each in several] == values
    assert scene.spends(*OUR_OWN) == []
    for _ in range(8):
        block(GWEI)
        scene.run(1)
        if len(scene.spends(*OUR_OWN)) == 8 and scene.is_settled():
            break
    done = scene.spends(*OUR_OWN)
    assert {spend.source for spend in done} == {each.address for each in several}
    assert {spend.state for spend in done} == {SpendState.CONFIRMED}
    for spend in done:
        assert 0 < (spend.fee_paid or 0) * RULES.cost_multiple <= spend.amount
    assert scene.credited(poor) == ETHER // 10_000, "credited, and never worth its sweep"
    scene.assert_equations_hold()
    assert len(scene.spends(*OUR_OWN)) == 8


def test_P03_a_token_whose_transfer_reverts_is_neither_swept_nor_given_gas(stage: Stage) -> None:
    token = minted(stage.contracts, "PausableBlocklistToken")
    scene = stage(listed(token.address), sweeps=RULES)
    scene.fund_wallets()
    alice = scene.customer("alice")
    token.send("transfer", alice.address, 5_000)
    token.send("setPaused", True)
    scene.go()
    scene.run(3)
    assert scene.credited(alice, token.address) == 5_000
    assert scene.spends(*OUR_OWN) == []
    assert any("would_revert" in problem.why for problem in scene.house.problems)
    assert scene.digests() == []
    # Control: what the simulation refused is gathered as soon as it passes.
    token.send("setPaused", False)
    scene.until(lambda: swept(scene))
    assert token.ask("balanceOf", scene.house.own_address(HOT)) == 5_000
    scene.assert_equations_hold()


def test_P03_a_token_that_answers_false_is_never_gathered(stage: Stage) -> None:
    token = minted(stage.contracts, "FalseToken", 2)
    scene = stage(listed(token.address, odd=True), sweeps=RULES)
    scene.fund_wallets()
    alice = scene.customer("alice")
    token.send("transfer", alice.address, 5_000)
    scene.go()
    scene.run(3)
    assert scene.credited(alice, token.address) == 2_500
    assert scene.spends(*OUR_OWN) == []
    assert any("would_revert" in problem.why for problem in scene.house.problems)
    scene.assert_equations_hold()


def test_P04_one_poisoned_address_or_token_never_stops_the_others(stage: Stage) -> None:
    poison = minted(stage.contracts, "PausableBlocklistToken")
    paused = minted(stage.contracts, "PausableBlocklistToken")
    scene = stage(listed(poison.address), listed(paused.address), sweeps=RULES)
    scene.fund_wallets()
    blocked, *others = [scene.customer(f"customer {n}") for n in range(4)]
    for each in (blocked, *others):
        poison.send("transfer", each.address, 5_000)
    paused.send("transfer", others[0].address, 7_000)
    stage.contracts.pay(others[1].address, ETHER)
    poison.send("setBlocked", blocked.address, True)
    paused.send("setPaused", True)
    hot = scene.house.own_address(HOT)

    def others_are_gathered() -> bool:
        return bool(poison.ask("balanceOf", hot) == 15_000) and scene.is_settled()

    scene.until(others_are_gathered)
    kinds = [spend.kind for spend in scene.spends(*OUR_OWN) if spend.asset_no != 1]
    assert kinds == [SpendKind.SWEEP] * 3
    assert poison.ask("balanceOf", blocked.address) == 5_000
    touched = {spend.source for spend in scene.spends(*OUR_OWN)}
    touched |= {spend.destination for spend in scene.spends(*OUR_OWN)}
    assert blocked.address not in touched, "no gas was wasted on it"
    assert paused.ask("balanceOf", others[0].address) == 7_000
    problems = {p.spend_id for p in scene.house.problems if "would_revert" in p.why}
    assert problems == {blocked.address, others[0].address}, "the control: both were in the way"
    scene.until(lambda: scene.chain.balance_of(
        others[1].address, NATIVE, scene.chain.head()) < ETHER // 100)  # fmt: skip
    # Healed, they are gathered as well.
    poison.send("setBlocked", blocked.address, False)
    paused.send("setPaused", False)
    scene.until(lambda: paused.ask("balanceOf", hot) == 7_000 and scene.is_settled())
    scene.until(lambda: poison.ask("balanceOf", hot) == 20_000 and scene.is_settled())
    scene.assert_equations_hold()


def test_P05_what_is_not_final_is_not_swept_and_a_reorganised_deposit_never(
    stage: Stage, start_node: Callable[..., AnvilNode]
) -> None:
    stage.use(start_node(slots_in_an_epoch=3))
    scene = stage(sweeps=RULES)
    scene.fund_wallets()
    alice, bob = scene.customer("alice"), scene.customer("bob")
    scene.go()
    stage.node.mine(4)
    scene.run(1)
    sent = stage.contracts.pay(alice.address, ETHER)
    for _ in range(3):
        scene.run(1)
        stage.node.mine(1)
    scene.run(1)
    assert [d.state for d in scene.deposits(alice)] == [DepositState.COUNTING]
    assert scene.chain.balance_of(alice.address, NATIVE, scene.chain.head()) == ETHER, "control"
    assert scene.spends(*OUR_OWN) == []
    stage.node.reorg(5)
    assert stage.node.call("eth_getTransactionReceipt", sent) is None
    stage.contracts.pay(bob.address, ETHER)
    scene.until(lambda: swept(scene))
    assert {spend.source for spend in scene.spends(*OUR_OWN)} == {bob.address}
    assert [d.state for d in scene.deposits(alice)] == [DepositState.ORPHANED]
    assert len(scene.digests()) == 1
    scene.assert_equations_hold()


def test_P05_an_own_transfer_that_cannot_land_gives_its_nonce_back(stage: Stage) -> None:
    """Fees rise above the cap while a sweep waits: given up, cancelled, and gathered later."""
    node = stage.node
    rules = replace(RULES, fee_max=21_000 * 12 * GWEI)
    scene = stage(sweeps=rules)
    scene.fund_wallets()
    alice = scene.customer("alice")
    stage.contracts.pay(alice.address, ETHER)
    node.mine(3)
    scene.run(1)
    node.call("evm_setAutomine", False)
    scene.run(2)
    (waiting,) = scene.spends(SpendKind.SWEEP)
    assert waiting.state is SpendState.BROADCAST

    def block(base_fee: int) -> None:
        node.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        node.mine(1)

    for _ in range(4):
        block(40 * GWEI)
        scene.house.clock.advance(20 * 10**9)
        scene.run(1)
    assert scene.spends(SpendKind.SWEEP)[0].state is SpendState.BROADCAST, "the control: stuck"
    scene.house.clock.advance(2 * 3_600 * 10**9)
    for _ in range(12):
        block(4 * GWEI)  # still above what the sweep offers, and within its cap
        scene.run(1)
    node.call("evm_setAutomine", True)
    scene.until(scene.is_settled)
    given_up, later = scene.spends(SpendKind.SWEEP)
    assert (given_up.state, given_up.failure) == (SpendState.FAILED, "waited_too_long")
    assert scene.attempts(given_up)[-1].cancels
    assert (later.state, later.nonce) == (SpendState.CONFIRMED, given_up.nonce + 1)
    assert scene.chain.balance_of(alice.address, NATIVE, scene.chain.head()) < ETHER // 100
    scene.assert_equations_hold()
