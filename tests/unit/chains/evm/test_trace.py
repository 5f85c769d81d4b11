"""Frames of both dialects, made by hand: which of them move value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.evm.block import IncompleteBlock
from chains.evm.effects import effect_amount
from chains.evm.erc20 import TRANSFER_TOPIC, transfer_call, transfer_event
from chains.evm.parse import Header, Log, Tx
from chains.evm.trace import BlockTrace, parse_flat, parse_nested

A, B, C = (bytes([number]) * 20 for number in (1, 2, 3))
HEADER = Header(
    hash="0x" + "ab" * 32,
    parent_hash="0x" + "aa" * 32,
    height=5,
    time_s=0,
    miner=C,
    bloom=bytes(256),
    transactions_root=bytes(32),
    receipts_root=bytes(32),
    withdrawals_root=None,
    base_fee=1,
)
TX = Tx(
    tx_id="0x" + "cd" * 32,
    sender=A,
    to=B,
    value=10,
    input=b"\1",
    nonce=0,
    succeeded=True,
    gas_used=90_000,
    fee=3,
    logs=(),
)
OTHER_KINDS = ["DELEGATECALL", "CALLCODE", "STATICCALL", "SELFDESTRUCT"]


def hexed(raw: bytes) -> str:
    """Return 0x-prefixed hex."""
    return "0x" + raw.hex()


def nested(kind: str, *calls: Any, failed: bool = False, value: int = 7) -> dict[str, Any]:
    """Return one frame of the call tracer, from B to C."""
    frame = {"type": kind, "from": hexed(B), "to": hexed(C), "value": hex(value)}
    return {**frame, "calls": list(calls), **({"error": "Reverted"} if failed else {})}


def read_nested(*calls: Any) -> BlockTrace:
    """Read a trace whose transaction has these inner frames."""
    root = {"type": "CALL", "from": hexed(A), "to": hexed(B), "value": hex(10)}
    row = {"txHash": TX.tx_id, "result": {**root, "calls": list(calls)}}
    return parse_nested([row], [TX])


def read_flat(*rows: dict[str, Any]) -> BlockTrace:
    """Read a trace whose transaction has these inner rows."""
    action = {"callType": "call", "from": hexed(A), "to": hexed(B), "value": hex(10)}
    root = {"type": "call", "action": action, "traceAddress": []}
    named = {"blockHash": HEADER.hash, "transactionHash": TX.tx_id, "result": {}}
    return parse_flat([{**named, **row} for row in (root, *rows)], HEADER, [TX])


def flat(kind: str, path: list[int], *, failed: bool = False) -> dict[str, Any]:
    """Return one row of trace_block, from B to C."""
    error = {"error": "Reverted"} if failed else {}
    if kind == "SELFDESTRUCT":
        action = {"address": hexed(B), "refundAddress": hexed(C), "balance": hex(7)}
        return {"type": "suicide", "action": action, "traceAddress": path, **error}
    if kind.startswith("CREATE"):
        action = {"from": hexed(B), "value": hex(7)}
        result = None if failed else {"address": hexed(C)}
        return {"type": "create", "action": action, "result": result, "traceAddress": path, **error}
    action = {"callType": kind.lower(), "from": hexed(B), "to": hexed(C), "value": hex(7)}
    return {"type": "call", "action": action, "traceAddress": path, **error}


@pytest.mark.parametrize("kind", ["CALL", "CREATE"])
def test_calls_and_creations_move_their_value(kind: str) -> None:
    for trace in (read_nested(nested(kind)), read_flat(flat(kind, [0]))):
        assert [(move.place, move.sender, move.to, move.value) for move in trace.moves] == [
            (0, B, C, 7)
        ]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_frames_carry_a_value_and_move_none(kind: str) -> None:
    for trace in (read_nested(nested(kind)), read_flat(flat(kind, [0]))):
        assert trace.moves == ()
        assert C in trace.touched, "so that its balance is compared"


def test_a_failed_creation_has_no_address_and_moves_nothing() -> None:
    assert read_flat(flat("CREATE", [0], failed=True)).moves == ()


@pytest.mark.parametrize("kind", ["TELEPORT", None, 5, "suicide"])
def test_an_unknown_kind_of_frame_is_refused_not_skipped(kind: Any) -> None:
    with pytest.raises(IncompleteBlock, match="not known"):
        read_nested({**nested("CALL"), "type": kind})
    with pytest.raises(IncompleteBlock, match="not known"):
        read_flat(
            {**flat("CALL", [0]), "type": kind or "x"}
            if kind != "suicide"
            else {**flat("CALL", [0]), "type": "uncle"}
        )


def test_rewards_stand_outside_transactions() -> None:
    row = {"type": "reward", "action": {"author": hexed(C), "value": "0x5"}, "traceAddress": []}
    assert read_flat(row).moves == ()


TREES = st.recursive(
    st.tuples(st.booleans(), st.just(())),
    lambda inner: st.tuples(st.booleans(), st.lists(inner, max_size=3).map(tuple)),
    max_leaves=12,
)


def surviving(tree: Any) -> int:
    """Count frames that succeeded with all their ancestors."""
    failed, children = tree
    return 0 if failed else 1 + sum(map(surviving, children))


def as_nested(tree: Any) -> dict[str, Any]:
    """Write a tree of (failed, children) as the call tracer does."""
    failed, children = tree
    return nested("CALL", *map(as_nested, children), failed=failed)


def as_flat(tree: Any, path: tuple[int, ...]) -> list[dict[str, Any]]:
    """Write a tree of (failed, children) as trace_block does."""
    failed, children = tree
    rows = [flat("CALL", list(path), failed=failed)]
    for number, child in enumerate(children):
        rows += as_flat(child, (*path, number))
    return rows


@given(st.lists(TREES, max_size=4), st.randoms(use_true_random=False))
def test_D04_a_frame_counts_only_if_it_and_all_its_ancestors_succeeded(
    trees: list[Any], order: Any
) -> None:
    expected = sum(map(surviving, trees))
    first = read_nested(*map(as_nested, trees))
    rows = [row for number, tree in enumerate(trees) for row in as_flat(tree, (number,))]
    order.shuffle(rows)
    assert len(first.moves) == expected
    assert read_flat(*rows) == first
    assert [move.place for move in first.moves] == list(range(expected))


def log(emitter: bytes, sender: bytes, to: bytes, amount: int) -> Log:
    """Return a Transfer event."""
    topics = (TRANSFER_TOPIC, bytes(12) + sender, bytes(12) + to)
    return Log(emitter, topics, amount.to_bytes(32, "big"), TX.tx_id, 0)


@pytest.mark.parametrize(
    ("logs", "amount"),
    [
        ((log(B, A, C, 5),), 5),
        ((log(B, A, C, 4), log(B, A, B, 1)), 4),
        ((log(B, B, C, 5),), 0),
        ((log(C, A, C, 5),), 0),
        ((), 0),
    ],
)
def test_a_spend_moved_what_the_token_says_went_from_us_to_the_destination(
    logs: tuple[Log, ...], amount: int
) -> None:

    tx = replace(TX, value=0, input=transfer_call(C, 5), logs=logs)
    assert effect_amount(tx) == amount
    assert effect_amount(replace(tx, succeeded=False)) == 0
    assert effect_amount(replace(tx, input=b"\1\2\3\4")) == 0
    assert effect_amount(replace(TX, input=b"")) == 10


def test_four_topics_are_no_payment_even_with_an_amount_behind_them() -> None:
    good = log(B, A, C, 5)
    assert transfer_event(good) is not None
    assert transfer_event(replace(good, topics=(*good.topics, bytes(32)))) is None
    assert transfer_event(replace(good, topics=good.topics[:2])) is None
