"""What the fake chain's builder refuses of an intent."""

from __future__ import annotations

from chains.base import NATIVE, ChainTraits, SpendIntent, SpendKind, check_batch
from core.errors import Reason, Refused


def check_intent(intent: SpendIntent, traits: ChainTraits) -> None:
    """Refused: intent_mismatch (another chain, a cancellation that pays, …), zero_amount."""
    if (intent.chain, intent.network) != (traits.chain, traits.network):
        raise Refused(Reason.INTENT_MISMATCH, "the intent is for another chain")
    if intent.kind is SpendKind.DELEGATION:
        raise Refused(Reason.INTENT_MISMATCH, "accounts run no code here")
    if intent.kind is SpendKind.CANCELLATION:
        if (intent.asset_key, intent.destination) != (NATIVE, intent.source) or intent.amount:
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation pays nothing to its sender")
    elif not intent.amount:
        raise Refused(Reason.ZERO_AMOUNT, "nothing would be moved")
    if intent.kind is SpendKind.BATCH:
        check_batch(intent)
