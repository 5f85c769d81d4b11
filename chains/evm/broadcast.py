"""What a node's answer to sent bytes means. Pure, and deliberately reluctant.

REJECTED is said only of bytes that no state of the chain makes valid. Everything that depends on
the state (nonce, balance, fees, pool) is UNKNOWN: the same bytes, or a sibling, may already have
landed or may land later, and only the chain can tell. Those of anvil are
provoked one by one in tests/integration/test_evm_writer.py.
"""

from __future__ import annotations

from chains.base import BroadcastOutcome, BroadcastResult
from chains.replies import judge_reply, plan_combined

__all__ = ["WORDS", "plan_combined", "plan_outcome"]

_KNOWN = BroadcastOutcome.ALREADY_KNOWN
_REJECTED = BroadcastOutcome.REJECTED
_UNKNOWN = BroadcastOutcome.UNKNOWN

WORDS: tuple[tuple[str, BroadcastOutcome], ...] = (
    # The bytes are in the node's pool.
    ("already known", _KNOWN),
    ("already imported", _KNOWN),
    ("alreadyknown", _KNOWN),
    ("known transaction", _KNOWN),
    # The state decides; these stand before the rejections because words overlap.
    ("nonce too low", _UNKNOWN),
    ("nonce too high", _UNKNOWN),
    ("nonce gap", _UNKNOWN),
    ("underpriced", _UNKNOWN),
    ("insufficient funds", _UNKNOWN),
    ("less than block base fee", _UNKNOWN),
    ("pool is full", _UNKNOWN),
    ("block gas limit", _UNKNOWN),
    ("exceeds the configured cap", _UNKNOWN),
    # No state makes these bytes valid.
    ("invalid chain id", _REJECTED),
    ("invalid chain_id", _REJECTED),
    ("wrong chain", _REJECTED),
    ("invalid sender", _REJECTED),
    ("invalid signature", _REJECTED),
    ("invalid transaction v, r, s", _REJECTED),
    ("failed to recover the signer", _REJECTED),
    ("failed to decode", _REJECTED),
    ("empty transaction data", _REJECTED),
    ("rlp:", _REJECTED),
    ("rlp error", _REJECTED),
    ("typed transaction too short", _REJECTED),
    ("transaction type not supported", _REJECTED),
    ("intrinsic gas too low", _REJECTED),
    ("max priority fee per gas higher than max fee per gas", _REJECTED),
    ("oversized data", _REJECTED),
    ("negative value", _REJECTED),
)


def plan_outcome(answer: object, tx_id: str) -> BroadcastResult:
    """Judge one node's answer to bytes whose hash is tx_id."""
    is_taken = isinstance(answer, str) and answer.lower() == tx_id
    return judge_reply(answer, tx_id, WORDS, is_taken=is_taken)
