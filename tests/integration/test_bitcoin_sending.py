"""Spending on a real node: of a payment and its replacements one lands, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from chains.base import (
    BalanceChange,
    BroadcastOutcome,
    Coin,
    FeeRate,
    ItemStatus,
    SignedTx,
    SpendIntent,
    SpendItem,
    SpendKind,
)
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.package import submit
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import parse_tx
from chains.rpc import RpcClient
from core.errors import Reason, Refused
from custody.keys.signers import KeyRef
from infra.devnet.coin_nodes import CoreNode, start_core
from tests.support.bitcoin import HOT, STRANGER, address_of, intent_of, open_chain
from tests.support.coin_desk import HALF, OF_CHAIN, RATE, Desk, somebody
from tests.support.coin_money import Mint


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
    """Open the chain on that node."""
    with closing(open_chain(node.url, params=OF_CHAIN)) as opened:
        yield Desk(node, mint, opened)


# ---- a stuck payment --------------------------------------------------------------------------


def versions_of(desk: Desk, intent: SpendIntent, coins: Sequence[Coin]) -> list[SignedTx]:
    """Return a payment and its three replacements, each sent after the other."""
    found, rate = [], RATE
    for number in range(4):
        if number:
            rate = desk.chain.bump(rate, current=rate)
        unsigned = desk.unsigned(intent, coins, rate)
        assert desk.chain.rate_of(unsigned.payload).max_rate >= rate.max_rate
        found.append(desk.signed(intent, coins, rate))
        assert desk.send(found[-1]) is BroadcastOutcome.ACCEPTED, number
    return found


@pytest.mark.parametrize("landing", [0, 1, 2, 3])
@pytest.mark.parametrize("held", [(COIN,), (COIN, COIN // 3, COIN // 5)])
def test_a_stuck_payment_is_bumped_three_times_and_whichever_is_mined_pays_once(
    desk: Desk, landing: int, held: tuple[int, ...]
) -> None:
    to = somebody(f"bumped {landing} {held}")
    coins = desk.coins(*held)
    versions = versions_of(desk, intent_of(to, HALF), coins)
    spent = [{one.outpoint.text for one in parse_tx(each.raw).inputs} for each in versions]
    assert all(one == {coin.outpoint for coin in coins} for one in spent), "all conflict pairwise"
    assert len({each.tx_id for each in versions}) == 4
    if landing == 3:
        desk.node.mine()
    else:
        assert desk.chain.tx_status(versions[landing].tx_id).block is None
        desk.mine_only(versions[landing])
    for number, each in enumerate(versions):
        if number != landing:
            assert desk.send(each) is BroadcastOutcome.UNKNOWN, "a conflict is never a success"
    desk.node.mine(6)
    assert desk.received(to) == [HALF], "paid once"
    landed = [desk.chain.tx_status(each.tx_id) for each in versions]
    assert [one.succeeded for one in landed] == [number == landing for number in range(4)]
    final = desk.chain.final_head()
    assert final is not None
    won = landed[landing]
    assert won.block is not None
    assert (won.block.height <= final.height, won.effect_amount) == (True, HALF)
    paid = sum(one.amount for one in parse_tx(versions[landing].raw).outputs)
    assert won.fee == sum(held) - paid
    outpoints = [coin.outpoint for coin in coins]
    assert desk.chain.spent_coins(outpoints, desk.chain.head()) == set(outpoints)


def test_a_replacement_whose_change_is_used_up_takes_more_coins(desk: Desk) -> None:
    to = somebody("more coins")
    first, second = desk.coins(HALF + 1_200, COIN)
    intent = intent_of(to, HALF)
    sent = desk.signed(intent, [first])
    assert desk.send(sent) is BroadcastOutcome.ACCEPTED
    current = desk.chain.rate_of(desk.unsigned(intent, [first]).payload)
    rate = desk.chain.bump(FeeRate(20, 20), current=current)
    with pytest.raises(Refused) as refused:
        desk.unsigned(intent, [first], rate)
    assert refused.value.reason is Reason.EXCEEDS_AVAILABLE
    dearer = desk.signed(intent, [first, second], rate)
    assert desk.send(dearer) is BroadcastOutcome.ACCEPTED
    assert not desk.chain.tx_status(sent.tx_id).known
    desk.node.mine()
    assert desk.received(to) == [HALF]


def test_a_replacement_without_its_former_change_pays_enough_to_replace(desk: Desk) -> None:
    """BIP-125 counts whole fees: a transaction that loses its change output is smaller."""
    to = somebody("no change left")
    coins = desk.coins(*[60_000] * 10)
    size = desk.chain.fee_units(intent_of(to, 1_000), coins)
    intent = intent_of(to, 600_000 - 40 * size - 400)
    first = desk.signed(intent, coins, FeeRate(40, 40))
    assert len(parse_tx(first.raw).outputs) == 2
    assert desk.send(first) is BroadcastOutcome.ACCEPTED
    rate = desk.chain.bump(FeeRate(1, 1), current=FeeRate(40, 40))
    with pytest.raises(Refused) as refused:
        desk.signed(intent, coins, rate)
    assert refused.value.reason is Reason.EXCEEDS_AVAILABLE


def test_below_the_relay_step_a_replacement_is_not_taken_and_at_it_it_is(desk: Desk) -> None:
    intent, coins = intent_of(somebody("step"), HALF), desk.coins(COIN)
    assert desk.send(desk.signed(intent, coins, RATE)) is BroadcastOutcome.ACCEPTED
    same = desk.signed(replace(intent, amount=HALF - 1), coins, RATE)
    assert desk.send(same) is BroadcastOutcome.UNKNOWN
    raised = desk.signed(intent, coins, desk.chain.bump(RATE, current=RATE))
    assert desk.send(raised) is BroadcastOutcome.ACCEPTED
    desk.node.mine()


# ---- batches and sweeps -----------------------------------------------------------------------


def test_a_batch_pays_all_of_its_items_in_one_transaction(desk: Desk) -> None:
    items = tuple(
        SpendItem(f"withdrawal-{n}", somebody(f"item {n}"), 10_000 + n) for n in range(20)
    )
    source = address_of(HOT)
    total = sum(one.amount for one in items)
    intent = intent_of(source, total, kind=SpendKind.BATCH, items=items)
    coins = desk.coins(COIN)
    assert desk.chain.payable_items(intent) == (True,) * 20
    signed = desk.signed(intent, desk.chain.choose(intent, coins, rate=RATE))
    assert desk.send(signed) is BroadcastOutcome.ACCEPTED
    assert desk.chain.tx_status(signed.tx_id).items == ()
    desk.node.mine()
    status = desk.chain.tx_status(signed.tx_id)
    assert status.items == tuple(ItemStatus(paid=True, amount=one.amount) for one in items)
    assert status.effect_amount == total
    assert [desk.received(one.destination) for one in items] == [[one.amount] for one in items]
    alone = [desk.chain.fee_units(intent_of(one.destination, one.amount)) for one in items]
    assert desk.chain.fee_units(intent) < sum(alone) / 3


def test_a_batch_with_one_bad_item_or_too_many_is_not_built(desk: Desk) -> None:
    good = SpendItem("withdrawal-1", STRANGER, 10_000)
    table = {
        Reason.INVALID_ADDRESS: (good, replace(good, cause_id="2", destination="nowhere")),
        Reason.BELOW_MINIMUM: (good, replace(good, cause_id="2", amount=293)),
        Reason.SAME_ACCOUNT: (good, replace(good, cause_id="2", destination=address_of(HOT))),
        Reason.TOO_LARGE: tuple(replace(good, cause_id=str(n)) for n in range(21)),
        Reason.INTENT_MISMATCH: (good, good),
    }
    for reason, items in table.items():
        total = sum(one.amount for one in items)
        intent = intent_of(address_of(HOT), total, kind=SpendKind.BATCH, items=items)
        with pytest.raises(Refused) as refused:
            desk.chain.fee_units(intent)
        assert refused.value.reason is reason


def test_a_sweep_gathers_many_deposit_addresses_and_leaves_nothing(desk: Desk) -> None:
    keys = [KeyRef("deposits", number) for number in range(5)]
    coins = [coin for key in keys for coin in desk.coins(30_000 + key.index, 600, key=key)]
    source, hot = address_of(keys[0]), address_of(HOT)
    draft = intent_of(hot, 1_000, kind=SpendKind.SWEEP, source=source)
    rate = FeeRate(12, 12)
    chosen = desk.chain.choose(draft, coins, rate=rate)
    assert sorted(coin.amount for coin in chosen) == [30_000 + n for n in range(5)]
    fee = rate.max_rate * desk.chain.fee_units(draft, chosen)
    intent = replace(draft, amount=sum(coin.amount for coin in chosen) - fee)
    unsigned = desk.unsigned(intent, chosen, rate)
    decoded = desk.chain.decode(unsigned.payload, sender=source)
    assert [(one.destination, one.amount) for one in decoded.effects] == [(hot, intent.amount)]
    assert decoded.fee_max == fee
    signed = desk.signed(intent, chosen, rate)
    assert desk.send(signed) is BroadcastOutcome.ACCEPTED
    desk.node.mine()
    status = desk.chain.tx_status(signed.tx_id)
    assert (status.effect_amount, status.fee) == (intent.amount, fee)
    assert all(desk.received(address_of(key)) == [600] for key in keys), "dust stays where it is"


def test_a_cancellation_takes_the_coins_from_under_a_payment(desk: Desk) -> None:
    to, source, coins = somebody("cancelled"), address_of(HOT), desk.coins(COIN)
    paying = desk.signed(intent_of(to, HALF), coins)
    assert desk.send(paying) is BroadcastOutcome.ACCEPTED
    cancellation = intent_of(source, 0, kind=SpendKind.CANCELLATION)
    rate = desk.chain.bump(RATE, current=RATE)
    taking = desk.signed(cancellation, desk.chain.choose(cancellation, coins, rate=rate), rate)
    assert desk.send(taking) is BroadcastOutcome.ACCEPTED
    desk.node.mine()
    status = desk.chain.tx_status(taking.tx_id)
    assert (status.succeeded, status.effect_amount, status.items) == (True, 0, ())
    assert not desk.chain.tx_status(paying.tx_id).known
    assert desk.received(to) == []


# ---- what it would do -------------------------------------------------------------------------


def test_a_simulation_says_what_arrives_and_sends_nothing(desk: Desk) -> None:
    to, source, coins = somebody("simulated"), address_of(HOT), desk.coins(COIN)
    owned = sum(desk.received(source))
    unsigned = desk.unsigned(intent_of(to, HALF), coins)
    ran = desk.chain.simulate(unsigned)
    assert (ran.succeeded, ran.others, ran.detail, ran.at) == (True, (), "", desk.chain.head())
    assert set(ran.changes) == {
        BalanceChange(source, "native", owned, owned - HALF),
        BalanceChange(to, "native", 0, HALF),
    }
    desk.node.mine()
    assert desk.received(to) == []


def test_a_simulation_over_a_coin_that_is_spent_fails_with_its_name(desk: Desk) -> None:
    coins = desk.coins(COIN)
    unsigned = desk.unsigned(intent_of(somebody("late"), HALF), coins)
    assert desk.send(desk.signed(intent_of(STRANGER, HALF), coins)) is BroadcastOutcome.ACCEPTED
    ran = desk.chain.simulate(unsigned)
    assert (ran.succeeded, ran.changes) == (False, ())
    assert coins[0].outpoint in ran.detail
    desk.node.mine()
    assert not desk.chain.simulate(unsigned).succeeded


# ---- a payment to us that pays too little -----------------------------------------------------


def test_a_child_lifts_a_payment_that_no_miner_takes(desk: Desk) -> None:
    with start_core(extra=("-blockmintxfee=0.00005",)) as picky:
        mint = Mint(picky)
        with closing(open_chain(picky.url, params=OF_CHAIN)) as chain:
            there, deposit = Desk(picky, mint, chain), KeyRef("deposits", 3)
            to, hot = there.address(deposit), there.address(HOT)
            low = there.signed(intent_of(to, HALF), there.coins(COIN), FeeRate(1, 1))
            assert there.send(low) is BroadcastOutcome.ACCEPTED
            picky.mine(2)
            assert chain.tx_status(low.tx_id).block is None, "the control: it is stuck"
            place = [one.amount for one in parse_tx(low.raw).outputs].index(HALF)
            coin = Coin(f"{low.tx_id}:{place}", to, HALF)
            draft, rate = intent_of(hot, 1_000, kind=SpendKind.SWEEP, source=to), FeeRate(5, 5)
            fee = chain.child_fee(low.tx_id, draft, coin, rate=rate)
            child = there.signed(replace(draft, amount=HALF - fee), [coin], FeeRate(1, 1))
            with closing(RpcClient(picky.url)) as client:
                assert submit(BitcoinNode(client), [low.raw, child.raw]) == {}
            entry = picky.call("getmempoolentry", child.tx_id)
            assert round(entry["fees"]["ancestor"] * COIN) >= 5 * entry["ancestorsize"]
            with pytest.raises(Refused):
                chain.child_fee(child.tx_id, draft, coin, rate=rate)
            picky.mine()
            blocks = [chain.tx_status(one.tx_id).block for one in (low, child)]
            assert blocks == [chain.head()] * 2, "one block has both"


def test_the_rate_follows_what_blocks_were_really_paid() -> None:
    with start_core() as fresh:
        mint = Mint(fresh)
        with closing(open_chain(fresh.url, params=OF_CHAIN)) as chain:
            there = Desk(fresh, mint, chain)
            there.address(HOT)
            coins = there.coins(*[COIN // 10] * 8)
            fresh.mine(6)
            assert chain.fee_rate().max_rate == OF_CHAIN.fee_floor, "empty blocks say nothing"
            for number, coin in enumerate(coins):
                paid = intent_of(somebody(f"paid {number}"), 100_000)
                sent = there.signed(paid, [coin], FeeRate(30, 30))
                assert there.send(sent) is BroadcastOutcome.ACCEPTED
                fresh.mine()
            assert chain.fee_rate().max_rate in (30, 31)
