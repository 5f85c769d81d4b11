"""What nodes' answers to sent bytes mean together, whatever the chain. Pure.

Which words of a node mean what, each chain knows (its `broadcast.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import BroadcastOutcome, BroadcastResult
from chains.rpc import RpcError

Words = Sequence[tuple[str, BroadcastOutcome]]
"""Fragments of a node's message in lower case and what they mean; the first that fits counts."""
_BEST_FIRST = (
    BroadcastOutcome.ACCEPTED,
    BroadcastOutcome.ALREADY_KNOWN,
    BroadcastOutcome.UNKNOWN,
    BroadcastOutcome.REJECTED,
)


def judge_reply(answer: object, tx_id: str, words: Words, *, is_taken: bool) -> BroadcastResult:
    """Judge one node's answer; is_taken: it is the one a node gives to bytes that it took."""
    if isinstance(answer, RpcError):
        said = answer.message.lower()
        for fragment, outcome in words:
            if fragment in said:
                return BroadcastResult(outcome, answer.message)
        return BroadcastResult(BroadcastOutcome.UNKNOWN, f"{answer.code} {answer.message}")
    if is_taken:
        return BroadcastResult(BroadcastOutcome.ACCEPTED, tx_id)
    return BroadcastResult(BroadcastOutcome.UNKNOWN, f"unexpected answer: {answer!r}"[:200])


def plan_combined(results: Sequence[BroadcastResult]) -> BroadcastResult:
    """Judge all nodes together: one that took the bytes is enough; REJECTED needs all of them."""
    for outcome in _BEST_FIRST:
        for result in results:
            if result.outcome is outcome:
                return result
    return BroadcastResult(BroadcastOutcome.UNKNOWN, "no node was asked")
