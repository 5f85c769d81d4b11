"""Sending on a real node: what it says means what we take it for, and one payment lands, once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest

from chains.base import (
    BroadcastOutcome,
    Coin,
    FeeRate,
    ItemStatus,
    SignedTx,
    SpendIntent,
    SpendItem,
    SpendKind,
    UnsignedTx,
)
from chains.bitcoin.address import script_of
from chains.bitcoin.bech32 import write_program
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import parse_tx
from core.errors import Reason, Refused
from custody.keys.signers import KeyRef
from infra.devnet.coin_nodes import MINER, CoreNode, start_core
from tests.support.bitcoin import (
    HOT,
    LOCAL,
    PARAMS,
    SIGNER,
    STRANGER,
    address_of,
    intent_of,
    named,
    open_chain,
)
from tests.support.coin_money import Mint
from tests.support.faults import Body, Close, Error, Fault, Hang, Reset, Result, Status
from tests.support.proxy import FaultProxy

RATE = FeeRate(5, 5)
OF_CHAIN = replace(PARAMS, batch_max=20)
HALF = COIN // 2


def somebody(name: str) -> str:
    """Return an address that nobody here has a key for."""
    return write_program("bcrt", 0, hashlib.sha256(name.encode()).digest()[:20])


@dataclass(slots=True)
class Desk:
    """A node, the chain over it, and whoever signs."""

    node: CoreNode
    mint: Mint
    chain: BitcoinChain
    keys: dict[str, KeyRef] = field(default_factory=lambda: {address_of(HOT): HOT})

    def coins(self, *amounts: int, key: KeyRef = HOT) -> tuple[Coin, ...]:
        """Return fresh coins of an own key."""
        self.keys[address_of(key)] = key
        return named(self.mint.pay(address_of(key), *amounts), address_of(key))

    def unsigned(
        self, intent: SpendIntent, coins: Sequence[Coin], rate: FeeRate = RATE
    ) -> UnsignedTx:
        """Build as custody does."""
        units = self.chain.fee_units(intent, coins)
        return self.chain.build(intent, nonce=0, rate=rate, units=units, coins=coins)

    def signed(self, intent: SpendIntent, coins: Sequence[Coin], rate: FeeRate = RATE) -> SignedTx:
        """Build, judge, sign and join."""
        unsigned = self.unsigned(intent, coins, rate)
        decoded = self.chain.decode(unsigned.payload, sender=unsigned.sender)
        signatures = [SIGNER.sign(self.keys[one.owner], one.digest) for one in decoded.inputs]
        return self.chain.assemble(unsigned, b"".join(signatures))

    def send(self, signed: SignedTx) -> BroadcastOutcome:
        """Send bytes."""
        return self.chain.broadcast(signed.raw).outcome

    def mine_only(self, signed: SignedTx) -> None:
        """Make a block of exactly this transaction, whatever waits in the pool."""
        self.node.call("generateblock", MINER, [signed.raw.hex()])

    def received(self, address: str) -> list[int]:
        """Return the unspent coins of an address, as the node itself finds them."""
        found = self.node.call("scantxoutset", "start", [f"addr({address})"])
        return sorted(round(one["amount"] * COIN) for one in found["unspents"])


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


# ---- what nodes answer ------------------------------------------------------------------------


def test_R06_a_payout_that_was_reorganised_out_lands_again_by_the_same_bytes(desk: Desk) -> None:
    to = somebody("reorganised out")
    signed = desk.signed(intent_of(to, HALF), desk.coins(COIN))
    assert desk.send(signed) is BroadcastOutcome.ACCEPTED
    left = desk.node.mine()[0]
    assert desk.chain.tx_status(signed.tx_id).succeeded
    desk.node.call("invalidateblock", left)
    # The other branch does not have it: empty blocks, made without the pool.
    for _ in range(2):
        desk.node.call("generateblock", MINER, [])
    status = desk.chain.tx_status(signed.tx_id)
    assert (status.known, status.block, status.succeeded) == (True, None, False)
    assert desk.received(to) == []
    assert desk.send(signed) in (BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN)
    desk.node.mine()
    assert desk.chain.tx_status(signed.tx_id).succeeded
    assert desk.received(to) == [HALF], "the same bytes, paid once"


def test_the_same_bytes_again_are_known_in_the_pool_and_in_a_block(desk: Desk) -> None:
    signed = desk.signed(intent_of(STRANGER, HALF), desk.coins(COIN))
    outcomes = [desk.send(signed) for _ in range(3)]
    assert outcomes == [
        BroadcastOutcome.ACCEPTED,
        BroadcastOutcome.ALREADY_KNOWN,
        BroadcastOutcome.ALREADY_KNOWN,
    ]
    desk.node.mine()
    result = desk.chain.broadcast(signed.raw)
    assert result.outcome is BroadcastOutcome.ALREADY_KNOWN
    assert "already in utxo set" in result.detail.lower()


def test_what_only_the_state_refuses_is_unknown_and_what_no_state_takes_is_rejected(
    desk: Desk,
) -> None:
    coins = desk.coins(COIN)
    signed = desk.signed(intent_of(STRANGER, HALF), coins)
    tx = parse_tx(signed.raw)
    spent = replace(tx.inputs[0], outpoint=replace(tx.inputs[0].outpoint, tx_hash=b"\xab" * 32))
    minted = replace(tx.outputs[0], amount=2 * COIN)
    foreign = replace(tx, witnesses=((tx.witnesses[0][0], SIGNER.public_key(KeyRef("hot", 3))),))
    changed = replace(tx, outputs=(replace(tx.outputs[0], amount=HALF - 1), *tx.outputs[1:]))
    table = {
        "missing coin": (replace(tx, inputs=(spent,)).serialise(), BroadcastOutcome.UNKNOWN),
        "more out than in": (
            replace(tx, outputs=(minted,)).serialise(), BroadcastOutcome.REJECTED),
        "coin twice": (
            replace(tx, inputs=tx.inputs * 2, witnesses=tx.witnesses * 2).serialise(),
            BroadcastOutcome.REJECTED),
        "nothing": (b"", BroadcastOutcome.REJECTED),
        "half": (signed.raw[:-5], BroadcastOutcome.REJECTED),
        # The node names rules of its own pool with the same words: a block might take these.
        "another key": (foreign.serialise(), BroadcastOutcome.UNKNOWN),
        "another amount": (changed.serialise(), BroadcastOutcome.UNKNOWN),
    }  # fmt: skip
    for name, (raw, outcome) in table.items():
        result = desk.chain.broadcast(raw)
        assert (name, result.outcome, result.detail) == (name, outcome, result.detail)
    assert desk.send(signed) is BroadcastOutcome.ACCEPTED, "the control"
    desk.node.mine()


def test_a_fee_below_the_pools_least_is_unknown_until_the_pool_takes_it(desk: Desk) -> None:
    cheap = replace(OF_CHAIN, fee_floor=1)
    with start_core(extra=("-minrelaytxfee=0.00003",)) as picky:
        mint = Mint(picky)
        with closing(open_chain(picky.url, params=cheap)) as chain:
            there = Desk(picky, mint, chain)
            coins = there.coins(COIN)
            low = there.signed(intent_of(STRANGER, HALF), coins, FeeRate(1, 1))
            assert there.send(low) is BroadcastOutcome.UNKNOWN
            assert chain.fee_rate().max_rate >= 3, "the node's own least is known"
            good = there.signed(intent_of(STRANGER, HALF), coins, chain.fee_rate())
            assert there.send(good) is BroadcastOutcome.ACCEPTED


SEND = "sendrawtransaction"
REPLIES: dict[str, tuple[Fault, BroadcastOutcome]] = {
    "timeout after forwarding": (Hang(after_forwarding=True), BroadcastOutcome.UNKNOWN),
    "closed after forwarding": (Close(after_forwarding=True), BroadcastOutcome.UNKNOWN),
    "reset after forwarding": (Reset(after_forwarding=True), BroadcastOutcome.UNKNOWN),
    "reset before": (Reset(), BroadcastOutcome.UNKNOWN),
    "already known": (
        Error(-26, "txn-already-in-mempool", after_forwarding=True),
        BroadcastOutcome.ALREADY_KNOWN,
    ),
    "already known, a lie": (
        Error(-27, "Transaction outputs already in utxo set"),
        BroadcastOutcome.ALREADY_KNOWN,
    ),
    "missing inputs": (
        Error(-25, "bad-txns-inputs-missingorspent", after_forwarding=True),
        BroadcastOutcome.UNKNOWN,
    ),
    "conflict": (Error(-26, "txn-mempool-conflict"), BroadcastOutcome.UNKNOWN),
    "insufficient fee": (
        Error(-26, "insufficient fee, rejecting replacement", after_forwarding=True),
        BroadcastOutcome.UNKNOWN,
    ),
    "too low a fee": (Error(-26, "min relay fee not met, 10 < 141"), BroadcastOutcome.UNKNOWN),
    "rejected, a lie": (
        Error(-26, "bad-txns-in-belowout, value in (1.0) < value out", after_forwarding=True),
        BroadcastOutcome.REJECTED,
    ),
    "null": (Result(None), BroadcastOutcome.UNKNOWN),
    "another transaction": (Result("11" * 32), BroadcastOutcome.UNKNOWN),
    "garbage": (Body(b"<html>busy</html>"), BroadcastOutcome.UNKNOWN),
    "unavailable": (Status(503, after_forwarding=True), BroadcastOutcome.UNKNOWN),
}


def test_W11_whatever_a_node_answers_the_outcome_is_none_it_does_not_prove(
    desk: Desk, node: CoreNode
) -> None:
    coins = desk.coins(*[HALF] * len(REPLIES))
    with FaultProxy(node.url) as proxy:
        opened = open_chain(proxy.url, params=OF_CHAIN, timeout_ms=1_500)
        with closing(opened) as chain:
            sent = {}
            for (name, (fault, outcome)), coin in zip(REPLIES.items(), coins, strict=True):
                signed = desk.signed(intent_of(somebody(name), 100_000), [coin])
                rule = proxy.add(fault, SEND, times=1)
                assert (name, chain.broadcast(signed.raw).outcome) == (name, outcome)
                assert rule.count == 1, "the fault really happened"
                sent[name] = signed
            # The chain, not the answer, says what became of each; the same bytes go again.
            for name, signed in sent.items():
                again = chain.broadcast(signed.raw).outcome
                assert again in (BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN), name
    desk.node.mine()
    for name, signed in sent.items():
        assert (name, desk.chain.tx_status(signed.tx_id).succeeded) == (name, True)
        assert (name, desk.received(somebody(name))) == (name, [100_000])


def test_W11_with_several_nodes_the_best_answer_counts(desk: Desk, node: CoreNode) -> None:
    (coin,) = desk.coins(COIN)
    signed = desk.signed(intent_of(STRANGER, HALF), [coin])
    with FaultProxy(node.url) as proxy:
        rule = proxy.add(Error(-26, "bad-txns-vin-empty"), SEND)
        with closing(open_chain(proxy.url, node.url, params=OF_CHAIN, quorum=2)) as chain:
            assert chain.broadcast(signed.raw).outcome is BroadcastOutcome.ACCEPTED
        assert rule.count == 1
    desk.node.mine()
    assert desk.chain.tx_status(signed.tx_id).succeeded


# ---- destinations -----------------------------------------------------------------------------


def test_W12_no_bad_destination_is_built(desk: Desk) -> None:
    coins = desk.coins(COIN)
    program = script_of(STRANGER, LOCAL)[2:]
    mixed_up = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq" + "c8gma6"
    table = {
        "taproot with the other checksum": (
            mixed_up[:-6] + "qqqqqq", Reason.INVALID_ADDRESS),
        "another network's human part": (
            write_program("bc", 0, program), Reason.WRONG_NETWORK),
        "another network, old kind": (
            "1KFHE7w8BhaENAswwryaoccDb6qcT6DbYY", Reason.WRONG_NETWORK),
        "trailing space": (STRANGER + " ", Reason.INVALID_ADDRESS),
        "a Cyrillic letter": (STRANGER.replace("c", "\u0441", 1), Reason.INVALID_ADDRESS),
        "mixed case": (STRANGER[:-4] + STRANGER[-4:].upper(), Reason.INVALID_ADDRESS),
        "nobody's program": (
            write_program("bcrt", 0, bytes(20)), Reason.FORBIDDEN_DESTINATION),
        "a program without rules": (
            write_program("bcrt", 2, bytes(range(32))), Reason.FORBIDDEN_DESTINATION),
    }  # fmt: skip
    for name, (text, reason) in table.items():
        for call in (
            lambda text=text: desk.chain.parse_address(text),
            lambda text=text: desk.unsigned(intent_of(text, HALF), coins),
        ):
            with pytest.raises(Refused) as refused:
                call()
            assert (name, refused.value.reason) == (name, reason)
    assert desk.unsigned(intent_of(mixed_up, HALF), coins).fee_max, "the control"
