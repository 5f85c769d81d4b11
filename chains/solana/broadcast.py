"""What a node's answer to sent bytes means. Pure, and deliberately reluctant.

REJECTED is said only of bytes that no state of the chain makes valid. What depends on the state
(the durable nonce, a balance, an account) is UNKNOWN: the same bytes, or a sibling, may have landed
or may land later, and only the chain can tell. Codes alone say little: one node's -32002 is
another's. Those of the local node are provoked one by one in
tests/integration/test_solana_writer.py.
"""

from __future__ import annotations

from chains.base import BroadcastOutcome, BroadcastResult
from chains.replies import judge_reply, plan_combined

__all__ = ["WORDS", "plan_combined", "plan_outcome"]

_KNOWN = BroadcastOutcome.ALREADY_KNOWN
_REJECTED = BroadcastOutcome.REJECTED
_UNKNOWN = BroadcastOutcome.UNKNOWN

WORDS: tuple[tuple[str, BroadcastOutcome], ...] = (
    # It has been carried out, or it waits.
    ("already been processed", _KNOWN),
    ("alreadyprocessed", _KNOWN),
    ("already processed", _KNOWN),
    # The state decides; these stand before the rejections because words overlap.
    ("blockhash not found", _UNKNOWN),
    ("blockhashnotfound", _UNKNOWN),
    ("insufficient", _UNKNOWN),
    ("attempt to debit an account", _UNKNOWN),
    ("account not found", _UNKNOWN),
    ("custom program error", _UNKNOWN),
    ("unhealthy", _UNKNOWN),
    ("behind by", _UNKNOWN),
    ("rate limit", _UNKNOWN),
    # No state makes these bytes valid.
    ("signature verification fail", _REJECTED),
    ("did not pass signature verification", _REJECTED),
    ("signature failure", _REJECTED),
    ("signaturefailure", _REJECTED),
    ("failed to deserialize", _REJECTED),
    ("failed to sanitize", _REJECTED),
    ("sanitizefailure", _REJECTED),
    ("too large", _REJECTED),
    ("unsupported version", _REJECTED),
    ("unsupportedversion", _REJECTED),
    ("invalid base64", _REJECTED),
    ("invalid base58", _REJECTED),
)


def plan_outcome(answer: object, tx_id: str) -> BroadcastResult:
    """Judge one node's answer to bytes whose first signature is tx_id."""
    is_taken = answer == tx_id
    return judge_reply(answer, tx_id, WORDS, is_taken=is_taken)
