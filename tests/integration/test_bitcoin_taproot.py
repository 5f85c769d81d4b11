"""Taproot keys on a real node: paid to, spent from, replaced, batched and swept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from chains.base import BroadcastOutcome, FeeRate, SpendItem, SpendKind
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import parse_tx
from custody.keys.second import base58check_decode, base58check_encode
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.bitcoin import HOT, SEED, intent_of, open_chain
from tests.support.coin_desk import HALF, OF_CHAIN, RATE, Desk, somebody
from tests.support.coin_money import Mint

OF_TAPROOT = replace(OF_CHAIN, purpose=86)


@pytest.fixture(scope="module")
def node() -> Iterator[CoreNode]:
    """Start a node whose blocks this module makes."""
    with start_core() as started:
        yield started


@pytest.fixture(scope="module")
def mint(node: CoreNode) -> Mint:
    """Return what pays coins of that node."""
    return Mint(node)


@pytest.fixture
def desk(node: CoreNode, mint: Mint) -> Iterator[Desk]:
    """Open the chain of taproot keys on that node."""
    with closing(open_chain(node.url, params=OF_TAPROOT)) as opened:
        yield Desk(node, mint, opened, LocalSigner(Secret(SEED), opened.traits))


def test_the_node_derives_our_taproot_addresses_from_our_account(desk: Desk) -> None:
    # The node wants the test network's version in front; the rest of the text is the same key.
    body = base58check_decode(desk.signer.account_xpub("hot"))
    assert body is not None
    xpub = base58check_encode(bytes.fromhex("043587cf") + body[4:])
    described = desk.node.call("getdescriptorinfo", f"tr({xpub}/0/*)")["descriptor"]
    theirs = desk.node.call("deriveaddresses", described, [0, 9])
    assert theirs == [desk.address(KeyRef("hot", number)) for number in range(10)]


@pytest.mark.parametrize("landing", range(4))
def test_a_stuck_payment_of_taproot_coins_is_bumped_and_whichever_is_mined_pays_once(
    desk: Desk, landing: int
) -> None:
    to, coins, rate = somebody(f"taproot {landing}"), desk.coins(COIN, COIN // 3), RATE
    intent = intent_of(to, HALF, source=desk.address(HOT))
    versions = []
    for number in range(4):
        rate = desk.chain.bump(rate, current=rate) if number else rate
        versions.append(desk.signed(intent, coins, rate))
        assert desk.send(versions[-1]) is BroadcastOutcome.ACCEPTED
    verdict = desk.node.call("getmempoolentry", versions[-1].tx_id)
    assert verdict["vsize"] * rate.max_rate == round(verdict["fees"]["base"] * COIN)
    desk.mine_only(versions[landing]) if landing < 3 else desk.node.mine()
    desk.node.mine(2)
    assert desk.received(to) == [HALF]
    landed = [desk.chain.tx_status(each.tx_id).succeeded for each in versions]
    assert landed == [number == landing for number in range(4)]


def test_a_batch_and_a_sweep_of_taproot_coins(desk: Desk) -> None:
    hot = desk.address(HOT)
    items = tuple(SpendItem(str(n), somebody(f"to {n}"), 20_000 + n) for n in range(3))
    batch = intent_of(hot, 60_003, kind=SpendKind.BATCH, items=items, source=hot)
    paid = desk.signed(batch, desk.chain.choose(batch, desk.coins(COIN), rate=RATE))
    keys = [KeyRef("deposits", number) for number in range(3)]
    coins = [coin for key in keys for coin in desk.coins(50_000, key=key)]
    assert desk.send(paid) is BroadcastOutcome.ACCEPTED
    draft = intent_of(hot, 1_000, kind=SpendKind.SWEEP, source=desk.address(keys[0]))
    rate = FeeRate(7, 7)
    fee = rate.max_rate * desk.chain.fee_units(draft, coins)
    swept = desk.signed(replace(draft, amount=150_000 - fee), coins, rate)
    assert len(parse_tx(swept.raw).outputs) == 1
    assert desk.send(swept) is BroadcastOutcome.ACCEPTED
    desk.node.mine()
    assert [desk.received(one.destination) for one in items] == [[one.amount] for one in items]
    status = desk.chain.tx_status(swept.tx_id)
    assert (status.effect_amount, status.fee) == (150_000 - fee, fee)
