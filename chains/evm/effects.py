"""What an included transaction of ours moved, by its own call and the events of its receipt."""

from __future__ import annotations

from dataclasses import dataclass

from chains.evm.batch_payload import is_batch, item_statuses
from chains.evm.erc20 import read_transfer_call, transfer_event
from chains.evm.parse import Tx
from chains.evm.relay_payload import execution_succeeded, read_execution
from chains.evm.wallet_payload import CALL, inner_calls


@dataclass(frozen=True, slots=True)
class Move:
    """One movement that a transaction was made for; token None is the native coin."""

    token: bytes | None
    sender: bytes
    to: bytes
    value: int


def moves_of(tx: Tx) -> list[Move]:
    """Return what a transaction moves if it does what it says: its own or its wallet's payments."""
    if tx.to is None:
        return []
    execution = read_execution(tx.input)
    if execution is None:
        calls = [(tx.to, tx.value, tx.input)]
        return _moves(tx.sender, calls)
    to, value, operation = execution.words[0], execution.words[1], execution.words[3]
    calls = [(to.to_bytes(20, "big"), value, execution.data)]
    return _moves(tx.to, calls if operation == CALL else inner_calls(execution.data))


def execution_failed(tx: Tx) -> bool:
    """Return whether a wallet inside did not say that its transaction succeeded.

    The relayer's own transaction may have succeeded all the same.
    """
    if tx.to is None or read_execution(tx.input) is None:
        return False
    logs = tuple((log.emitter, log.topics[0]) for log in tx.logs if log.topics)
    return not execution_succeeded(tx.to, logs)


def effect_amount(tx: Tx) -> int:
    """Return what the transaction moved to where it was to go.

    Its value, or what its token's events say; of several payments their sum.
    """
    if not tx.succeeded or execution_failed(tx):
        return 0
    if is_batch(tx):
        return sum(item.amount for item in item_statuses(tx))
    moves = moves_of(tx)
    events = [(log.emitter, transfer_event(log)) for log in tx.logs]
    by_events = sum(
        event.value
        for token, sender, to in {(m.token, m.sender, m.to) for m in moves if m.token is not None}
        for emitter, event in events
        if event is not None and (emitter, event.sender, event.to) == (token, sender, to)
    )
    return by_events + sum(move.value for move in moves if move.token is None)


def _moves(sender: bytes, calls: list[tuple[bytes, int, bytes]]) -> list[Move]:
    moves = []
    for to, value, data in calls:
        call = read_transfer_call(data)
        if not data:
            moves.append(Move(None, sender, to, value))
        elif call is not None:
            moves.append(Move(to, sender, call[0], call[1]))
    return moves
