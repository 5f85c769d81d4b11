"""Withdrawals on their way out: W11, W13, races, and transfers that fail on chain."""

from __future__ import annotations

from typing import Any

import pytest

from chains.base import BroadcastOutcome, SpendKind
from core.errors import Reason, Refused
from custody.ledger.chart import AccountKind, customer_owner
from custody.withdrawals.states import WithdrawalState
from custody.withdrawals.workflow import WithdrawalTerms
from tests.support.evm import ETHER, GWEI, listed, minted
from tests.support.faults import Body, Close, Error, Fault, Hang, Reset, Result, Rewritten, Status
from tests.support.house import HOT
from tests.support.proxy import FaultProxy
from tests.support.threats import OUTSIDE, Stage, held_by_chain

SEND = "eth_sendRawTransaction"
ATTACKER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
SECOND_NS = 10**9


REPLIES: dict[str, Fault] = {
    "timeout after forwarding": Hang(after_forwarding=True),
    "closed after forwarding": Close(after_forwarding=True),
    "reset after forwarding": Reset(after_forwarding=True),
    "reset before": Reset(),
    "already known": Error(-32_000, "already known", after_forwarding=True),
    "already known, a lie": Error(-32_000, "already known"),
    "nonce too low": Error(-32_003, "nonce too low", after_forwarding=True),
    "nonce too low, a lie": Error(-32_003, "nonce too low"),
    "insufficient funds": Error(-32_003, "insufficient funds for gas * price + value"),
    "rejected, a lie": Error(-32_000, "invalid sender", after_forwarding=True),
    "null": Result(None),
    "another transaction": Result("0x" + "11" * 32),
    "garbage": Body(b"<html>busy</html>"),
    "unavailable": Status(503, after_forwarding=True),
}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_W11_whatever_a_node_answers_the_final_state_is_the_chain_s(
    stage: Stage, proxy: FaultProxy, database: str
) -> None:
    scene = stage(nodes=[proxy.url], database=database, timeout_ms=3_000)
    alice = scene.funded(wei=5 * ETHER)
    before = held_by_chain(scene)
    amounts = {name: 1_000 + number for number, name in enumerate(REPLIES)}
    asked = {
        name: scene.approved(alice, amount, client_id=name) for name, amount in amounts.items()
    }
    # One fault each: the n-th payment's first send meets the n-th reply.
    rules = {name: proxy.add(fault, SEND, times=1) for name, fault in REPLIES.items()}
    scene.run(1)
    assert {name: rule.count for name, rule in rules.items()} == dict.fromkeys(REPLIES, 1)
    for name, withdrawal_id in asked.items():
        assert (name, scene.withdrawal(withdrawal_id).state) == (name, WithdrawalState.BROADCAST)
    outcomes = {spend.cause_id: scene.attempts(spend)[0].outcome
                for spend in scene.spends(SpendKind.WITHDRAWAL)}  # fmt: skip
    assert BroadcastOutcome.ACCEPTED not in outcomes.values()
    held = sum(amounts.values())
    withdrawing = scene.book(AccountKind.WITHDRAWING, customer_owner(alice.number))
    assert withdrawing == held, "nothing is refunded on the word of a node"
    scene.go()
    for name, withdrawal_id in asked.items():
        assert (name, scene.withdrawal(withdrawal_id).state) == (name, WithdrawalState.CONFIRMED)
        assert (name, len(scene.digests(withdrawal_id))) == (name, 1)
    assert held_by_chain(scene) - before == held, "each is paid, and none is paid twice"
    assert scene.credited(alice) == 5 * ETHER - held
    scene.assert_equations_hold()


def test_W11_a_payment_that_no_node_ever_takes_is_never_refunded_and_lands_in_the_end(
    stage: Stage, proxy: FaultProxy
) -> None:
    scene = stage(nodes=[proxy.url])
    alice = scene.funded()
    before = held_by_chain(scene)
    withdrawal_id = scene.approved(alice, ETHER)
    rule = proxy.add(Error(-32_000, "invalid sender"), SEND)
    for _ in range(30):
        scene.run(1)
        stage.node.mine(2)
    assert rule.count >= 3, "the control: it was tried again and again"
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.BROADCAST
    assert (held_by_chain(scene) - before, scene.credited(alice)) == (0, 2 * ETHER)
    assert scene.broken_equations() == []
    rule.stop()
    scene.go()
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    assert (held_by_chain(scene) - before, scene.credited(alice)) == (ETHER, 2 * ETHER)
    scene.assert_equations_hold()


def test_W11_a_stuck_payment_is_replaced_at_its_nonce_and_exactly_one_lands(stage: Stage) -> None:
    node = stage.node
    scene = stage()
    alice = scene.funded()
    before = held_by_chain(scene)
    withdrawal_id = scene.approved(alice, ETHER)
    node.call("evm_setAutomine", False)
    scene.run(1)
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    first_rate = scene.chain.rate_of(scene.attempts(spend)[0].payload)

    def dear_block() -> None:
        node.call("anvil_setNextBlockBaseFeePerGas", hex(20 * GWEI))
        node.mine(1)

    assert first_rate.max_rate < 20 * GWEI
    dear_block()
    assert scene.chain.tx_status(scene.attempts(spend)[0].tx_id).block is None, "it is stuck"
    for _ in range(14):
        scene.run(1)
        dear_block()
        if len(scene.attempts(spend)) > 1:
            break
    dear_block()
    made = scene.attempts(spend)
    assert len(made) == 2
    assert scene.chain.rate_of(made[1].payload).max_rate > first_rate.max_rate
    landed = [scene.chain.tx_status(each.tx_id).block is not None for each in made]
    assert landed == [False, True]
    nonces = {scene.chain.decode(each.payload, sender=spend.source).nonce for each in made}
    assert nonces == {spend.nonce}
    node.call("evm_setAutomine", True)
    scene.go()
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    assert held_by_chain(scene) - before == ETHER
    assert len(set(scene.digests(withdrawal_id))) == 2
    scene.assert_equations_hold()


def test_W13_no_payment_costs_more_than_its_intent_allows(stage: Stage) -> None:
    node = stage.node
    cap = 21_000 * 10 * GWEI
    scene = stage(terms=WithdrawalTerms(network_fee_max=cap))
    alice = scene.funded()
    withdrawal_id = scene.approved(alice, ETHER)

    def block(base_fee: int) -> None:
        node.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        node.mine(1)

    block(60 * GWEI)
    scene.run(3)
    assert any("fees_above_cap" in problem.why for problem in scene.house.problems)
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.APPROVED, "it takes no nonce"
    assert (scene.spends(*SpendKind), scene.digests()) == ([], [])
    block(GWEI)
    assert scene.house.step("withdrawals.plan") == 1
    block(60 * GWEI)  # they rise again between the plan and the signature
    scene.run(3)
    assert any("fee_above_cap" in problem.why for problem in scene.house.problems)
    assert scene.digests() == []
    for _ in range(3):
        block(GWEI)
    scene.go()
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    made = scene.attempts(spend)
    assert all(
        scene.chain.decode(each.payload, sender=spend.source).fee_max <= cap for each in made
    )
    assert 0 < (spend.fee_paid or 0) <= cap
    scene.assert_equations_hold()


def test_a_cancellation_that_comes_while_planning_wins_and_nothing_is_planned(
    stage: Stage, proxy: FaultProxy
) -> None:
    scene = stage(nodes=[proxy.url])
    alice = scene.funded()
    withdrawal_id = scene.approved(alice, ETHER)
    cancelled: list[str] = []

    def cancel(params: Any, result: Any) -> Any:
        if not cancelled:
            cancelled.append(scene.cancel(withdrawal_id).state)
        return result

    proxy.add(Rewritten(cancel), "eth_estimateGas")
    assert scene.house.step("withdrawals.plan") == 0
    assert cancelled == ["cancelled"], "the control: it came between reading and planning"
    proxy.clear()
    scene.go()
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CANCELLED
    assert scene.spends(*SpendKind) == []
    assert (scene.digests(), scene.credited(alice)) == ([], 3 * ETHER)
    scene.assert_equations_hold()


def test_a_cancellation_that_comes_after_planning_is_refused_and_the_payment_goes_out(
    stage: Stage,
) -> None:
    scene = stage()
    alice = scene.funded()
    withdrawal_id = scene.approved(alice, ETHER)
    assert scene.house.step("withdrawals.plan") == 1
    with pytest.raises(Refused) as refused:
        scene.cancel(withdrawal_id)
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
    scene.go()
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    assert scene.credited(alice) == 2 * ETHER
    scene.assert_equations_hold()


def test_a_payment_that_reverts_on_chain_fails_at_finality_and_its_fee_is_booked(
    stage: Stage,
) -> None:
    node = stage.node
    token = minted(stage.contracts, "PausableBlocklistToken")
    scene = stage(listed(token.address))
    scene.fund_wallets()
    alice = scene.customer("alice")
    token.send("transfer", alice.address, 5_000)
    token.send("transfer", scene.house.own_address(HOT), 5_000)
    scene.go()
    withdrawal_id = scene.approved(alice, 3_000, key=token.address)
    node.call("evm_setAutomine", False)
    scene.run(1)
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.BROADCAST
    # Between its simulation and its block the issuer blocks the recipient, and pays to be first.
    block = {
        "from": token.creator, "to": token.address, "gas": hex(200_000),
        "data": token.data("setBlocked", OUTSIDE, True),
        "maxFeePerGas": hex(90 * GWEI), "maxPriorityFeePerGas": hex(50 * GWEI),
    }  # fmt: skip
    node.call("eth_sendTransaction", block)
    node.mine(1)
    node.call("evm_setAutomine", True)
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    status = scene.chain.tx_status(scene.attempts(spend)[0].tx_id)
    assert (status.block is not None, status.succeeded) == (True, False), "the control"
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.BROADCAST, "not final yet"
    scene.go()
    row = scene.withdrawal(withdrawal_id)
    assert (row.state, row.reason) == (WithdrawalState.FAILED, "execution_failed")
    assert scene.book(AccountKind.NETWORK_FEES, HOT) == status.fee > 0
    assert scene.credited(alice, token.address) == 5_000
    assert token.ask("balanceOf", OUTSIDE) == 0
    # What failed is not tried again; a new request to somebody who is not blocked is paid.
    paid = scene.approved(alice, 3_000, key=token.address, to=ATTACKER, client_id="w2")
    scene.go()
    assert scene.withdrawal(paid).state is WithdrawalState.CONFIRMED
    assert token.ask("balanceOf", ATTACKER) == 3_000
    scene.assert_equations_hold()
