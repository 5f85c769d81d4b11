"""Nodes that disagree, fall silent or reorganise: cases N02, N07, R01, R05, with controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chains.evm.block import IncompleteBlock
from chains.evm.chain import EvmChain
from chains.rpc import NodesDisagree
from core.errors import Unavailable
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import (
    Opener,
    config_for,
    genesis_hash,
    payments_of,
    watched_address,
)
from tests.support.faults import (
    Body,
    Close,
    Error,
    Huge,
    Result,
    Routed,
    Slow,
    Status,
    Truncated,
    WrongId,
)
from tests.support.proxy import FaultProxy

ALICE, BOB = watched_address(1), watched_address(2)
WATCHED = {ALICE, BOB}
FULL_BLOCK = "eth_getBlockByHash"
RECEIPTS = "eth_getBlockReceipts"


def split(
    start_node: Callable[..., AnvilNode], count: int = 3
) -> tuple[list[AnvilNode], Callable[[int], None]]:
    """Start nodes with equal blocks; the returned function lets one of them go another way."""
    nodes = [start_node(timestamp=1_700_000_000, no_mining=True) for _ in range(count)]
    for number in range(3):
        for node in nodes:
            node.mine(time_s=1_700_000_012 + 12 * number)

    def diverge(which: int) -> None:
        nodes[which].mine(time_s=1_700_000_099)

    return nodes, diverge


def test_N02_a_minority_branch_is_ignored_and_no_quorum_halts(
    start_node: Callable[..., AnvilNode], open_on: Opener
) -> None:
    nodes, diverge = split(start_node)
    chain = open_on(*(node.url for node in nodes))
    assert chain.head().height == 3
    diverge(2)
    for node in nodes[:2]:
        node.mine(time_s=1_700_000_060)
    agreed = chain.block_at(4)
    assert agreed is not None
    assert agreed.ref.hash == nodes[0].call("eth_getBlockByNumber", "0x4", False)["hash"]
    assert chain.nodes.nodes[2].counters.minority == 1
    assert chain.head() == agreed.ref
    # Three ways: nobody has a quorum, and that is an alarm, not an empty height.
    for number, node in enumerate(nodes):
        node.mine(time_s=1_700_000_200 + number)
    with pytest.raises(NodesDisagree):
        chain.block_at(5)
    with pytest.raises(NodesDisagree):
        chain.head()
    assert chain.nodes.disagreements == 2


def test_N02_two_colluding_nodes_need_a_quorum_of_three_to_be_stopped(
    start_node: Callable[..., AnvilNode], open_on: Opener
) -> None:
    nodes, _ = split(start_node)
    urls = [node.url for node in nodes]
    nodes[0].mine(time_s=1_700_000_060)
    for liar in nodes[1:]:
        liar.mine(time_s=1_700_000_061)
    with pytest.raises(NodesDisagree):
        open_on(*urls, quorum=3).block_at(4)
    # Control: with a quorum of two the colluding nodes would have been believed.
    believed = open_on(*urls, quorum=2).block_at(4)
    assert believed is not None
    assert believed.ref.hash == nodes[1].call("eth_getBlockByNumber", "0x4", False)["hash"]


def test_N02_a_quorum_below_a_majority_is_refused(open_on: Opener, anvil: AnvilNode) -> None:
    for quorum in (1, 3):
        with pytest.raises(ValueError, match="majority"):
            open_on(anvil.url, anvil.url, quorum=quorum)


def test_the_head_and_the_final_block_are_those_a_quorum_has_reached(
    start_node: Callable[..., AnvilNode], open_on: Opener
) -> None:
    nodes, _ = split(start_node)
    chain = open_on(*(node.url for node in nodes))
    for node, blocks in ((nodes[0], 4), (nodes[1], 2)):
        for number in range(blocks):
            node.mine(time_s=1_700_000_060 + 12 * number)
    assert [node.height() for node in nodes] == [7, 5, 3]
    assert chain.head().height == 5
    final = chain.final_head()
    assert final is not None
    assert final.height == 3
    assert chain.block_at(6) is None
    nodes[1].stop()
    assert chain.head().height == 3
    nodes[0].stop()
    with pytest.raises(Unavailable, match="too_few_nodes"):
        chain.head()


@pytest.mark.parametrize("asked", ["eth_getBlockByNumber", FULL_BLOCK, RECEIPTS, "eth_getLogs"])
@pytest.mark.parametrize(
    "fault",
    [
        Status(429, retry_after_s=1),
        Status(500),
        Truncated(),
        Truncated(keep_bytes=40, honest_length=True),
        Body(b"<html>log in</html>"),
        Close(),
        WrongId(),
        Result(None),
        Error(-32_005, "limit exceeded"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_N07_a_fault_in_any_answer_is_unavailable_and_the_next_try_is_complete(
    chain: EvmChain,
    proxy: FaultProxy,
    anvil: AnvilNode,
    token: Contract,
    fault: Any,
    asked: str,
) -> None:
    sent = token.send("transfer", ALICE, 250)
    rule = proxy.add(fault, asked)
    if isinstance(fault, Result) and asked == "eth_getBlockByNumber":
        assert chain.block_at(1) is None  # a null there means: above the head
    else:
        with pytest.raises(Unavailable):
            payments_of(chain, anvil, sent, WATCHED)
    assert rule.count >= 1
    proxy.clear()
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]


def test_N07_a_storm_of_429_that_ends_is_survived_within_one_question(
    chain: EvmChain, proxy: FaultProxy
) -> None:
    storm = proxy.add(Status(429), times=2)
    assert chain.head().height > 0
    assert storm.count == 2
    assert chain.nodes.nodes[0].counters.retries == 2


def test_N07_an_oversized_reply_is_cut_off_before_it_fills_the_memory(
    chain: EvmChain, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = chain.nodes.nodes[0].client
    monkeypatch.setattr(client, "_reply_limit", 1 << 20)
    rule = proxy.add(Huge(8 << 20), "eth_getBlockByNumber")
    with pytest.raises(Unavailable, match="node_reply_oversized"):
        chain.head()
    assert rule.count == client.counters.oversized > 0
    proxy.clear()
    assert chain.head().height > 0


def test_N07_a_silent_node_is_given_up_in_time_and_left_out_where_it_is_not_needed(
    proxy: FaultProxy, anvil: AnvilNode, open_on: Opener
) -> None:
    urls = [proxy.url, anvil.url, anvil.url]
    config = replace(config_for(urls, genesis=genesis_hash(anvil.url)), timeout_ms=200)
    rule = proxy.add(Slow(0.5), "eth_getBlockByNumber")
    three = open_on.open(config)
    for _ in range(3):
        assert three.head().height == 0
    assert rule.count == 1
    one = open_on.open(replace(config, node_urls=(proxy.url,), quorum=1))
    for _ in range(2):
        with pytest.raises(Unavailable, match="node_timeout"):
            one.head()
    assert rule.count == 3


def test_N07_a_head_that_never_moves_grows_old(chain: EvmChain, anvil: AnvilNode) -> None:
    time_s = int(anvil.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert chain.head_age_s((time_s + 3_600) * 10**9) == 3_600
    anvil.mine(time_s=time_s + 3_000)
    assert chain.head_age_s((time_s + 3_600) * 10**9) == 600


def test_R01_a_reorged_payment_is_gone_and_its_old_block_no_longer_answers(
    chain: EvmChain, anvil: AnvilNode, contracts: Deployer
) -> None:
    anvil.mine(3)
    sent = contracts.pay(ALICE, 250)
    head = chain.head()
    old = chain.block_at(head.height)
    assert old is not None
    assert [p.amount for p in chain.payments_in(old, WATCHED)] == [250]
    anvil.reorg(3)
    replaced = chain.block_at(head.height)
    assert replaced is not None
    assert replaced.ref.hash != old.ref.hash
    assert chain.payments_in(replaced, WATCHED) == ()
    chain.forget()
    with pytest.raises(IncompleteBlock, match="does not have the block"):
        chain.payments_in(old, WATCHED)
    assert chain.tx_status(sent).block is None


def test_R05_a_reorg_between_two_questions_mixes_no_branches(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, token: Contract
) -> None:
    """The node reorganises after it has named the block and before it is asked for its logs."""
    anvil.mine(3)
    snapshot = anvil.snapshot()
    on_branch_a = token.send("transfer", ALICE, 250)
    block = chain.block_at(chain.head().height)
    assert block is not None
    anvil.revert(snapshot)
    token.send("transfer", BOB, 99)
    other = chain.block_at(block.ref.height)
    assert other is not None
    assert other.ref.hash != block.ref.hash, "the stimulus: the same height on another branch"
    with pytest.raises(Unavailable, match=r"unknown block|does not have the block"):
        chain.payments_in(block, WATCHED)
    assert [p.to_address for p in chain.payments_in(other, WATCHED)] == [BOB]
    assert chain.tx_status(on_branch_a).block is None


def test_R05_answers_of_another_branch_are_refused_even_under_the_right_question(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, token: Contract
) -> None:
    """A node behind a load balancer answers by height what was asked by hash."""
    token.send("transfer", BOB, 99)
    wrong = anvil.call("eth_getBlockByNumber", "latest", True)
    wrong_receipts = anvil.call(RECEIPTS, wrong["hash"])
    sent = token.send("transfer", ALICE, 250)
    rules = [proxy.add(Result(wrong), FULL_BLOCK), proxy.add(Result(wrong_receipts), RECEIPTS)]
    with pytest.raises(IncompleteBlock, match="another block"):
        payments_of(chain, anvil, sent, WATCHED)
    proxy.clear()
    rules.append(proxy.add(Result(wrong_receipts), RECEIPTS))
    with pytest.raises(IncompleteBlock, match="receiptsRoot"):
        payments_of(chain, anvil, sent, WATCHED)
    assert all(rule.count == 1 for rule in rules)


def test_a_node_on_another_network_s_answers_never_become_deposits(
    chain: EvmChain, proxy: FaultProxy, start_node: Callable[..., AnvilNode]
) -> None:
    other = start_node(chain_id=1337)
    rule = proxy.add(Routed(other.url))
    with pytest.raises(Exception, match="1337"):
        chain.check_identity()
    assert rule.count > 0
