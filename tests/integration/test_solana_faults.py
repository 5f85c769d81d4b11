"""Nodes that lag, lie, lose blocks or fall silent: no payment is ever missed or invented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chains.base import NATIVE
from chains.rpc import NodesDisagree
from chains.solana.reader import SolanaReader
from core.errors import Unavailable
from infra.devnet.surfpool import LAMPORTS
from infra.devnet.surfpool_front import Front
from tests.support.faults import (
    Body,
    Close,
    Error,
    Fault,
    Huge,
    Result,
    Rewritten,
    Status,
    Truncated,
    WrongId,
)
from tests.support.proxy import FaultProxy
from tests.support.slots import Net, address, payments_at, running_net

BOB = address("bob")


@pytest.fixture
def net() -> Iterator[Net]:
    with running_net() as running:
        yield running


@pytest.fixture
def proxy(net: Net) -> Iterator[FaultProxy]:
    with FaultProxy(net.front.url) as running:
        yield running


def paid_at(net: Net, chain: SolanaReader) -> int:
    """Pay bob in one slot; return it."""
    net.node.pay(BOB, LAMPORTS)
    return net.front.pass_slots()


def is_full(params: Any) -> bool:
    return bool(params[1]["transactionDetails"] == "full")


def rewritten(change: Callable[[dict[str, Any]], object]) -> Rewritten:
    def act(params: Any, result: Any) -> Any:
        change(result)
        return result

    return Rewritten(act)


# ---- N01: what a lagging node does not have -------------------------------------------------


def test_N01_a_lost_block_is_not_a_skipped_slot(net: Net) -> None:
    chain = net.chain()
    slot = paid_at(net, chain)
    net.front.pass_slots(2)
    net.front.forgotten.add(slot)
    with pytest.raises(Unavailable, match="incomplete_block"):
        chain.block_at(slot)
    assert chain.nodes.nodes[0].counters.incomplete == 1
    net.front.forgotten.clear()
    assert [one.amount for one in payments_at(chain, slot, {BOB})] == [LAMPORTS]


def test_N01_several_lost_blocks_in_a_row_are_not_skipped_slots(net: Net) -> None:
    chain = net.chain()
    slot = paid_at(net, chain)
    net.front.skip(2)
    last = net.front.pass_slots(3)
    skipped = [chain.block_at(slot + 1), chain.block_at(slot + 2)]
    net.front.forgotten.update({slot, last - 2, last - 1})
    for unknown in range(slot, last):
        with pytest.raises(Unavailable):
            chain.block_at(unknown)
    net.front.forgotten.remove(last - 2)
    net.front.forgotten.remove(last - 1)
    assert [chain.block_at(slot + 1), chain.block_at(slot + 2)] == skipped
    with pytest.raises(Unavailable):
        chain.block_at(slot)


def test_N01_what_a_node_has_not_finalized_is_not_there_and_not_empty(
    net: Net, proxy: FaultProxy
) -> None:
    chain = net.chain(proxy.url)
    slot = paid_at(net, chain)
    block = chain.block_at(slot)
    assert block is not None
    for fault in (Error(-32004, "Block not available"), Result(None)):
        rule = proxy.add(fault, "getBlock")
        assert chain.block_at(slot) is None
        with pytest.raises(Unavailable):
            chain.payments_in(block, {BOB})
        assert rule.count == 2
        rule.stop()
    assert len(chain.payments_in(block, {BOB})) == 1


def test_N01_a_short_block_is_outvoted_and_never_credited_less(net: Net, proxy: FaultProxy) -> None:
    with Front(net.node) as third:
        chain = net.chain(proxy.url, net.front.url, third.url)
        slot = paid_at(net, chain)
        short = proxy.add(
            rewritten(lambda block: block["transactions"].pop()), "getBlock", when=is_full
        )
        assert [one.amount for one in payments_at(chain, slot, {BOB})] == [LAMPORTS]
        assert short.count == 1
        assert chain.nodes.nodes[0].counters.minority == 1
    pair = net.chain(proxy.url, net.front.url)
    with pytest.raises(NodesDisagree):
        payments_at(pair, slot, {BOB})
    short.stop()
    assert len(payments_at(pair, slot, {BOB})) == 1


# ---- N02: nodes on different branches -------------------------------------------------------


def test_N02_a_minority_on_another_branch_changes_nothing(net: Net) -> None:
    with Front(net.node) as second, Front(net.node) as third:
        chain = net.chain(net.front.url, second.url, third.url)
        slot = paid_at(net, chain)
        honest = chain.block_at(slot)
        third.branch = (slot, "minority")
        assert chain.block_at(slot) == honest
        assert [one.amount for one in payments_at(chain, slot, {BOB})] == [LAMPORTS]
        assert chain.balance_of(BOB, NATIVE, chain.head()) == LAMPORTS


def test_N02_no_quorum_credits_nobody(net: Net) -> None:
    with Front(net.node) as second, Front(net.node) as third:
        chain = net.chain(net.front.url, second.url, third.url)
        slot = paid_at(net, chain)
        second.branch, third.branch = (slot, "second"), (slot, "third")
        with pytest.raises(NodesDisagree):
            chain.block_at(slot)
        with pytest.raises(NodesDisagree):
            chain.head()
        below = chain.block_at(slot - 1)
        assert below is not None
        second.branch = None
        assert [one.amount for one in payments_at(chain, slot, {BOB})] == [LAMPORTS]


def test_N02_two_that_lie_together_are_a_quorum_and_the_third_is_counted(net: Net) -> None:
    """What a majority says is believed: that is what a quorum is, and the third one shows it."""
    with Front(net.node) as second, Front(net.node) as third:
        chain = net.chain(net.front.url, second.url, third.url)
        slot = paid_at(net, chain)
        second.branch = third.branch = (slot, "together")
        lie = chain.block_at(slot)
        assert lie is not None
        assert chain.nodes.nodes[0].counters.minority >= 1


def test_a_node_behind_is_waited_for_only_while_it_is_needed(net: Net) -> None:
    with Front(net.node, lag=5) as behind, Front(net.node) as third:
        pair, trio = (
            net.chain(net.front.url, behind.url),
            net.chain(net.front.url, behind.url, third.url),
        )
        net.front.pass_slots(10)
        slot = paid_at(net, pair)
        assert pair.head().height == slot - 5
        assert pair.block_at(slot) is None
        assert trio.head().height == slot
        assert [one.amount for one in payments_at(trio, slot, {BOB})] == [LAMPORTS]


# ---- N04: what one node makes up ------------------------------------------------------------


def failing(block: dict[str, Any]) -> None:
    block["transactions"][-1]["meta"]["err"] = {"InstructionError": [0, "Custom"]}


def tenfold(block: dict[str, Any]) -> None:
    meta = block["transactions"][-1]["meta"]
    meta["postBalances"] = [10 * amount for amount in meta["postBalances"]]


def twice(block: dict[str, Any]) -> None:
    block["transactions"].append(block["transactions"][-1])


@pytest.mark.parametrize("lie", [failing, tenfold, twice])
def test_N04_a_made_up_outcome_is_outvoted(
    lie: Callable[[dict[str, Any]], None], net: Net, proxy: FaultProxy
) -> None:
    with Front(net.node) as third:
        chain = net.chain(proxy.url, net.front.url, third.url)
        slot = paid_at(net, chain)
        rule = proxy.add(rewritten(lie), "getBlock", when=is_full)
        assert [one.amount for one in payments_at(chain, slot, {BOB})] == [LAMPORTS]
        assert rule.count == 1


def fewer_balances(block: dict[str, Any]) -> None:
    block["transactions"][-1]["meta"]["postBalances"].pop()


def no_inner(block: dict[str, Any]) -> None:
    block["transactions"][-1]["meta"]["innerInstructions"] = None


def text_amount(block: dict[str, Any]) -> None:
    block["transactions"][-1]["meta"]["postBalances"][0] = "12"


def huge_amount(block: dict[str, Any]) -> None:
    block["transactions"][-1]["meta"]["postBalances"][0] = 2**64


def other_version(block: dict[str, Any]) -> None:
    block["transactions"][-1]["version"] = 7


def no_outcome(block: dict[str, Any]) -> None:
    del block["transactions"][-1]["meta"]["err"]


def other_hash(block: dict[str, Any]) -> None:
    block["blockhash"] = address("another block")


def cut_bytes(block: dict[str, Any]) -> None:
    block["transactions"][-1]["transaction"][0] = block["transactions"][-1]["transaction"][0][:-4]


CONTRADICTIONS = (
    fewer_balances, no_inner, text_amount, huge_amount, other_version, no_outcome, other_hash,
    cut_bytes,
)  # fmt: skip


@pytest.mark.parametrize("change", CONTRADICTIONS)
def test_an_answer_that_contradicts_itself_is_never_read(
    change: Callable[[dict[str, Any]], None], net: Net, proxy: FaultProxy
) -> None:
    chain = net.chain(proxy.url)
    slot = paid_at(net, chain)
    rule = proxy.add(rewritten(change), "getBlock", when=is_full)
    with pytest.raises(Unavailable):
        payments_at(chain, slot, {BOB})
    assert rule.count == 1
    rule.stop()
    assert [one.amount for one in payments_at(chain, slot, {BOB})] == [LAMPORTS]


def test_an_unknown_version_stops_the_follower_and_is_never_skipped(
    net: Net, proxy: FaultProxy
) -> None:
    chain = net.chain(proxy.url)
    slot = paid_at(net, chain)
    words = "Transaction version (2) is not supported by the requesting client"
    refused = proxy.add(Error(-32015, words), "getBlock", when=is_full)
    for _ in range(3):
        with pytest.raises(Unavailable, match="unknown_version"):
            payments_at(chain, slot, {BOB})
    assert refused.count == 3


# ---- N07: silence, storms, floods -----------------------------------------------------------


FAULTS: tuple[Fault, ...] = (
    Status(429), Status(503), Close(), Body(b"<html>login</html>"), Body(b""), Truncated(),
    Truncated(honest_length=True), WrongId(), Body(b"[" * 200_000), Result("nonsense"),
    Result([]), Result(-1), Error(-32005, "Node is unhealthy"), Error(0, ""),
    Body(b'{"jsonrpc":"2.0","id":0,"error":"words"}'), Huge(1_000_000),
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_N07_whatever_is_no_answer_is_unavailable_and_then_nothing_was_missed(
    fault: Fault, net: Net, proxy: FaultProxy
) -> None:
    chain = net.chain(proxy.url)
    slot = paid_at(net, chain)
    block = chain.block_at(slot)
    assert block is not None
    rule = proxy.add(fault)
    for question in (
        chain.head,
        chain.check_identity,
        lambda: chain.payments_in(block, {BOB}),
        lambda: chain.balance_of(BOB, NATIVE, block.ref),
        lambda: chain.block_at(slot),
    ):
        with pytest.raises(Unavailable):
            question()
    assert rule.count >= 5
    rule.stop()
    assert chain.block_at(slot) == block
    assert [one.amount for one in chain.payments_in(block, {BOB})] == [LAMPORTS]
    assert chain.balance_of(BOB, NATIVE, block.ref) == LAMPORTS


def test_N07_a_page_that_repeats_is_no_news(net: Net, proxy: FaultProxy) -> None:
    """The list of blocks above a skipped slot names one below: that is no block above it."""
    chain = net.chain(proxy.url)
    slot = paid_at(net, chain)
    net.front.skip()
    net.front.pass_slots()
    rule = proxy.add(Result([slot]), "getBlocksWithLimit")
    with pytest.raises(Unavailable):
        chain.block_at(slot + 1)
    rule.stop()
    assert chain.block_at(slot + 1) is not None


def test_finality_that_stands_still_shows_nothing_new(net: Net) -> None:
    chain = net.chain()
    net.front.freeze()
    head = chain.head()
    net.node.pay(BOB, LAMPORTS)
    net.front.pass_slots(40)
    assert chain.head() == head == chain.final_head()
    assert chain.block_at(head.height + 1) is None
    net.front.thaw()
    assert chain.head().height == head.height + 40
    assert len(payments_at(chain, head.height + 1, {BOB})) == 1
