"""Native coin moved by contracts, read from call traces.

A frame moves value only when it is a call or a creation, and it and all its ancestors succeeded.
Frames of delegatecall carry their caller's value without moving it. A self-destruction hands
ether over without running the receiver's code: it is not a payment; the balance difference of
the receiver shows it.

Two dialects are read, into the same frames: `trace_block` (flat, stored when the block was
executed) and `debug_traceBlockByHash` with the call tracer (nested, executed again: slow on some
nodes). They do not list the same frames (calls to precompiles), so a move is numbered among the
moves of its transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chains.evm import parse
from chains.evm.block import IncompleteBlock
from chains.evm.params import PLAIN_TRANSFER_GAS
from chains.evm.parse import Header, Json, Tx

FRAMES_MAX = 1_000_000
_PATH_STEP_LIMIT = 1 << 32


@dataclass(frozen=True, slots=True)
class Frame:
    """One call, creation or self-destruction; `path` counts children from the outermost frame."""

    path: tuple[int, ...]
    moves: bool
    """Whether this kind of frame moves its value when it succeeds."""
    sender: bytes
    to: bytes | None
    value: int
    failed: bool


@dataclass(frozen=True, slots=True)
class Move:
    """Value that one inner frame moved to another address; `place` counts them in a transaction."""

    tx_id: str
    place: int
    sender: bytes
    to: bytes
    value: int


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """What all frames of a block did: moves that happened, and every address any frame touched."""

    moves: tuple[Move, ...]
    touched: frozenset[bytes] = field(compare=False)
    """Not compared between nodes, whose dialects list different frames that move nothing."""


def may_run_code(tx: Tx) -> bool:
    """Tell whether a transaction may have moved value beyond its own.

    Exactly 21,000 gas cannot: a call with value costs 9,000 more, and refunds give back a fifth at
    most.
    """
    return tx.succeeded and (tx.to is None or tx.gas_used != PLAIN_TRANSFER_GAS)


def merge(traces: Sequence[BlockTrace]) -> BlockTrace:
    """Join what agreeing nodes said: equal moves, and every address any of them saw touched."""
    assert all(trace == traces[0] for trace in traces)
    return BlockTrace(traces[0].moves, frozenset().union(*(trace.touched for trace in traces)))


def parse_nested(answer: object, transactions: Sequence[Tx]) -> BlockTrace:
    """Read `debug_traceBlockByHash` with the call tracer.

    IncompleteBlock: transactions missing, in another order, or whose own frame contradicts the
    block.
    """
    rows = [parse.mapping(row, "trace") for row in parse.sequence(answer, "trace")]
    named = [parse.hash_text(row.get("txHash"), "txHash") for row in rows]
    if named != [tx.tx_id for tx in transactions]:
        raise IncompleteBlock("the traces are another block's")
    frames = [_nested(parse.mapping(row.get("result"), "trace result")) for row in rows]
    return _block_trace(zip(transactions, frames, strict=True))


def parse_flat(answer: object, header: Header, transactions: Sequence[Tx]) -> BlockTrace:
    """Read `trace_block`, which is asked by height, so every row must name the block's hash.

    IncompleteBlock: as parse_nested.
    """
    rows = [parse.mapping(row, "trace") for row in parse.sequence(answer, "trace")]
    if len(rows) > FRAMES_MAX:
        raise IncompleteBlock("the trace has too many frames")
    frames: dict[str, list[Frame]] = {tx.tx_id: [] for tx in transactions}
    for row in rows:
        if parse.hash_text(row.get("blockHash"), "blockHash") != header.hash:
            raise IncompleteBlock("the traces are another block's")
        if row.get("type") == "reward":
            continue  # outside any transaction; the balance of the receiver shows it
        tx_id = parse.hash_text(row.get("transactionHash"), "transactionHash")
        if tx_id not in frames:
            raise IncompleteBlock("the traces name a transaction that the block has not")
        frames[tx_id].append(_flat(row))
    ordered = [sorted(each, key=lambda frame: frame.path) for each in frames.values()]
    return _block_trace(zip(transactions, ordered, strict=True))


def _block_trace(traced: Iterable[tuple[Tx, Sequence[Frame]]]) -> BlockTrace:
    moves: list[Move] = []
    touched: set[bytes] = set()
    for tx, frames in traced:
        _check_frames(tx, frames)
        moves += _moves(tx.tx_id, frames)
        touched.update(frame.sender for frame in frames)
        touched.update(frame.to for frame in frames if frame.to is not None)
    return BlockTrace(tuple(moves), frozenset(touched))


def _check_frames(tx: Tx, frames: Sequence[Frame]) -> None:
    """Compare a transaction's own frame with what the block proves of it; paths must be a tree."""
    root = frames[0] if frames and frames[0].path == () else None
    if (
        root is None
        or (root.sender, root.value, root.failed) != (tx.sender, tx.value, not tx.succeeded)
        or (tx.to is not None and root.to != tx.to)
    ):
        raise IncompleteBlock(f"the trace of {tx.tx_id} contradicts its receipt")
    paths = {frame.path for frame in frames}
    if len(paths) != len(frames) or any(path[:-1] not in paths for path in paths):
        raise IncompleteBlock(f"the trace of {tx.tx_id} is no tree")


def _moves(tx_id: str, frames: Sequence[Frame]) -> Iterator[Move]:
    undone: tuple[int, ...] | None = None
    place = 0
    for frame in frames:
        if undone is not None and frame.path[: len(undone)] == undone:
            continue
        undone = frame.path if frame.failed else None
        if frame.failed or not frame.path or not frame.moves or not frame.value:
            continue
        if frame.to is not None and frame.to != frame.sender:
            yield Move(tx_id, place, frame.sender, frame.to, frame.value)
            place += 1


# Whether a frame of this kind moves its value.
_NESTED_KINDS: Mapping[str, bool] = {
    "CALL": True,
    "CREATE": True,
    "CREATE2": True,
    "DELEGATECALL": False,
    "CALLCODE": False,
    "STATICCALL": False,
    "SELFDESTRUCT": False,
}
_FLAT_CALL_KINDS: Mapping[str, bool] = {
    "call": True,
    "delegatecall": False,
    "callcode": False,
    "staticcall": False,
}


def _nested(root: Json) -> list[Frame]:
    # A list instead of recursion: frames nest up to 1,024 deep.
    todo: list[tuple[Json, tuple[int, ...]]] = [(root, ())]
    frames: list[Frame] = []
    while todo:
        row, path = todo.pop()
        if len(frames) >= FRAMES_MAX:
            raise IncompleteBlock("the trace has too many frames")
        frames.append(
            Frame(
                path=path,
                moves=_kind(_NESTED_KINDS, row.get("type")),
                sender=parse.address(row.get("from"), "from"),
                to=parse.optional_address(row.get("to"), "to"),
                value=parse.quantity(row.get("value", "0x0"), "value"),
                failed=row.get("error") is not None,
            )
        )
        children = parse.sequence(row.get("calls", []), "calls")
        todo.extend(
            (parse.mapping(children[number], "frame"), (*path, number))
            for number in range(len(children) - 1, -1, -1)
        )
    return frames


def _flat(row: Json) -> Frame:
    action = parse.mapping(row.get("action"), "action")
    failed = row.get("error") is not None
    steps = parse.sequence(row.get("traceAddress"), "traceAddress")
    path = tuple(step for step in steps if type(step) is int and 0 <= step < _PATH_STEP_LIMIT)
    if len(path) != len(steps):
        raise parse.MalformedAnswer("traceAddress is not a list of small numbers")
    kind = row.get("type")
    if kind == "suicide":
        return Frame(
            path=path,
            moves=False,
            sender=parse.address(action.get("address"), "address"),
            to=parse.optional_address(action.get("refundAddress"), "refundAddress"),
            value=0,
            failed=failed,
        )
    to = action.get("to")
    if kind == "create":
        result = row.get("result")
        to = None if result is None else parse.mapping(result, "result").get("address")
    moves = kind == "create" or _kind(_FLAT_CALL_KINDS, kind == "call" and action.get("callType"))
    return Frame(
        path=path,
        moves=moves,
        sender=parse.address(action.get("from"), "from"),
        to=parse.optional_address(to, "to"),
        value=parse.quantity(action.get("value", "0x0"), "value"),
        failed=failed,
    )


def _kind(known: Mapping[str, bool], kind: object) -> bool:
    if not isinstance(kind, str) or kind not in known:
        raise IncompleteBlock(f"frame type {kind!r} is not known")
    return known[kind]
