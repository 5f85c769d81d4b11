"""Nodes that lag, lie, disagree or fall silent under a whole platform: N01, N02, N04 to N07."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chains.base import NATIVE, SpendKind
from chains.rpc import NodesDisagree
from core.errors import Unavailable
from custody.keys.watermark import FRESH_NS
from custody.spending import plan
from custody.withdrawals.states import WithdrawalState
from infra.devnet.nodes import AnvilNode
from tests.support.evm import CHAIN, ETHER, GWEI, listed, minted
from tests.support.faults import (
    Close,
    Error,
    Fault,
    Huge,
    Result,
    Rewritten,
    Routed,
    Status,
    Truncated,
    WrongId,
)
from tests.support.house import HOT
from tests.support.proxy import FaultProxy
from tests.support.threats import OUTSIDE, Stage

RECEIPTS = "eth_getBlockReceipts"
FULL_BLOCK = "eth_getBlockByHash"
LOGS = "eth_getLogs"
BORN_S = 1_700_000_000
"""Nodes born at the same second have the same first block: one network."""


@pytest.fixture
def providers(stage: Stage, start_node: Callable[..., AnvilNode]) -> Iterator[list[FaultProxy]]:
    """Return three providers of one network; faults let each go its own way."""
    stage.use(start_node(timestamp=BORN_S))
    with ExitStack() as stack:
        yield [stack.enter_context(FaultProxy(stage.node.url)) for _ in range(3)]


def test_N01_logs_of_a_node_twenty_blocks_behind_credit_nothing_and_later_exactly_once(
    stage: Stage, proxy: FaultProxy, start_node: Callable[..., AnvilNode]
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene = stage(listed(token.address), nodes=[proxy.url])
    alice = scene.customer("alice")
    scene.run(1)
    lagging = start_node()
    rules = [proxy.add(Routed(lagging.url), each) for each in (LOGS, RECEIPTS, FULL_BLOCK)]
    token.send("transfer", alice.address, 250)
    stage.node.mine(20)
    assert stage.node.height() - lagging.height() > 20
    before = max(scene.followed_hashes())
    scene.run(4, bear=True)
    assert all(rule.count for rule in rules), "the control: it was asked"
    assert scene.refused
    assert max(scene.followed_hashes()) == before, "the cursor moves over proven blocks only"
    assert (scene.deposits(alice), scene.owed(token.address)) == ([], 0)
    proxy.clear()
    # The nastier form: right block, right receipts, and no logs.
    empty = proxy.add(Rewritten(lambda params, result: []), LOGS)
    scene.run(2, bear=True)
    assert empty.count >= 1
    assert sum(node.counters.incomplete for node in scene.chain.nodes.nodes) >= 1
    assert scene.deposits(alice) == []
    proxy.clear()
    scene.go()
    assert len(scene.deposits(alice)) == 1
    assert scene.credited(alice, token.address) == 250
    scene.assert_equations_hold()


def test_N02_a_minority_branch_credits_nobody_and_without_a_quorum_credits_halt(
    stage: Stage, providers: list[FaultProxy], start_node: Callable[..., AnvilNode]
) -> None:
    scene = stage(nodes=[each.url for each in providers])
    alice, mallory = scene.customer("alice"), scene.customer("mallory")
    scene.go()
    branch = start_node(timestamp=BORN_S)
    stage.use(branch)
    stage.contracts.pay(mallory.address, 100 * ETHER)
    branch.mine(40)
    stage.use(scene.node)
    paid_there = branch.call("eth_getBalance", mallory.address, "latest")
    assert int(paid_there, 16) == 100 * ETHER, "the control: on that branch it is final, too"

    liar = providers[2].add(Routed(branch.url))
    scene.contracts.pay(alice.address, ETHER)
    scene.go()
    assert liar.count > 0
    assert (scene.credited(alice), scene.credited(mallory)) == (ETHER, 0)
    assert scene.chain.nodes.nodes[2].counters.minority > 0

    third = start_node(timestamp=BORN_S)
    third.mine(50, time_s=BORN_S + 1_000)
    other = providers[1].add(Routed(third.url))
    scene.contracts.pay(alice.address, ETHER)
    scene.node.mine(6)
    height, refused = max(scene.followed_hashes()), len(scene.refused)
    scene.run(4, bear=True)
    assert other.count > 0
    disagreed = [e for e in scene.refused[refused:] if isinstance(e, NodesDisagree)]
    assert disagreed, "three branches, and no two agree"
    assert max(scene.followed_hashes()) == height
    assert (scene.credited(alice), scene.credited(mallory)) == (ETHER, 0), "reads go on"
    assert not scene.state().frozen
    for each in providers:
        each.clear()
    scene.go()
    assert (scene.credited(alice), scene.credited(mallory)) == (2 * ETHER, 0)
    assert len(scene.deposits(alice)) == 2
    assert scene.deposits(mallory) == []
    scene.assert_equations_hold()


def test_N02_two_providers_twenty_blocks_behind_delay_a_credit_and_never_double_it(
    stage: Stage, providers: list[FaultProxy]
) -> None:
    scene = stage(nodes=[each.url for each in providers])
    alice = scene.customer("alice")
    scene.go()
    top = stage.node.height()

    def behind(params: Any, result: Any) -> Any:
        """Know nothing above the top of twenty blocks ago."""
        return None if params[0] == "latest" or int(result["number"], 16) > top else result

    def latest(params: Any, result: Any) -> Any:
        return stage.node.call("eth_getBlockByNumber", hex(top), False)

    rules = []
    for each in providers[1:]:
        rules += [
            each.add(Rewritten(latest), "eth_getBlockByNumber", when=lambda p: p[0] == "latest"),
            each.add(
                Rewritten(behind),
                "eth_getBlockByNumber",
                when=lambda p: p[0] != "latest" and not p[0].startswith("final"),
            ),
        ]
    stage.contracts.pay(alice.address, ETHER)
    stage.node.mine(20)
    scene.run(3, bear=True)
    assert rules[1].count > 0
    assert rules[3].count > 0
    assert (max(scene.followed_hashes()), scene.credited(alice)) == (top, 0)
    for each in providers:
        each.clear()
    scene.go()
    assert (scene.credited(alice), len(scene.deposits(alice))) == (ETHER, 1)
    scene.assert_equations_hold()


def tenfold(params: Any, rows: Any) -> Any:
    """Multiply the amount of every Transfer by ten, in receipts and in logs alike."""
    for row in rows:
        for log in row.get("logs", [row] if "data" in row else []):
            if len(log["data"]) == 66:
                log["data"] = "0x" + (int(log["data"], 16) * 10).to_bytes(32, "big").hex()
    return rows


def succeeded(params: Any, rows: Any) -> Any:
    """Let every failed transaction have succeeded."""
    for row in rows:
        row["status"] = "0x1"
    return rows


def test_N04_falsified_amounts_and_states_credit_nothing_and_the_truth_is_credited_later(
    stage: Stage, proxy: FaultProxy
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    payer = stage.contracts.deploy("Payer")
    scene = stage(listed(token.address), nodes=[proxy.url])
    alice, bob = scene.customer("alice"), scene.customer("bob")
    scene.run(1)
    rules = [proxy.add(Rewritten(tenfold), each) for each in (RECEIPTS, LOGS)]
    token.send("transfer", alice.address, 250)
    stage.node.mine(4)
    scene.run(3, bear=True)
    assert all(rule.count for rule in rules)
    assert (scene.deposits(alice), scene.owed(token.address)) == ([], 0)
    proxy.clear()
    failed = payer.send("payThenRevert", bob.address, ETHER, value=ETHER, gas=300_000)
    assert stage.node.call("eth_getTransactionReceipt", failed)["status"] == "0x0"
    lie = proxy.add(Rewritten(succeeded), RECEIPTS)
    stage.node.mine(4)
    scene.run(3, bear=True)
    assert lie.count > 0
    assert scene.deposits(bob) == []
    proxy.clear()
    scene.go()
    assert scene.credited(alice, token.address) == 250
    assert (scene.deposits(bob), scene.credited(bob)) == ([], 0)
    scene.assert_equations_hold()


@pytest.mark.parametrize("shift", [-3, 5])
def test_N05_a_wrong_count_of_nonces_never_takes_a_live_nonce(
    stage: Stage, proxy: FaultProxy, shift: int
) -> None:
    scene = stage(nodes=[proxy.url])
    alice = scene.funded()
    start = int(stage.node.call("eth_getBalance", OUTSIDE, "latest"), 16)
    for number in range(3):
        scene.approved(alice, 1_000, client_id=f"before {number}")
    scene.go()
    lie = proxy.add(
        Rewritten(lambda params, result: hex(max(0, int(result, 16) + shift))),
        "eth_getTransactionCount",
    )
    scene.house.clock.advance(FRESH_NS)  # the signer asks again when its last answer is that old
    wrong = [scene.approved(alice, 1_000, client_id=f"during {n}") for n in range(2)]
    scene.run(4, bear=True)
    stage.node.mine(3)
    scene.run(2, bear=True)
    assert lie.count > 0
    nonces = [spend.nonce for spend in scene.spends(SpendKind.WITHDRAWAL)]
    assert nonces == [0, 1, 2, 3, 4], "our own allocator is the authority"
    if shift > 0:
        # More nonces used than we ever signed for: the signer takes itself for stale and stops.
        assert {scene.withdrawal(each).state for each in wrong} == {WithdrawalState.PLANNED}
        assert any("stale_signer" in problem.why for problem in scene.house.problems)
    proxy.clear()
    scene.go()
    assert {scene.withdrawal(each).state for each in wrong} == {WithdrawalState.CONFIRMED}
    assert int(stage.node.call("eth_getBalance", OUTSIDE, "latest"), 16) - start == 5_000
    with scene.house.platform.db.read() as conn:
        assert plan.next_nonce(conn, CHAIN, scene.house.own_address(HOT)) == 5
    assert not scene.state().frozen
    scene.assert_equations_hold()


ORACLES = {
    "zero": {"baseFeePerGas": ["0x0", "0x0"]},
    "negative": {"baseFeePerGas": ["-0x1", "-0x1"]},
    "null": None,
    "a million gwei": {"baseFeePerGas": [hex(10**6 * GWEI)] * 2},
    "a word": "dear",
}


def test_N06_whatever_the_fee_oracle_says_payments_stay_between_floor_and_cap(
    stage: Stage, proxy: FaultProxy
) -> None:
    scene = stage(nodes=[proxy.url])
    alice = scene.funded()
    for name, answer in ORACLES.items():
        rule = proxy.add(Result(answer), "eth_feeHistory")
        scene.approved(alice, 1_000, client_id=name)
        scene.run(2)
        assert (name, rule.count > 0) == (name, True)
        proxy.clear()
    scene.go()
    spends = scene.spends(SpendKind.WITHDRAWAL)
    assert len(spends) == len(ORACLES)
    for spend in spends:
        for attempt in scene.attempts(spend):
            rate = scene.chain.rate_of(attempt.payload).max_rate
            assert GWEI <= rate <= 300 * GWEI
            assert scene.chain.decode(attempt.payload, sender=spend.source).fee_max <= ETHER // 10
        assert 0 < (spend.fee_paid or 0) <= 21_000 * 300 * GWEI
    highest = max(scene.chain.rate_of(scene.attempts(s)[0].payload).max_rate for s in spends)
    assert highest == 300 * GWEI, "the control: the million was believed as far as the cap"
    scene.assert_equations_hold()


def test_N07_through_storms_of_broken_answers_every_height_is_read_once(
    stage: Stage, proxy: FaultProxy
) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene = stage(listed(token.address), nodes=[proxy.url])
    alice = scene.customer("alice")
    scene.run(1)
    storms: list[Fault] = [
        Truncated(), Truncated(honest_length=True), Status(429), Status(503), Close(), WrongId(),
        Result(None), Error(-32_000, "header not found"), Huge(70 << 20),
    ]  # fmt: skip
    counts = []
    for number, fault in enumerate(storms):
        stage.contracts.pay(alice.address, 1_000 + number)
        token.send("transfer", alice.address, 10 + number)
        stage.node.mine(1)
        # The first questions pass, so that each storm breaks off the work at another place.
        times = 2 if isinstance(fault, Huge) else 40
        rule = proxy.add(fault, skip=number, times=times)
        scene.run(1, bear=True)
        counts.append(rule.count)
        proxy.clear()
        scene.run(1, bear=True)
    assert all(counts), counts
    assert any(isinstance(error, Unavailable) for error in scene.refused)
    scene.go()
    heights = sorted(scene.followed_hashes())
    assert heights == list(range(heights[0], stage.node.height() + 1))
    assert scene.credited(alice) == sum(1_000 + n for n in range(len(storms)))
    assert scene.credited(alice, token.address) == sum(10 + n for n in range(len(storms)))
    assert len(scene.deposits(alice)) == 2 * len(storms)
    scene.assert_equations_hold()


def test_N07_a_dead_node_stops_nothing_but_its_chain_and_the_work_resumes_by_itself(
    stage: Stage, proxy: FaultProxy
) -> None:
    scene = stage(nodes=[proxy.url])
    alice = scene.funded()
    proxy.go_down()
    asked = scene.house.withdraw(alice.number, NATIVE, ETHER, OUTSIDE)
    scene.run(2, bear=True)
    assert scene.refused
    assert scene.withdrawal(asked.withdrawal_id).state is WithdrawalState.HELD
    scene.house.approve(asked.withdrawal_id)
    scene.run(2, bear=True)
    assert scene.withdrawal(asked.withdrawal_id).state is WithdrawalState.APPROVED
    proxy.come_up()
    scene.go()
    assert scene.withdrawal(asked.withdrawal_id).state is WithdrawalState.CONFIRMED
    scene.assert_equations_hold()
