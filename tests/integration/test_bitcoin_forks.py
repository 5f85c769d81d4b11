"""Two real nodes fork and rejoin, or one dies: deposits, own payments and sweeps end right."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from chains.base import NATIVE
from chains.bitcoin.address import script_of
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import TxOut
from core.errors import Unavailable
from custody import chain_state
from custody.deposit_rows import DepositState
from custody.withdrawals.states import WithdrawalState
from infra.devnet.coin_money import LOCAL, Miner
from infra.devnet.coin_nodes import start_core
from infra.devnet.servers import temporary_folder
from tests.support.bitcoin import STRANGER
from tests.support.coin_scene import (
    CHAIN,
    CoinScene,
    Pair,
    coin_scene,
    spent_otherwise,
    two_nodes,
)
from tests.support.databases import Databases

ELSEWHERE = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Start two nodes that hear of each other."""
    with two_nodes() as started:
        yield started


def reorgs(scene: CoinScene) -> tuple[int, int, bool]:
    with scene.house.platform.db.read() as conn:
        state = chain_state.state(conn, CHAIN)
    return state.reorgs, state.deepest_reorg, state.frozen


def state_of(scene: CoinScene, tx_id: str) -> DepositState:
    (found,) = [each.state for each in scene.deposits() if each.tx_id == tx_id]
    return found


def test_deposits_across_a_fork_of_two_nodes_end_as_the_longer_branch_says(
    pair: Pair, databases: Databases
) -> None:
    miner, other = Miner(pair.here), Miner(pair.here, [], 10)
    pair.join()
    with coin_scene(databases, pair.here) as scene:
        (alice, to_alice), (bob, to_bob) = scene.customer("alice"), scene.customer("bob")
        carol, to_carol = scene.customer("carol")
        scene.run(2)
        pair.part()
        gone = miner.spend(TxOut(COIN, script_of(to_alice, LOCAL)))
        kept = other.spend(TxOut(2 * COIN, script_of(to_bob, LOCAL)))
        pair.here.mine(2)
        scene.run(2)
        assert {each.tx_id for each in scene.deposits()} == {gone.tx_id, kept.tx_id}
        stolen = spent_otherwise(gone, TxOut(3 * COIN, script_of(to_carol, LOCAL)))
        for tx in (stolen, kept):
            pair.there.call("sendrawtransaction", tx.serialise().hex(), 0)
        pair.there.mine(3, to=ELSEWHERE)
        pair.join()
        scene.run(2)
        assert reorgs(scene) == (1, 2, False)
        assert state_of(scene, gone.tx_id) is DepositState.ORPHANED
        scene.settle()
        credited = [scene.credited(each) for each in (alice, bob, carol)]
        assert credited == [0, 2 * COIN, 3 * COIN]
        assert [each.tx_id for each in scene.deposits(bob)] == [kept.tx_id]
        scene.assert_gapless()
        scene.assert_equations_hold()


def test_own_payments_and_sweeps_across_a_fork_of_two_nodes_are_made_once(
    pair: Pair, databases: Databases
) -> None:
    miner = Miner(pair.here)
    pair.join()
    with coin_scene(databases, pair.here, sweep_minimum=1_000) as scene:
        hot = scene.house.own_address("hot")
        alice, to_alice = scene.customer("alice")
        miner.pay(hot, 3 * COIN)
        miner.pay(to_alice, COIN)
        scene.settle()
        assert scene.credited(alice) == COIN
        pair.join()
        pair.part()
        asked = scene.house.withdraw(alice, NATIVE, COIN // 4, STRANGER, client_id="w1")
        scene.run(1)
        scene.house.approve(asked.withdrawal_id)
        scene.run(3)
        waiting = set(pair.here.call("getrawmempool"))
        pair.here.mine()
        scene.run(2)
        for tx_id in waiting:
            assert scene.chain.tx_status(tx_id).block is not None
        assert len(waiting) == 2, "a withdrawal and a sweep"
        pair.there.mine(3, to=ELSEWHERE)
        pair.join()
        scene.run(2)
        assert reorgs(scene) == (1, 1, False)
        for tx_id in waiting:
            assert scene.chain.tx_status(tx_id).block is None, "the control: they are in no block"
        scene.settle()
        done = scene.house.withdrawal(asked.withdrawal_id)
        assert done.state is WithdrawalState.CONFIRMED
        head = scene.chain.head()
        assert scene.chain.balance_of(STRANGER, NATIVE, head) == COIN // 4
        assert scene.chain.balance_of(to_alice, NATIVE, head) == 0
        for tx_id in waiting:
            assert scene.chain.tx_status(tx_id).block is not None, "the same bytes landed again"
        scene.assert_gapless()
        scene.assert_equations_hold()


def test_while_two_asked_nodes_are_on_two_branches_nobody_is_credited(
    pair: Pair, databases: Databases
) -> None:
    miner = Miner(pair.here)
    pair.join()
    urls = (pair.here.url, pair.there.url)
    with coin_scene(databases, pair.here, urls, quorum=2) as scene:
        alice, to_alice = scene.customer("alice")
        scene.run(2)
        pair.part()
        miner.pay(to_alice, COIN)
        pair.here.mine(6)
        pair.there.mine(4, to=ELSEWHERE)
        before = max(scene.followed())
        scene.run(3)
        assert any("nodes_disagree" in each.what for each in scene.refused)
        assert (max(scene.followed()), scene.deposits()) == (before, [])
        pair.join()
        scene.run(3)
        scene.settle()
        assert scene.credited(alice) == COIN
        scene.assert_gapless()


def test_a_node_killed_while_a_block_is_read_is_asked_again_and_nothing_is_missed(
    databases: Databases,
) -> None:
    data = temporary_folder("core-data")
    try:
        node = start_core(data=data)
        miner = Miner(node)
        with coin_scene(databases, node) as scene:
            alice, to_alice = scene.customer("alice")
            scene.run(2)
            paid = miner.pay(to_alice, COIN)
            node.mine(2)
            block = scene.chain.block_at(node.height() - 1)
            assert block is not None
            node.call("gettxoutsetinfo")  # writes down what a crash would lose
            node.kill()  # after the header, before the contents
            with pytest.raises(Unavailable):
                scene.chain.payments_in(block, {to_alice})
            before = scene.followed()
            scene.run(2)
            assert scene.refused
            assert (scene.followed(), scene.deposits()) == (before, [])
            with start_core(data=data, at=node.url) as again:
                scene.node = miner.node = again
                assert again.call("getblockhash", block.ref.height) == block.ref.hash
                scene.settle()
                assert [each.tx_id for each in scene.deposits(alice)] == [paid]
                assert scene.credited(alice) == COIN
                scene.assert_gapless()
                scene.assert_equations_hold()
    finally:
        shutil.rmtree(data, ignore_errors=True)
