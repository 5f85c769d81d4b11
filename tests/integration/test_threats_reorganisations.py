"""Reorganisations under a whole platform: R01 to R07, each with what shows that it happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from custody import catalogue, resolution
from custody.deposit_rows import DepositState
from custody.keys.statement import StatementSignature, sign_statement
from custody.ledger.chart import AccountKind, customer_owner
from custody.resolution import Resolution
from custody.withdrawals.states import WithdrawalState
from infra.devnet.nodes import AnvilNode
from sweeper.policy import SweepRules
from tests.support.evm import ETHER, listed, minted
from tests.support.faults import Rewritten
from tests.support.house import officer_key
from tests.support.proxy import FaultProxy
from tests.support.threats import OUTSIDE, Customer, Scene, Stage

HOUR_NS = 3_600 * 10**9


def depth_of(node: AnvilNode, tx_id: str) -> int:
    """Return how many blocks must go for a transaction to be gone."""
    receipt = node.call("eth_getTransactionReceipt", tx_id)
    return int(node.height() - int(receipt["blockNumber"], 16) + 1)


def test_R01_a_shallow_reorganisation_removes_a_deposit(
    stage: Stage, start_node: Callable[..., AnvilNode]
) -> None:
    stage.use(start_node(slots_in_an_epoch=3))  # final is what lies six blocks deep
    scene = stage()
    alice, bob = scene.customer("alice"), scene.customer("bob")
    stage.node.mine(5)
    scene.run(1)
    sent = stage.contracts.pay(alice.address, ETHER)
    scene.run(1)
    (seen,) = scene.deposits(alice)
    assert (seen.state, depth_of(stage.node, sent)) == (DepositState.SEEN, 1)
    stage.node.reorg(3)
    assert stage.node.call("eth_getTransactionReceipt", sent) is None, "the control: it is gone"
    scene.run(1)
    assert [d.state for d in scene.deposits(alice)] == [DepositState.ORPHANED]
    for _ in range(4):
        stage.node.mine(5)
        scene.run(1)
    assert (scene.credited(alice), scene.owed()) == (0, 0)
    state = scene.state()
    assert (state.reorgs, state.deepest_reorg, state.frozen) == (1, 3, False)
    # Control: a deposit that stays is credited on the new branch.
    stage.contracts.pay(bob.address, ETHER)
    scene.go()
    assert scene.credited(bob) == ETHER
    scene.assert_equations_hold()


def test_R01_a_deposit_that_the_new_branch_holds_too_is_credited_once(
    stage: Stage, start_node: Callable[..., AnvilNode]
) -> None:
    stage.use(start_node(slots_in_an_epoch=3))
    scene = stage()
    alice = scene.customer("alice")
    stage.node.mine(5)
    scene.run(1)
    sent = stage.contracts.pay(alice.address, ETHER)
    scene.run(1)
    raw = stage.node.call("eth_getRawTransactionByHash", sent)
    before = scene.deposits(alice)[0].block
    stage.node.reorg(3, [[raw, 1]])
    scene.go()
    assert [(d.tx_id, d.state) for d in scene.deposits(alice)] == [(sent, DepositState.CREDITED)]
    assert scene.deposits(alice)[0].block != before
    assert scene.state().reorgs == 1
    assert scene.credited(alice) == ETHER
    scene.assert_equations_hold()


def test_R03_money_spent_again_in_the_new_branch_is_neither_credited_nor_swept(
    stage: Stage, start_node: Callable[..., AnvilNode]
) -> None:
    stage.use(start_node(slots_in_an_epoch=3))
    scene = stage(sweeps=SweepRules())
    scene.fund_wallets()
    alice, bob = scene.customer("alice"), scene.customer("bob")
    scene.go()
    stage.node.mine(5)
    scene.run(1)
    thief = stage.contracts.accounts[4]
    first = stage.contracts.pay(alice.address, ETHER, sender=thief)
    scene.run(2)
    nonce = stage.node.call("eth_getTransactionByHash", first)["nonce"]
    stage.node.reorg(2)
    second = stage.contracts.pay(OUTSIDE, ETHER, sender=thief)
    replaced = stage.node.call("eth_getTransactionByHash", second)
    assert replaced["nonce"] == nonce, "the control: the same nonce, spent again"
    assert stage.node.call("eth_getTransactionReceipt", first) is None
    stage.contracts.pay(bob.address, ETHER)
    scene.until(lambda: bool(scene.spends(SpendKind.SWEEP)) and scene.is_settled())
    assert [d.state for d in scene.deposits(alice)] == [DepositState.ORPHANED]
    assert (scene.credited(alice), scene.credited(bob)) == (0, ETHER)
    assert {spend.source for spend in scene.spends(SpendKind.SWEEP)} == {bob.address}
    assert len(scene.digests()) == 1
    scene.assert_equations_hold()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_R04_deeper_than_finality_freezes_until_two_officers_resolve_it(
    stage: Stage, database: str
) -> None:
    node, contracts = stage.node, stage.contracts
    scene = stage(database=database)
    bob = scene.funded("bob", ETHER)
    alice, carol = scene.customer("alice"), scene.customer("carol")
    stolen = contracts.pay(alice.address, 3 * ETHER)
    kept = contracts.pay(carol.address, ETHER, sender=contracts.accounts[3])
    scene.go()
    spent = scene.approved(alice, 2 * ETHER)
    assert scene.credited(alice) == ETHER
    raw = node.call("eth_getRawTransactionByHash", kept)
    depth = depth_of(node, stolen)
    final = scene.state().final
    assert final is not None
    assert node.height() - depth < final.height, "the control: it was final"
    node.reorg(depth, [[raw, 0]])
    assert node.call("eth_getTransactionReceipt", stolen) is None

    scene.run(1)
    assert (scene.state().frozen, scene.incidents()) == (True, ["deep_reorganisation"])
    _assert_everything_stops(scene, bob)
    found = resolution.gather(scene.house.platform.db, scene.chain)
    vanished = {d.deposit_id for d in scene.deposits(alice)}
    assert set(found.vanished) == vanished, "carol's deposit is on the new branch too"
    with pytest.raises(Refused) as refused:
        resolve(scene, found, "ada")
    assert refused.value.reason is Reason.QUORUM_NOT_MET
    with pytest.raises(Refused) as refused:
        resolve(scene, found, "ada", "ada")
    assert refused.value.reason is Reason.QUORUM_NOT_MET
    scene.run(1)
    assert scene.state().frozen
    resolve(scene, found, "ada", "cleo")

    for _ in range(4):
        scene.run(1)
        node.mine(2)
    assert (scene.state().frozen, scene.incidents()) == (False, [])
    assert [d.state for d in scene.deposits(alice)] == [DepositState.REVERSED]
    assert scene.credited(alice) == 0
    assert scene.book(AccountKind.RECEIVABLE, customer_owner(alice.number)) == 2 * ETHER
    assert is_frozen(scene, alice)
    # What she had asked for before is not paid with other people's money.
    assert scene.withdrawal(spent).state is WithdrawalState.APPROVED
    assert scene.spends(SpendKind.WITHDRAWAL) == []
    assert scene.spends(SpendKind.SWEEP), "the control: sweeps go on, so the freeze stopped them"
    scene.cancel(spent)
    # Everybody else goes on.
    assert scene.credited(carol) == ETHER
    paid = scene.approved(bob, ETHER // 2, client_id="later")
    contracts.pay(carol.address, ETHER)
    scene.go()
    assert scene.withdrawal(paid).state is WithdrawalState.CONFIRMED
    assert scene.credited(carol) == 2 * ETHER
    assert alice.address not in {spend.source for spend in scene.spends(SpendKind.SWEEP)}
    scene.assert_equations_hold()


def test_R04_a_payment_planned_before_the_freeze_is_not_signed_for_a_customer_who_owes_us(
    stage: Stage,
) -> None:
    scene = stage()
    scene.fund_wallets()
    alice = scene.customer("alice")
    scene.go()
    stolen = stage.contracts.pay(alice.address, 3 * ETHER)
    scene.go()
    planned = scene.approved(alice, 2 * ETHER)
    assert scene.house.step("withdrawals.plan") == 1
    stage.node.reorg(depth_of(stage.node, stolen))
    scene.run(1)
    assert scene.state().frozen
    assert scene.withdrawal(planned).state is WithdrawalState.PLANNED
    before = scene.chain.balance_of(OUTSIDE, NATIVE, scene.chain.head())
    resolve(scene, resolution.gather(scene.house.platform.db, scene.chain), "ada", "cleo")
    scene.go()
    assert is_frozen(scene, alice)
    assert scene.withdrawal(planned).state is WithdrawalState.FAILED
    assert scene.digests(planned) == []
    # The nonce was reserved, so it was spent on ourselves: later payments are not held up.
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    assert [each.cancels for each in scene.attempts(spend)] == [True]
    assert scene.chain.balance_of(OUTSIDE, NATIVE, scene.chain.head()) == before
    scene.assert_equations_hold()


def test_R04_a_payment_of_ours_below_the_fork_is_never_missed_in_silence(stage: Stage) -> None:
    scene = stage()
    alice = scene.funded()
    withdrawal_id = scene.approved(alice, ETHER)
    scene.go()
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    (attempt,) = scene.attempts(spend)
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    stage.node.reorg(depth_of(stage.node, attempt.tx_id))
    assert scene.chain.tx_status(attempt.tx_id).block is None, "the control: it is gone"
    scene.run(1)
    assert scene.state().frozen
    resolve(scene, resolution.gather(scene.house.platform.db, scene.chain), "ada", "cleo")
    stage.node.mine(3)
    scene.run(1)
    assert scene.incidents() == ["unexplained_balance"]
    # What a person does then: the same bytes are still good, and nothing else was ever signed.
    stage.node.call("eth_sendRawTransaction", "0x" + attempt.raw.hex())
    stage.node.mine(3)
    scene.run(1)
    assert scene.chain.tx_status(attempt.tx_id).succeeded
    assert len(scene.digests(withdrawal_id)) == 1


def _assert_everything_stops(scene: Scene, bob: Customer) -> None:
    before = (scene.digests(), scene.owed(), scene.state().final)
    with pytest.raises(Refused) as refused:
        scene.house.withdraw(bob.number, NATIVE, ETHER // 4, OUTSIDE, client_id="frozen")
    assert refused.value.reason is Reason.FROZEN
    scene.contracts.pay(bob.address, ETHER)
    scene.set_sweeps(SweepRules())
    for _ in range(3):
        scene.node.mine(3)
        scene.run(1)
    assert (scene.digests(), scene.owed(), scene.state().final) == before
    assert scene.spends(*SpendKind) == []


def is_frozen(scene: Scene, customer: Customer) -> bool:
    with scene.house.platform.db.read() as conn:
        return catalogue.customer(conn, customer.number).frozen


def resolve(scene: Scene, found: Resolution, *persons: str) -> None:
    now_ns = scene.house.clock.now_ns()
    statement = resolution.statement_of(found, expires_ns=now_ns + HOUR_NS)
    signatures: list[StatementSignature] = [
        sign_statement(officer_key(person), statement) for person in persons
    ]
    scene.house.platform.db.run(
        lambda conn: resolution.resolve(
            conn, found, statement, signatures,
            roster=scene.house.platform.roster, now_ns=now_ns,
        )
    )  # fmt: skip


def test_R05_a_branch_switched_between_two_questions_leaves_no_mixed_rows(
    stage: Stage, proxy: FaultProxy
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene = stage(listed(token.address), nodes=[proxy.url])
    alice = scene.customer("alice")
    stage.node.mine(5)
    scene.run(1)
    lost = token.send("transfer", alice.address, 700)
    height = stage.node.height()
    told: list[str] = []

    def switch(params: Any, result: Any) -> Any:
        """Answer with the old header; by the next question the block is another one."""
        if not told:
            told.append(result["hash"])
            stage.node.reorg(2)
            token.send("transfer", alice.address, 300)
        return result

    rule = proxy.add(
        Rewritten(switch), "eth_getBlockByNumber", when=lambda params: params[0] == hex(height)
    )
    scene.run(1, bear=True)
    assert told == [told[0]]
    assert scene.hash_on_node(height) != told[0], "the control: the branch was switched"
    assert stage.node.call("eth_getTransactionReceipt", lost) is None
    assert any("unknown block" in str(e) or "node_null" in str(e) for e in scene.refused)
    assert told[0] not in scene.followed_hashes().values()
    scene.run(3, bear=True)
    proxy.clear()
    scene.go()
    assert rule.count == 0, "no answer was changed, only the world behind it"
    for at, followed in scene.followed_hashes().items():
        assert followed == scene.hash_on_node(at)
    assert [(d.amount, d.state) for d in scene.deposits(alice)] == [(300, DepositState.CREDITED)]
    assert scene.deposits(alice)[0].block.hash in scene.followed_hashes().values()
    assert scene.credited(alice, token.address) == 300
    scene.assert_equations_hold()


def test_R06_a_payout_that_was_reorganised_away_lands_again_as_the_same_bytes(
    stage: Stage,
) -> None:
    node = stage.node
    scene = stage()
    alice = scene.funded()
    before = scene.chain.balance_of(OUTSIDE, NATIVE, scene.chain.head())
    withdrawal_id = scene.approved(alice, ETHER)
    scene.until(lambda: scene.withdrawal(withdrawal_id).state is WithdrawalState.BROADCAST, tries=1)
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    (attempt,) = scene.attempts(spend)
    node.mine(1)
    scene.run(1)
    included = scene.chain.tx_status(attempt.tx_id).block
    assert included is not None
    node.reorg(depth_of(node, attempt.tx_id))
    assert scene.chain.tx_status(attempt.tx_id).block is None, "the control: it is gone"
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.BROADCAST
    scene.go()
    landed = scene.chain.tx_status(attempt.tx_id)
    assert landed.succeeded
    assert landed.block != included
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    assert [each.raw for each in scene.attempts(spend)] == [attempt.raw]
    assert scene.attempts(spend)[0].sends >= 2
    assert len(scene.digests(withdrawal_id)) == 1
    after = scene.chain.balance_of(OUTSIDE, NATIVE, scene.chain.head())
    assert after - before == ETHER, "paid once"
    assert scene.state().reorgs == 1
    scene.assert_equations_hold()


def test_R07_while_the_final_tag_stands_still_nothing_is_credited_by_age_or_depth(
    stage: Stage, proxy: FaultProxy
) -> None:
    scene = stage(nodes=[proxy.url])
    alice = scene.customer("alice")
    stage.node.mine(5)
    scene.run(1)
    stalled = stage.node.call("eth_getBlockByNumber", "finalized", False)
    rule = proxy.add(
        Rewritten(lambda params, result: stalled),
        "eth_getBlockByNumber",
        when=lambda params: params[0] == "finalized",
    )
    stage.contracts.pay(alice.address, ETHER)
    for _ in range(6):
        stage.node.mine(10)
        scene.house.clock.advance(HOUR_NS // 3)
        scene.run(1)
    assert rule.count >= 6, "the control: the tag stood still, two hours and sixty blocks long"
    assert scene.state().final is not None
    assert len(scene.followed_hashes()) > 60, "latest was followed meanwhile"
    assert [d.state for d in scene.deposits(alice)] == [DepositState.COUNTING]
    assert scene.credited(alice) == 0
    # A reorganisation of seven blocks in this time is nothing special, for nothing is final.
    stage.node.reorg(7)
    scene.run(1)
    assert (scene.state().frozen, scene.state().deepest_reorg) == (False, 7)
    rule.stop()
    scene.go()
    assert scene.credited(alice) == ETHER
    scene.assert_equations_hold()
