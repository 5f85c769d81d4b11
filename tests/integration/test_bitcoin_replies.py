"""What a real node says of sent bytes (W11, R06), and what is never built (W12)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from chains.base import (
    BroadcastOutcome,
    FeeRate,
)
from chains.bitcoin.address import script_of
from chains.bitcoin.bech32 import write_program
from chains.bitcoin.params import COIN
from chains.bitcoin.tx import parse_tx
from core.errors import Reason, Refused
from custody.keys.signers import KeyRef
from infra.devnet.coin_nodes import MINER, CoreNode, start_core
from tests.support.bitcoin import LOCAL, SIGNER, STRANGER, intent_of, open_chain
from tests.support.coin_desk import HALF, OF_CHAIN, Desk, somebody
from tests.support.coin_money import Mint
from tests.support.faults import Body, Close, Error, Fault, Hang, Reset, Result, Status
from tests.support.proxy import FaultProxy


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
