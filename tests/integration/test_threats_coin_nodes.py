"""Nodes of coins that lag, lie, disagree or fall silent under a whole platform: N01, N02, N07."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chains.bitcoin.address import script_of
from chains.bitcoin.params import COIN, MATURITY
from chains.bitcoin.tx import TxOut, parse_tx
from core.errors import Refused
from infra.devnet.coin_money import LOCAL, Miner
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.bitcoin import STRANGER
from tests.support.coin_blocks import coinbase, sealed
from tests.support.coin_scene import coin_scene
from tests.support.databases import Databases
from tests.support.faults import Error, Fault, Huge, Result, Rewritten, Routed, Status, Truncated
from tests.support.proxy import FaultProxy

ELSEWHERE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
MEGABYTE = 1 << 20


@pytest.fixture
def node() -> Iterator[CoreNode]:
    """Start the node where blocks are made."""
    with start_core() as started:
        yield started


@pytest.fixture
def miner(node: CoreNode) -> Miner:
    """Return who pays coins of that node."""
    return Miner(node)


def to(address: str, amount: int = COIN) -> TxOut:
    return TxOut(amount, script_of(address, LOCAL))


def without_the_payments(params: Any, result: str) -> str:
    """Return a block whose header is right and whose transactions are its first one."""
    raw = bytes.fromhex(result) if params[1] == 0 else b""
    if not raw or raw[80] == 1:
        return result
    first = next(size for size in range(60, len(raw)) if is_tx(raw[81 : 81 + size]))
    return (raw[:80] + b"\x01" + raw[81 : 81 + first]).hex()


def is_tx(raw: bytes) -> bool:
    try:
        parse_tx(raw)
    except Refused:
        return False
    return True


def test_N01_a_node_that_lags_or_leaves_payments_out_credits_nothing_and_later_exactly_once(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with (
        FaultProxy(node.url) as proxy,
        start_core() as lagging,
        coin_scene(databases, node, [proxy.url]) as scene,
    ):
        alice, to_alice = scene.customer("alice")
        scene.run(2)
        stale = proxy.add(Routed(lagging.url), "getblock")
        miner.pay(to_alice, COIN)
        node.mine(20)
        before = max(scene.followed())
        scene.run(3)
        assert stale.count, "the control: it was asked"
        assert scene.refused
        assert (max(scene.followed()), scene.deposits()) == (before, [])
        proxy.clear()
        empty = proxy.add(Rewritten(without_the_payments), "getblock")
        scene.run(3)
        assert empty.count >= 1
        assert sum(each.counters.incomplete for each in scene.chain.nodes.nodes) >= 1
        assert scene.deposits() == []
        proxy.clear()
        scene.settle()
        assert len(scene.deposits()) == 1
        assert scene.credited(alice) == COIN
        scene.assert_gapless()
        scene.assert_equations_hold()


def test_N02_a_minority_branch_credits_nobody_and_without_a_quorum_credits_halt(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with (
        FaultProxy(node.url) as first,
        FaultProxy(node.url) as second,
        FaultProxy(node.url) as third,
        start_core() as branch,
        start_core() as another,
        coin_scene(databases, node, [first.url, second.url, third.url], quorum=2) as scene,
    ):
        (alice, to_alice), (mallory, to_mallory) = scene.customer("a"), scene.customer("m")
        scene.settle()
        branch.mine(MATURITY + 10, to=ELSEWHERE)
        branch.mine(to=to_mallory)
        branch.mine(MATURITY + 40, to=ELSEWHERE)
        another.mine(node.height() + 60, to=STRANGER)
        assert branch.height() > node.height(), "the control: what is paid there is final there"
        liar = third.add(Routed(branch.url))
        miner.pay(to_alice, COIN)
        scene.settle()
        assert liar.count > 0
        assert (scene.credited(alice), scene.credited(mallory)) == (COIN, 0)
        nodes = scene.chain.nodes
        assert nodes.nodes[2].counters.minority > 0
        scene.assert_gapless()
        other = second.add(Routed(another.url))
        miner.pay(to_alice, COIN)
        node.mine(6)
        before, told = scene.followed(), nodes.disagreements
        scene.run(3)
        assert other.count > 0
        assert nodes.disagreements > told
        assert scene.followed() == before
        assert (scene.credited(alice), scene.credited(mallory)) == (COIN, 0)
        for proxy in (second, third):
            proxy.clear()
        scene.settle()
        assert scene.credited(alice) == 2 * COIN
        scene.assert_gapless()


def test_N02_a_block_that_two_liars_invent_has_no_work(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    """Two of three say the same, so its hash is agreed: what it holds must still prove itself."""
    with (
        FaultProxy(node.url) as first,
        FaultProxy(node.url) as second,
        coin_scene(databases, node, [node.url, first.url, second.url], quorum=2) as scene,
    ):
        mallory, to_mallory = scene.customer("mallory")
        scene.settle()
        tip = bytes.fromhex(node.call("getbestblockhash"))[::-1]
        height = node.height() + 1
        first_tx = coinbase(height, to(to_mallory, 50 * COIN))
        body = b"\x01" + first_tx.serialise()
        block = sealed(body, first_tx.tx_hash, height=height, parent=tip, enough=False)
        name, header = block.hash, block.raw[:80]
        for proxy in (first, second):
            proxy.add(Rewritten(lambda params, result: height), "getblockcount")
            proxy.add(Result(name), "getblockhash", when=lambda params: params[0] == height)
            proxy.add(Result(header.hex()), "getblockheader", when=lambda params: params[0] == name)
            whole = Result(block.raw.hex())
            proxy.add(whole, "getblock", when=lambda params: params[0] == name)
        before = scene.followed()
        scene.run(3)
        assert any("work" in each.what for each in scene.refused)
        assert (scene.followed(), scene.deposits()) == (before, [])
        for proxy in (first, second):
            proxy.clear()
        scene.settle()
        assert (scene.credited(mallory), scene.deposits()) == (0, [])
        scene.assert_gapless()


FAULTS: dict[str, Callable[[], Fault]] = {
    "429": lambda: Status(429),
    "truncated": Truncated,
    "too large": lambda: Huge(65 * MEGABYTE),
    "an error": lambda: Error(-28, "Loading block index"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_N07_what_fails_silently_leaves_no_gap_and_no_wrong_credit(
    fault: str, node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with FaultProxy(node.url) as proxy, coin_scene(databases, node, [proxy.url]) as scene:
        alice, to_alice = scene.customer("alice")
        scene.run(2)
        rule = proxy.add(FAULTS[fault](), "getblock")
        miner.pay(to_alice, COIN)
        node.mine(2)
        before = max(scene.followed())
        scene.run(1)
        assert rule.count, "the control: it happened"
        assert scene.refused
        assert (max(scene.followed()), scene.deposits()) == (before, [])
        proxy.clear()
        scene.settle()
        assert scene.credited(alice) == COIN
        scene.assert_gapless()


def test_N07_the_same_block_answered_for_every_height_is_no_progress(
    node: CoreNode, miner: Miner, databases: Databases
) -> None:
    with FaultProxy(node.url) as proxy, coin_scene(databases, node, [proxy.url]) as scene:
        alice, to_alice = scene.customer("alice")
        miner.pay(to_alice, COIN)
        node.mine()
        scene.run(2)
        again = node.call("getblock", node.call("getbestblockhash"), 0)
        rule = proxy.add(Result(again), "getblock")
        node.mine(3)
        scene.run(2)
        assert rule.count
        assert max(scene.followed()) == node.height() - 3
        assert len(scene.deposits()) == 1
        proxy.clear()
        scene.settle()
        assert scene.credited(alice) == COIN
        scene.assert_gapless()


def test_N07_a_node_that_goes_on_answering_and_makes_no_blocks_is_seen_by_its_heads_age(
    node: CoreNode, databases: Databases
) -> None:
    with coin_scene(databases, node) as scene:
        node.mine()
        now_ns = time.time_ns()
        assert scene.chain.head_age_s(now_ns) < 3_600
        assert scene.chain.head_age_s(now_ns + 7_200 * 10**9) > 3_600
