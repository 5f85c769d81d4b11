"""Native coin moved by contracts, read from call traces.

A frame moves value only when it is a CALL or a creation, and it and all its ancestors succeeded.
Frames of DELEGATECALL carry their caller's value without moving it. SELFDESTRUCT hands ether
over without running the receiver's code: it is not a payment; the balance difference of the
receiver shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chains.evm import parse
from chains.evm.block import IncompleteBlock
from chains.evm.params import PLAIN_TRANSFER_GAS
from chains.evm.parse import Json, Tx

_MOVING = frozenset({"CALL", "CREATE", "CREATE2"})
_KNOWN = _MOVING | {"DELEGATECALL", "CALLCODE", "STATICCALL", "SELFDESTRUCT"}
FRAMES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Move:
    """Value that one inner frame moved. `path` counts children from the transaction's own frame."""

    tx_id: str
    path: str
    sender: bytes
    to: bytes
    value: int


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """What all frames of a block did: moves that happened, and every address any frame touched."""

    moves: tuple[Move, ...]
    touched: frozenset[bytes]


def may_run_code(tx: Tx) -> bool:
    """Tell whether a transaction may have moved value beyond its own.

    Exactly 21,000 gas cannot: a call with value costs 9,000 more, and refunds give back a fifth
    at most.
    """
    return tx.succeeded and (tx.to is None or tx.gas_used != PLAIN_TRANSFER_GAS)


def parse_block_trace(answer: object, transactions: Sequence[Tx]) -> BlockTrace:
    """Read `debug_traceBlockByHash` with the call tracer.

    IncompleteBlock: transactions missing, in another order, or whose own frame contradicts the
    block.
    """
    rows = parse.sequence(answer, "trace")
    if len(rows) != len(transactions):
        raise IncompleteBlock(f"{len(rows)} traces for {len(transactions)} transactions")
    moves: list[Move] = []
    touched: set[bytes] = set()
    for row, tx in zip(rows, transactions, strict=True):
        entry = parse.mapping(row, "trace")
        if parse.hash_text(entry.get("txHash"), "txHash") != tx.tx_id:
            raise IncompleteBlock("the traces are another block's")
        root = parse.mapping(entry.get("result"), "trace result")
        _check_root(root, tx)
        _walk(root, tx, moves, touched)
    return BlockTrace(tuple(moves), frozenset(touched))


def _check_root(root: Json, tx: Tx) -> None:
    same = (
        parse.address(root.get("from"), "from") == tx.sender
        and parse.quantity(root.get("value", "0x0"), "value") == tx.value
        and _failed(root) != tx.succeeded
        and (tx.to is None or parse.address(root.get("to"), "to") == tx.to)
    )
    if not same:
        raise IncompleteBlock(f"the trace of {tx.tx_id} contradicts its receipt")


def _failed(frame: Json) -> bool:
    return frame.get("error") is not None


def _walk(root: Json, tx: Tx, moves: list[Move], touched: set[bytes]) -> None:
    # A list instead of recursion: frames nest up to 1,024 deep.
    todo: list[tuple[Json, str, bool]] = [(root, "", True)]
    seen = 0
    while todo:
        frame, path, alive = todo.pop()
        seen += 1
        if seen > FRAMES_MAX:
            raise IncompleteBlock(f"the trace of {tx.tx_id} has too many frames")
        alive = alive and not _failed(frame)
        kind = frame.get("type")
        if not isinstance(kind, str) or kind not in _KNOWN:
            raise IncompleteBlock(f"frame type {kind!r} is not known")
        sender = parse.address(frame.get("from"), "from")
        to = parse.optional_address(frame.get("to"), "to")
        touched.add(sender)
        if to is not None:
            touched.add(to)
        if path and alive and kind in _MOVING:
            value = parse.quantity(frame.get("value", "0x0"), "value")
            if value and to is not None:
                moves.append(Move(tx.tx_id, path, sender, to, value))
        children = parse.sequence(frame.get("calls", []), "calls")
        for number in range(len(children) - 1, -1, -1):
            place = f"{path}.{number}" if path else str(number)
            todo.append((parse.mapping(children[number], "frame"), place, alive))
