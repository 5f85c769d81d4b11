"""Nodes that lie or lag: cases N01 and N04, each with a control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chains.base import NATIVE
from chains.evm.block import IncompleteBlock
from chains.evm.chain import EvmChain
from core.errors import Unavailable
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from tests.support.evm import (
    ETHER,
    Opener,
    brief,
    listed,
    payments_of,
    watched_address,
)
from tests.support.faults import (
    Error,
    Result,
    Rewritten,
    Routed,
)
from tests.support.proxy import FaultProxy

ALICE, BOB = watched_address(1), watched_address(2)
WATCHED = {ALICE, BOB}
FULL_BLOCK = "eth_getBlockByHash"
RECEIPTS = "eth_getBlockReceipts"


def edited(change: Callable[[Any], None]) -> Rewritten:
    """Answer with what `change` made of the node's answer."""

    def apply(_: Any, result: Any) -> Any:
        change(result)
        return result

    return Rewritten(apply)


def test_N01_an_empty_answer_for_logs_is_an_alarm_and_the_deposit_is_found_later(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, token: Contract
) -> None:
    sent = token.send("transfer", ALICE, 250)
    rule = proxy.add(Rewritten(lambda _, result: []), "eth_getLogs")
    with pytest.raises(IncompleteBlock, match="0 Transfer logs answered, 1 proven"):
        payments_of(chain, anvil, sent, WATCHED)
    assert rule.count == 1
    assert chain.nodes.nodes[0].counters.incomplete == 1
    proxy.clear()
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]


def test_N01_a_node_that_lags_twenty_blocks_is_asked_by_hash_and_found_out(
    chain: EvmChain,
    proxy: FaultProxy,
    anvil: AnvilNode,
    token: Contract,
    start_node: Callable[..., AnvilNode],
) -> None:
    lagging = start_node()
    sent = token.send("transfer", ALICE, 250)
    anvil.mine(20)
    rules = [
        proxy.add(Routed(lagging.url), method) for method in ("eth_getLogs", RECEIPTS, FULL_BLOCK)
    ]
    with pytest.raises(Unavailable, match=r"unknown block|incomplete_block"):
        payments_of(chain, anvil, sent, WATCHED)
    assert all(rule.count for rule in rules)
    proxy.clear()
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]


def test_N01_another_node_that_can_prove_the_block_serves_at_once(
    proxy: FaultProxy, anvil: AnvilNode, token: Contract, open_on: Opener
) -> None:
    chain = open_on(proxy.url, anvil.url, assets=[listed(token.address)])
    sent = token.send("transfer", ALICE, 250)
    rule = proxy.add(Result([]), RECEIPTS)
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]
    assert rule.count == 1
    assert chain.nodes.nodes[0].counters.incomplete == 1


def scale_amount(rows: list[Any]) -> None:
    """Multiply the amount of the last Transfer by ten."""
    log = rows[-1]["logs"][-1] if "logs" in rows[-1] else rows[-1]
    log["data"] = "0x" + (int(log["data"], 16) * 10).to_bytes(32, "big").hex()


def redirect(rows: list[Any]) -> None:
    """Let the last Transfer pay somebody else."""
    rows[-1]["logs"][-1]["topics"][2] = "0x" + "00" * 12 + BOB[2:].lower()


def repeat_log(rows: list[Any]) -> None:
    """Let the last event have happened twice."""
    rows[-1]["logs"].append(rows[-1]["logs"][-1])


@pytest.mark.parametrize(
    "change",
    [
        scale_amount,
        redirect,
        repeat_log,
        lambda rows: rows[-1]["logs"].clear(),
        lambda rows: rows.pop(),
        lambda rows: rows.append(rows[-1]),
        lambda rows: rows[-1].update(status="0x0"),
        lambda rows: rows[-1].update(cumulativeGasUsed="0x1"),
        lambda rows: rows[-1].update(transactionHash="0x" + "11" * 32),
    ],
)
def test_N04_falsified_receipts_are_never_credited(
    chain: EvmChain,
    proxy: FaultProxy,
    anvil: AnvilNode,
    token: Contract,
    change: Callable[[list[Any]], None],
) -> None:
    sent = token.send("transfer", ALICE, 250)
    rule = proxy.add(edited(change), RECEIPTS)
    with pytest.raises(IncompleteBlock):
        payments_of(chain, anvil, sent, WATCHED)
    assert rule.count == 1
    proxy.clear()
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]


def test_N04_one_consistent_lie_in_logs_and_receipts_is_found_by_the_root(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, token: Contract
) -> None:
    sent = token.send("transfer", ALICE, 250)
    rules = [
        proxy.add(edited(scale_amount), RECEIPTS),
        proxy.add(edited(scale_amount), "eth_getLogs"),
    ]
    with pytest.raises(IncompleteBlock, match="receiptsRoot"):
        payments_of(chain, anvil, sent, WATCHED)
    assert [rule.count for rule in rules] == [1, 1]


def test_N04_a_failed_payment_turned_into_a_success_is_found(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, contracts: Deployer
) -> None:
    payer = contracts.deploy("Payer")
    sent = payer.send("payThenRevert", ALICE, ETHER, value=ETHER, gas=300_000)
    assert payments_of(chain, anvil, sent, WATCHED) == []
    chain.forget()
    rule = proxy.add(edited(lambda rows: rows[-1].update(status="0x1")), RECEIPTS)
    with pytest.raises(IncompleteBlock, match="receiptsRoot"):
        payments_of(chain, anvil, sent, WATCHED)
    assert rule.count == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda tx: tx.update(value=hex(10 * int(tx["value"], 16))),
        lambda tx: tx.update(to=BOB.lower()),
        lambda tx: tx.update(nonce=hex(int(tx["nonce"], 16) + 1)),
        lambda tx: tx.update(maxFeePerGas="0x1"),
        lambda tx: tx.update(type="0x7e"),
        lambda tx: tx.update(hash="0x" + "11" * 32),
    ],
)
def test_N04_falsified_transactions_are_never_credited(
    chain: EvmChain,
    proxy: FaultProxy,
    anvil: AnvilNode,
    contracts: Deployer,
    change: Callable[[Any], None],
) -> None:
    sent = contracts.pay(ALICE, 250)
    rule = proxy.add(edited(lambda block: change(block["transactions"][0])), FULL_BLOCK)
    with pytest.raises(IncompleteBlock):
        payments_of(chain, anvil, sent, WATCHED)
    assert rule.count == 1
    proxy.clear()
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]


@pytest.mark.parametrize("field", ["stateRoot", "logsBloom", "gasUsed", "timestamp", "parentHash"])
def test_N04_a_header_that_does_not_hash_to_its_name_is_no_block(
    chain: EvmChain, proxy: FaultProxy, field: str
) -> None:
    head = chain.head()
    rule = proxy.add(
        edited(lambda block: block.update({field: block["parentHash"][:4] + block[field][4:]}))
        if field != "parentHash"
        else edited(lambda block: block.update(parentHash="0x" + "11" * 32)),
        "eth_getBlockByNumber",
    )
    if field in ("gasUsed", "timestamp"):
        rule.stop()
        rule = proxy.add(edited(lambda block: block.update({field: "0x1"})), "eth_getBlockByNumber")
    with pytest.raises(IncompleteBlock, match="does not hash"):
        chain.block_at(head.height)
    assert rule.count == 1


def last_frame(rows: list[Any]) -> Any:
    """Return what the last frame of either dialect says: (frame, its fields)."""
    if "action" in rows[-1]:
        return rows[-1], rows[-1]["action"]
    frame = rows[-1]["result"]["calls"][-1]
    return frame, frame


def raise_trace(rows: list[Any]) -> None:
    """Multiply what the last frame moved by ten."""
    _, fields = last_frame(rows)
    fields["value"] = hex(10 * int(fields["value"], 16))


def rename_trace(rows: list[Any]) -> None:
    """Let the last frame be of a kind that nobody knows."""
    frame, fields = last_frame(rows)
    (fields if "callType" in fields else frame)["callType" if frame is not fields else "type"] = "x"


def fail_root(rows: list[Any]) -> None:
    """Let the transaction's own frame have failed."""
    root = rows[0] if "action" in rows[0] else rows[0]["result"]
    root["error"] = "Reverted"


def other_block(rows: list[Any]) -> None:
    """Let the traces belong to something else."""
    key = "blockHash" if "action" in rows[0] else "txHash"
    rows[-1][key] = "0x" + "11" * 32


FLAT, NESTED = "trace_block", "debug_traceBlockByHash"


@pytest.fixture(params=[FLAT, NESTED])
def dialect(request: pytest.FixtureRequest, proxy: FaultProxy) -> str:
    """Let the node speak one dialect of traces, or only the other."""
    if request.param == NESTED:
        proxy.add(Error(-32_601, "Method not found"), FLAT)
    return str(request.param)


def test_both_dialects_of_traces_give_the_same_payments(
    chain: EvmChain, dialect: str, proxy: FaultProxy, anvil: AnvilNode, contracts: Deployer
) -> None:
    payer = contracts.deploy("Payer")
    deep = payer.send("payDeep", ALICE, 5, 3, value=5)
    mixed = payer.send("payOneAndUndoOne", BOB, ALICE, 5, value=10)
    undone = payer.send("paySucceedingInsideReverting", ALICE, 5, value=5)
    failed = payer.send("payThenRevert", ALICE, 5, value=5, gas=400_000)
    forced = contracts.deploy("ForcerMaker").send("force", ALICE, value=5)
    seen = [
        brief(payments_of(chain, anvil, sent, WATCHED))
        for sent in (deep, mixed, undone, failed, forced)
    ]
    assert seen == [
        [("trace:0", ALICE, 5, None)],
        [("trace:0", BOB, 5, None)],
        [],
        [],
        [(f"balance:{ALICE}", ALICE, 5, "unexplained_balance")],
    ]
    assert proxy.forwarded[dialect] > 0
    other = NESTED if dialect == FLAT else FLAT
    assert proxy.forwarded[other] == 0


@pytest.mark.parametrize(
    "change", [raise_trace, rename_trace, fail_root, other_block, lambda rows: rows.clear()]
)
def test_N04_falsified_traces_are_never_credited(
    chain: EvmChain,
    dialect: str,
    proxy: FaultProxy,
    anvil: AnvilNode,
    contracts: Deployer,
    change: Callable[[list[Any]], None],
) -> None:
    sent = contracts.deploy("Payer").send("pay", [BOB, ALICE], [1, 250], value=251)
    rule = proxy.add(edited(change), dialect)
    with pytest.raises(IncompleteBlock):
        payments_of(chain, anvil, sent, WATCHED)
    assert rule.count == 1
    rule.stop()
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [1, 250]


@pytest.mark.parametrize("repeat", [True, False])
def test_N04_a_frame_told_twice_or_outside_the_tree_is_refused(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, contracts: Deployer, repeat: bool
) -> None:
    sent = contracts.deploy("Payer").send("pay", [ALICE], [250], value=250)
    path = [0] if repeat else [3, 1]
    rule = proxy.add(edited(lambda rows: rows.append({**rows[-1], "traceAddress": path})), FLAT)
    with pytest.raises(IncompleteBlock, match="no tree"):
        payments_of(chain, anvil, sent, WATCHED)
    assert rule.count == 1


def test_N04_a_payment_left_out_of_the_trace_still_shows_in_the_balance(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, contracts: Deployer
) -> None:
    payer = contracts.deploy("Payer")
    sent = payer.send("pay", [ALICE, ALICE], [1, 250], value=251)
    rule = proxy.add(edited(lambda rows: rows.pop()), FLAT)
    payments = payments_of(chain, anvil, sent, WATCHED)
    assert [(p.amount, p.anomaly) for p in payments] == [(1, None), (250, "unexplained_balance")]
    assert rule.count == 1


def test_N04_one_trace_of_three_that_lies_is_outvoted(
    proxy: FaultProxy, anvil: AnvilNode, contracts: Deployer, open_on: Opener
) -> None:
    chain = open_on(proxy.url, anvil.url, anvil.url)
    sent = contracts.deploy("Payer").send("pay", [ALICE], [250], value=250)
    rule = proxy.add(edited(raise_trace), FLAT)
    assert [p.amount for p in payments_of(chain, anvil, sent, WATCHED)] == [250]
    assert rule.count == chain.nodes.nodes[0].counters.minority == 1


def test_a_node_that_cannot_trace_at_all_stops_the_reading_of_such_a_block(
    chain: EvmChain, proxy: FaultProxy, anvil: AnvilNode, contracts: Deployer
) -> None:
    sent = contracts.deploy("Payer").send("pay", [ALICE], [250], value=250)
    plain = contracts.pay(ALICE, 5)
    for method in (FLAT, NESTED):
        proxy.add(Error(-32_601, "Method not found"), method)
    assert [p.amount for p in payments_of(chain, anvil, plain, WATCHED)] == [5]
    with pytest.raises(Unavailable, match="debug_traceBlockByHash"):
        payments_of(chain, anvil, sent, WATCHED)


def test_N04_an_inflated_balance_is_outvoted_and_credits_nothing_by_itself(
    anvil: AnvilNode, proxy: FaultProxy, contracts: Deployer, open_on: Opener
) -> None:
    odd = contracts.deploy("FalseToken", 1)
    chain = open_on(proxy.url, anvil.url, anvil.url, assets=[listed(odd.address, odd=True)])
    odd.send("mint", contracts.accounts[0], 1_000)
    sent = odd.send("transfer", ALICE, 100)
    rule = proxy.add(Result("0x" + (10**9).to_bytes(32, "big").hex()), "eth_call")
    (payment,) = payments_of(chain, anvil, sent, WATCHED)
    assert (payment.amount, payment.claimed) == (0, 100)
    assert rule.count == 2
    assert chain.nodes.nodes[0].counters.minority == 2
    # Native: the same lie contradicts what the trace and the header prove, or is outvoted.
    rule = proxy.add(Result(hex(10**30)), "eth_getBalance")
    assert chain.balance_of(ALICE, NATIVE, chain.head()) == 0
    assert rule.count == 1
