"""Deposits: what a whole platform credits and what it only lists (D01 to D16), with controls."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Corrupt, Refused
from custody.deposit_rows import DepositState
from custody.ledger.chart import PLATFORM, AccountKind
from custody.withdrawals.states import WithdrawalState
from engine.types import Credit
from infra.devnet.deploy import Deployer
from infra.devnet.nodes import AnvilNode
from sweeper.policy import SweepRules
from tests.support.evm import ETHER, genesis_hash, listed, minted
from tests.support.house import HOT
from tests.support.threats import OUTSIDE, Stage

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "engine", "chains", "custody", "indexers", "sweeper", "app")


def test_D01_counterfeit_token_is_listed_and_never_credited(stage: Stage) -> None:
    real = minted(stage.contracts, "DemoToken", "Tether USD", "USDT", 6)
    fake = minted(stage.contracts, "CounterfeitToken", "Tether USD", "USDT")
    scene = stage(listed(real.address, "USDT"))
    alice = scene.customer("alice")
    fake.send("transfer", alice.address, 1_000_000)
    fake.send("pretend", OUTSIDE, alice.address, 10**12)
    scene.go()
    assert scene.credited(alice, real.address) == 0
    assert [(d.asset_key, d.asset_no, d.state, d.reason) for d in scene.deposits(alice)] == [
        (fake.address, None, DepositState.UNATTRIBUTED, "unlisted_asset")
    ] * 2
    # Control: the same amount of the real token, which calls itself the same, is credited.
    real.send("transfer", alice.address, 1_000_000)
    scene.go()
    assert scene.credited(alice, real.address) == 1_000_000
    scene.assert_equations_hold()


def test_D02_token_that_returns_false_is_not_credited(stage: Stage) -> None:
    forms = [minted(stage.contracts, "FalseToken", form) for form in range(3)]
    honest = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    odd = [listed(token.address, odd=True) for token in (*forms, honest)]
    scene = stage(*odd)
    alice = scene.customer("alice")
    silent, event_only, inflated = forms
    for token in (*forms, honest):
        receipt = stage.contracts.receipt(token.send("transfer", alice.address, 1_000))
        assert receipt["status"] == "0x1", "it fails without reverting"
    scene.go()
    credited = [scene.credited(alice, token.address) for token in (*forms, honest)]
    assert credited == [0, 0, 500, 1_000]
    moved = [token.ask("balanceOf", alice.address) for token in (*forms, honest)]
    assert moved == credited
    found = {d.asset_key: (d.state, d.reason, d.anomaly, d.claimed) for d in scene.deposits(alice)}
    assert silent.address not in found, "no event and no money: nothing to see"
    assert found[event_only.address] == (
        DepositState.HELD, "not_delivered", "not_delivered", 1_000,
    )  # fmt: skip
    assert found[inflated.address] == (DepositState.CREDITED, None, "delivered_less", 1_000)
    assert found[honest.address] == (DepositState.CREDITED, None, None, 1_000)
    scene.assert_equations_hold()


def test_D04_reverted_inner_payments_credit_nobody(stage: Stage) -> None:
    payer = stage.contracts.deploy("Payer")
    scene = stage()
    five = [scene.customer(f"customer {n}") for n in range(5)]
    outer = payer.send("payThenRevert", five[0].address, ETHER, value=ETHER, gas=500_000)
    statuses = [
        payer.send("payInsideARevertingFrame", each.address, ETHER, value=ETHER)
        for each in five[1:4]
    ] + [payer.send("paySucceedingInsideReverting", five[4].address, ETHER, value=ETHER)]
    assert stage.node.call("eth_getTransactionReceipt", outer)["status"] == "0x0"
    assert {stage.contracts.receipt(sent)["status"] for sent in statuses} == {"0x1"}
    scene.go()
    assert [scene.credited(each) for each in five] == [0] * 5
    assert scene.deposits() == []
    # Control: the same contract pays the same five, and nothing reverts.
    payer.send("pay", [each.address for each in five], [ETHER] * 5, value=5 * ETHER)
    scene.go()
    assert [scene.credited(each) for each in five] == [ETHER] * 5
    scene.assert_equations_hold()


def test_D05_value_without_a_payment_is_listed_within_one_period_and_explained(
    stage: Stage,
) -> None:
    forcer = stage.contracts.deploy("ForcerMaker")
    scene = stage()
    alice, miner = scene.customer("alice"), scene.customer("miner")
    forcer.send("force", alice.address, value=ETHER)
    stage.node.call("anvil_setCoinbase", miner.address)
    stage.contracts.pay(OUTSIDE, 1)
    stage.node.call("anvil_setCoinbase", "0x" + "00" * 20)
    stage.node.mine(3)
    scene.run(1)
    found = {d.address: d for d in scene.deposits()}
    held = {
        each.address: scene.chain.balance_of(each.address, NATIVE, scene.chain.head())
        for each in (alice, miner)
    }
    assert held[alice.address] == ETHER
    assert held[miner.address] > 0, "the control: fees of the block did arrive"
    assert {address: d.amount for address, d in found.items()} == held
    assert {d.state for d in found.values()} == {DepositState.UNATTRIBUTED}
    assert scene.owed() == 0
    # One period of reconciliation later the gap is explained, line by line, by these rows.
    assert scene.house.step("reconcile") == 0
    assert scene.incidents() == []
    scene.assert_equations_hold()


def test_D05_control_a_gap_that_no_row_explains_is_an_incident_within_one_period(
    stage: Stage,
) -> None:
    scene = stage()
    alice = scene.customer("alice")
    stage.contracts.pay(alice.address, ETHER)
    scene.go()
    stage.node.set_balance(alice.address, 3 * ETHER)  # as no transaction could
    stage.node.mine(4)
    scene.run(1)
    assert scene.incidents() == ["unexplained_balance"]
    assert scene.credited(alice) == ETHER
    assert [line.split(":")[0] for line in scene.broken_equations()] == ["I5"]


def test_D06_a_fee_on_transfer_never_makes_the_books_owe_more_than_there_is(
    stage: Stage,
) -> None:
    token = minted(stage.contracts, "FeeToken", False)
    scene = stage(listed(token.address, odd=True), sweeps=SweepRules())
    scene.fund_wallets()
    alice = scene.customer("alice")

    def is_covered() -> bool:
        hot = scene.house.own_address(HOT)
        there = sum(token.ask("balanceOf", each) for each in (alice.address, hot))
        return bool(0 < scene.owed(token.address) <= there)

    token.send("transfer", alice.address, 100)
    stage.node.mine(3)
    scene.run(2)
    assert scene.credited(alice, token.address) == 98
    assert is_covered()
    swept = lambda: bool(scene.spends(SpendKind.SWEEP)) and scene.is_settled()  # noqa: E731
    scene.until(swept)
    # Gathering it costs the fee again. That is our loss, booked and seen, never the customer's.
    (sweep,) = scene.spends(SpendKind.SWEEP)
    assert (sweep.amount, sweep.delivered) == (98, 97)
    assert token.ask("balanceOf", scene.house.own_address(HOT)) == 97
    assert scene.book(AccountKind.HOT, HOT, token.address) == 97
    assert scene.book(AccountKind.LOSS, PLATFORM, token.address) == 1
    assert scene.credited(alice, token.address) == 98
    scene.assert_equations_hold()


def test_D06_a_rebasing_token_is_not_listed_and_its_shrinking_owes_nobody_anything(
    stage: Stage,
) -> None:
    token = minted(stage.contracts, "RebasingToken")
    scene = stage()
    alice = scene.customer("alice")
    token.send("transfer", alice.address, 1_000)
    for numerator in (105, 9_975):
        token.send("rebase", numerator, 100 if numerator == 105 else 10_000)
        scene.go()
        assert [d.state for d in scene.deposits(alice)] == [DepositState.UNATTRIBUTED]
    scene.assert_equations_hold()


def test_D06_control_a_rebasing_token_that_was_listed_is_found_out_within_one_period(
    stage: Stage,
) -> None:
    token = minted(stage.contracts, "RebasingToken")
    scene = stage(listed(token.address, odd=True))
    alice = scene.customer("alice")
    token.send("transfer", alice.address, 1_000)
    scene.go()
    assert scene.credited(alice, token.address) == 1_000
    assert scene.broken_equations() == []
    token.send("rebase", 95, 100)
    stage.node.mine(3)
    scene.run(1)
    assert scene.owed(token.address) > token.ask("balanceOf", alice.address) == 950
    assert scene.incidents() == ["unexplained_balance"]


def test_D13_zero_value_events_leave_no_row_and_dust_waits(stage: Stage) -> None:
    token = minted(stage.contracts, "CounterfeitToken", "Demo", "DEMO")
    asset = replace(listed(token.address), deposit_minimum=1_000)
    scene = stage(asset, sweeps=SweepRules())
    scene.fund_wallets()
    alice = scene.customer("alice")
    lookalike = alice.address[:6] + "00" * 16 + alice.address[-4:]
    for sender, to in ((alice.address, lookalike), (OUTSIDE, alice.address)):
        token.send("pretend", sender, to, 0)
    stage.contracts.pay(alice.address, 0)
    scene.go()
    assert scene.deposits(alice) == []
    token.send("transfer", alice.address, 400)
    token.send("transfer", alice.address, 500)
    scene.go()
    assert scene.credited(alice, token.address) == 0
    assert [(d.amount, d.state) for d in scene.deposits(alice)] == [
        (400, DepositState.DUST), (500, DepositState.DUST),
    ]  # fmt: skip
    assert scene.spends(SpendKind.SWEEP, SpendKind.TOP_UP) == [], "dust is not co-spent"
    # Control: what passes the minimum carries the dust with it.
    token.send("transfer", alice.address, 100)
    scene.go()
    assert scene.credited(alice, token.address) == 1_000
    assert {d.state for d in scene.deposits(alice)} == {DepositState.CREDITED}
    scene.until(lambda: bool(scene.spends(SpendKind.SWEEP)) and scene.is_settled())
    assert token.ask("balanceOf", scene.house.own_address(HOT)) == 1_000
    scene.assert_equations_hold()


def test_D14_old_addresses_stay_owned_and_own_wallets_go_to_suspense(stage: Stage) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene = stage(listed(token.address))
    alice = scene.customer("alice")
    later = {scene.house.address(alice.number) for _ in range(3)}
    assert len(later - {alice.address}) == 3
    scene.house.clock.advance(2 * 365 * 86_400 * 10**9)
    hot = scene.house.own_address(HOT)
    stage.contracts.pay(alice.address, ETHER)
    stage.contracts.pay(hot, 2 * ETHER)
    token.send("transfer", hot, 700)
    scene.go()
    assert scene.credited(alice) == ETHER, "the address of two years ago is still hers"
    assert scene.book(AccountKind.SUSPENSE, HOT) == 2 * ETHER
    assert scene.book(AccountKind.SUSPENSE, HOT, token.address) == 700
    assert scene.book(AccountKind.FEE_INCOME, PLATFORM) == 0
    assert scene.book(AccountKind.EQUITY, PLATFORM) == 0
    assert scene.owed() == ETHER
    scene.assert_equations_hold()


def test_D15_the_same_address_on_another_chain_is_another_address(
    stage: Stage, start_node: Callable[..., AnvilNode]
) -> None:
    other_network = start_node(chain_id=1337)
    scene = stage()
    alice = scene.customer("alice")
    elsewhere = Deployer(other_network)
    elsewhere.pay(alice.address, 5 * ETHER)
    other_network.mine(4)
    stage.node.mine(4)
    scene.go()
    there = int(other_network.call("eth_getBalance", alice.address, "latest"), 16)
    assert there == 5 * ETHER, "the control: it arrived, on a chain we do not follow"
    assert (scene.credited(alice), scene.deposits(alice)) == (0, [])
    # A node of that chain under our name is no node of ours at all.
    with pytest.raises(Corrupt, match="is on"):
        stage(nodes=[other_network.url])
    with pytest.raises(Refused, match="main_network"):
        stage(nodes=[other_network.url], chain_number=137)
    # And the books of one network are never continued on the other.
    scene.house.platform.db.close()
    with pytest.raises(Corrupt, match=r"was eip155:31337/.* and is now eip155:1337/"):
        stage(
            url=scene.url,
            nodes=[other_network.url],
            chain_number=1337,
            genesis_hash=genesis_hash(other_network.url),
        )
    again = stage(url=scene.url, storage=scene.house.storage, clock=scene.house.clock)
    stage.contracts.pay(alice.address, ETHER)
    again.go()
    assert again.credited(alice) == ETHER
    again.assert_equations_hold()


def test_D16_what_is_not_final_can_be_neither_withdrawn_nor_held(stage: Stage) -> None:
    scene = stage()
    scene.fund_wallets()
    alice = scene.customer("alice")
    scene.go()
    stage.contracts.pay(alice.address, ETHER)
    scene.run(2)
    (seen,) = scene.deposits(alice)
    assert seen.state is DepositState.SEEN, "the side door would open here"
    early = scene.house.withdraw(alice.number, NATIVE, ETHER // 2, OUTSIDE, client_id="early")
    scene.run(1)
    refused = scene.withdrawal(early.withdrawal_id)
    assert (refused.state, refused.reason) == (WithdrawalState.REFUSED, "exceeds_available")
    assert scene.credited(alice) == 0
    scene.go()
    assert scene.credited(alice) == ETHER
    late = scene.house.withdraw(alice.number, NATIVE, ETHER // 2, OUTSIDE, client_id="late")
    scene.run(1)
    assert scene.withdrawal(late.withdrawal_id).state is WithdrawalState.HELD
    assert scene.broken_equations() == []


def test_D16_a_credit_given_to_the_engine_behind_the_books_is_never_booked(stage: Stage) -> None:
    scene = stage()
    alice = scene.customer("alice")
    scene.run(1)
    forged = Credit(number=1, customer_no=alice.number, asset_no=1, amount=ETHER)
    assert scene.house.sequencer.execute([forged])[0], "the control: the engine took it"
    with pytest.raises(Corrupt, match="the books never gave"):
        scene.house.step("settlement")
    assert (scene.credited(alice), scene.owed()) == (0, 0)
    assert "I4" in [line.split(":")[0] for line in scene.broken_equations()]


def test_D16_a_funding_row_without_a_deposit_is_never_booked(stage: Stage) -> None:
    scene = stage()
    alice = scene.customer("alice")
    scene.house.step("settlement")
    forged = scene.sql(
        "INSERT INTO funding (funding_id, kind, customer_no, asset_no, amount, cause_id, state)"
        " VALUES (1, 'credit', :customer_no, 1, :amount, 'dep_forged', 'new')",
        customer_no=alice.number,
        amount=ETHER.to_bytes(32, "big"),
    )
    assert forged == 1
    assert scene.house.step("funding") == 1, "the control: the engine was asked"
    with pytest.raises(Refused, match="dep_forged"):
        scene.house.step("settlement")
    assert (scene.credited(alice), scene.owed()) == (0, 0)


def test_D16_a_forged_deposit_row_is_found_by_the_equations(stage: Stage) -> None:
    scene = stage()
    alice, bob = scene.customer("alice"), scene.customer("bob")
    stage.contracts.pay(alice.address, ETHER)
    scene.go()
    assert scene.broken_equations() == []
    columns = "chain, position, asset_key, asset_no, account, from_address, amount, claimed"
    columns += ", height, block_hash, extra_depth, seen_at_ns"
    scene.sql(
        f"INSERT INTO deposits (deposit_id, arrival_no, tx_id, address, customer_no, state,"
        f" {columns}) SELECT 'dep_forged', 9999, 'forged', :address, :customer_no, 'seen',"
        f" {columns} FROM deposits",
        address=bob.address,
        customer_no=bob.number,
    )
    scene.go()
    broken = [line.split(":")[0] for line in scene.broken_equations()]
    assert "I6" in broken


def test_D16_only_the_follower_makes_deposits_and_only_finality_credits_them() -> None:
    """Where the words stand in the source: each in one place, on the one road."""
    found: dict[str, set[str]] = {"observe": set(), "finalise": set(), "deposit_credited": set()}
    crediting: set[str] = set()
    inserts: set[str] = set()
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    called, owner = node.func.attr, ast.unparse(node.func.value)
                    if called in found and owner in ("deposits", "templates"):
                        found[called].add(name)
                    if called == "insert" and owner == "deposits":
                        inserts.add(name)
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "FundingKind.CREDIT":
                    crediting.add(name)
    assert found == {
        "observe": {"indexers/follow.py"},
        "finalise": {"indexers/finality.py"},
        "deposit_credited": {"custody/settlement.py"},
    }
    assert inserts == {"custody/deposits.py"}
    assert crediting - {"custody/funding.py", "custody/settlement.py"} == {"custody/deposits.py"}
