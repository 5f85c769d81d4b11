"""What a node's answer to sent bytes means. Pure, and deliberately reluctant.

REJECTED is said only of bytes that no state of the chain makes valid. Whatever depends on the state
(a coin that is spent or not known, a conflict in the pool, a fee that is too low today) is UNKNOWN:
the same bytes, or a sibling, may already have landed or may land later, and only the chain can
tell. Source: Bitcoin Core 30, consensus/tx_check.cpp, validation.cpp, rpc/mempool.cpp; those that a
node can be brought to say are provoked in tests/integration/test_bitcoin_replies.py.
"""

from __future__ import annotations

from chains.base import BroadcastOutcome, BroadcastResult
from chains.replies import judge_reply, plan_combined

__all__ = ["WORDS", "plan_combined", "plan_outcome"]

_KNOWN = BroadcastOutcome.ALREADY_KNOWN
_REJECTED = BroadcastOutcome.REJECTED
_UNKNOWN = BroadcastOutcome.UNKNOWN

WORDS: tuple[tuple[str, BroadcastOutcome], ...] = (
    # The bytes wait in the node's pool, or a block has them.
    ("already in block chain", _KNOWN),
    ("already in utxo set", _KNOWN),
    ("txn-already-in-mempool", _KNOWN),
    ("txn-already-known", _KNOWN),
    # The same transaction with another witness waits; the state decides which of both lands.
    ("txn-same-nonwitness-data-in-mempool", _UNKNOWN),
    # No state makes these bytes valid.
    ("tx decode failed", _REJECTED),
    ("bad-txns-vin-empty", _REJECTED),
    ("bad-txns-vout-empty", _REJECTED),
    ("bad-txns-vout-negative", _REJECTED),
    ("bad-txns-vout-toolarge", _REJECTED),
    ("bad-txns-txouttotal-toolarge", _REJECTED),
    ("bad-txns-inputs-duplicate", _REJECTED),
    ("bad-txns-prevout-null", _REJECTED),
    ("bad-txns-oversize", _REJECTED),
    ("bad-txns-in-belowout", _REJECTED),
    ("bad-cb-length", _REJECTED),
    ("block-script-verify-flag-failed", _REJECTED),
    # Rules of the pool, which a block need not keep; the milder word contains the harder one.
    ("mempool-script-verify-flag-failed", _UNKNOWN),
    ("non-mandatory-script-verify-flag", _UNKNOWN),
    ("mandatory-script-verify-flag-failed", _REJECTED),
)


def plan_outcome(answer: object, tx_id: str, *, was_waiting: bool) -> BroadcastResult:
    """Judge one node's answer to bytes of this id, which it had in its pool before or not."""
    found = judge_reply(answer, tx_id, WORDS, is_taken=answer == tx_id)
    if was_waiting and found.outcome is BroadcastOutcome.ACCEPTED:
        return BroadcastResult(_KNOWN, tx_id)
    return found
