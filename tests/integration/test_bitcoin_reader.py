"""What the reader says of a real node's blocks: every coin that was made for us, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from chains.base import NATIVE, BlockRef, Payment
from chains.bitcoin.address import script_of
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut
from core.errors import Reason, Refused, Unavailable
from infra.devnet.coin_money import Miner
from infra.devnet.coin_nodes import MATURITY, MINER, MINER_WITNESS, CoreNode, start_core
from tests.support.bitcoin import HOT, LOCAL, PARAMS, STRANGER, address_of, open_chain

OURS = address_of(HOT)
TAPROOT = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
BANDS = replace(PARAMS, bands=((10 * COIN, 9), (40 * COIN, 20)))


@pytest.fixture(scope="module")
def node() -> Iterator[CoreNode]:
    """Start a node that relays outputs of any size."""
    with start_core(extra=("-dustrelayfee=0",)) as started:
        yield started


@pytest.fixture(scope="module")
def miner(node: CoreNode) -> Miner:
    return Miner(node)


@pytest.fixture
def chain(node: CoreNode) -> Iterator[BitcoinChain]:
    with closing(open_chain(node.url, params=BANDS)) as opened:
        yield opened


def at(chain: BitcoinChain, height: int, *watched: str) -> list[Payment]:
    block = chain.block_at(height)
    assert block is not None
    return list(chain.payments_in(block, frozenset(watched)))


def head(chain: BitcoinChain) -> BlockRef:
    return chain.head()


def test_every_output_to_us_is_a_payment_keyed_by_its_place(
    node: CoreNode, miner: Miner, chain: BitcoinChain
) -> None:
    tx_id = miner.pay(OURS, 5_000, 0, 5_000, 7)
    other = miner.pay(STRANGER, 9)
    node.mine()
    height = head(chain).height
    assert at(chain, height, OURS, TAPROOT) == [
        Payment(tx_id, place, NATIVE, OURS, None, amount, amount)
        for place, amount in (("0", 5_000), ("2", 5_000), ("3", 7))
    ]
    assert [one.tx_id for one in at(chain, height, STRANGER)] == [other]
    assert at(chain, height - 1, OURS, STRANGER) == []


def test_large_amounts_wait_for_more_blocks(
    node: CoreNode, miner: Miner, chain: BitcoinChain
) -> None:
    miner.pay(OURS, 10 * COIN - 1, 10 * COIN)
    miner.pay(OURS, 40 * COIN)
    node.mine()
    found = at(chain, head(chain).height, OURS)
    assert [(one.amount, one.extra_depth) for one in found] == [
        (10 * COIN - 1, 0),
        (10 * COIN, 3),
        (40 * COIN, 14),
    ]


def test_a_block_says_which_coins_it_uses_and_by_which_transaction(
    node: CoreNode, miner: Miner, chain: BitcoinChain
) -> None:
    made = miner.spend(TxOut(70_000, script_of(MINER, LOCAL)), TxOut(9, script_of(OURS, LOCAL)))
    node.mine()
    coins = [f"{made.tx_id}:0", f"{made.tx_id}:1", f"{made.tx_id}:7"]
    spending = Tx(
        2,
        (TxIn(OutPoint(made.tx_hash, 0), 0xFFFFFFFF),),
        (TxOut(60_000, script_of(STRANGER, LOCAL)),),
        0,
    ).signed(((MINER_WITNESS,),))
    node.call("sendrawtransaction", spending.serialise().hex())
    node.mine()
    block = chain.block_at(head(chain).height)
    before = chain.block_at(head(chain).height - 1)
    assert block is not None
    assert before is not None
    assert chain.used_in(block, coins) == {coins[0]: spending.tx_id}
    assert chain.used_in(block, frozenset(coins[1:])) == {}
    assert chain.used_in(before, coins) == {}
    assert chain.used_in(block, ()) == {}
    with pytest.raises(Refused) as refused:
        chain.used_in(block, ["no coin"])
    assert refused.value.reason is Reason.MALFORMED


def test_a_coinbase_is_a_payment_in_the_block_in_which_it_can_be_spent(
    node: CoreNode, chain: BitcoinChain
) -> None:
    node.mine(to=TAPROOT)
    made = head(chain)
    assert at(chain, made.height, TAPROOT) == []
    node.mine(MATURITY - 1)
    for height in range(made.height, made.height + MATURITY):
        assert at(chain, height, TAPROOT) == []
    assert chain.balance_of(TAPROOT, NATIVE, head(chain)) == 0
    node.mine()
    (payment,) = at(chain, made.height + MATURITY, TAPROOT)
    coinbase = node.call("getblock", made.hash, 1)["tx"][0]
    assert (payment.tx_id, payment.position, payment.to_address) == (coinbase, "0", TAPROOT)
    assert chain.balance_of(TAPROOT, NATIVE, head(chain)) == payment.amount
    with closing(open_chain(node.url, params=BANDS)) as fresh:
        assert at(fresh, made.height + MATURITY, TAPROOT) == [payment]
    node.mine()
    assert at(chain, made.height + MATURITY + 1, TAPROOT) == []


def test_what_waits_is_shown_until_it_is_replaced_or_mined(
    node: CoreNode, miner: Miner, chain: BitcoinChain
) -> None:
    node.mine()
    assert chain.pending([OURS]) == ()
    tx_id = miner.pay(OURS, 5_000, 6_000)
    shown = chain.pending([OURS, STRANGER])
    assert [(one.tx_id, one.position, one.amount) for one in shown] == [
        (tx_id, "0", 5_000),
        (tx_id, "1", 6_000),
    ]
    assert chain.pending([STRANGER]) == ()
    assert chain.pending(frozenset([OURS])) == shown
    node.mine()
    assert chain.pending([OURS]) == ()


def test_a_balance_is_what_can_be_spent_after_exactly_the_block_that_is_asked_for(
    node: CoreNode, miner: Miner, chain: BitcoinChain
) -> None:
    bob, everybody = STRANGER, MINER
    states = []
    for step in range(6):
        if step % 2:
            miner.pay(bob, 1_000 + step, 2_000)
        node.mine()
        tip = head(chain)
        states.append((tip, chain.balances_of([bob, everybody, TAPROOT], NATIVE, tip)))
    assert states[1][1][bob] - states[0][1][bob] == 3_001
    assert states[-1][1][bob] - states[0][1][bob] == 3_001 + 3_003 + 3_005
    for ref, balances in states:
        assert chain.balances_of([TAPROOT, everybody, bob, bob], NATIVE, ref) == balances
        assert chain.balance_of(bob, NATIVE, ref) == balances[bob]
    # Everybody's coins ripen block by block and pay for what bob gets, its fee goes to the miner.
    ripening = states[2][1][everybody] - states[1][1][everybody]
    assert ripening > 0


def test_a_balance_far_below_the_head_or_of_another_branch_is_unavailable(
    node: CoreNode, chain: BitcoinChain
) -> None:
    node.mine(3)
    tip = head(chain)
    far = chain.block_at(tip.height - 101)
    near = chain.block_at(tip.height - 100)
    assert far is not None
    assert near is not None
    assert chain.balance_of(OURS, NATIVE, near.ref) >= 0
    with pytest.raises(Unavailable, match="too_far"):
        chain.balance_of(OURS, NATIVE, far.ref)
    for wrong in (BlockRef(tip.height, near.ref.hash), BlockRef(tip.height + 1, tip.hash)):
        with pytest.raises(Unavailable, match="unknown_block"):
            chain.balance_of(OURS, NATIVE, wrong)
    with pytest.raises(Refused) as refused:
        chain.balance_of(OURS, "somebody's token", tip)
    assert refused.value.reason is Reason.UNKNOWN_ASSET


def test_a_block_is_read_by_the_chain_that_made_it(chain: BitcoinChain) -> None:
    block = chain.block_at(head(chain).height)
    assert block is not None
    for forged in (
        replace(block, parent_hash="ab" * 32),
        replace(block, ref=BlockRef(block.ref.height - 1, block.ref.hash)),
    ):
        with pytest.raises((ValueError, Unavailable)):
            chain.payments_in(forged, {OURS})
