"""Records of a log, made up, for the tests of the store that keeps them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chains.base import NATIVE, SpendIntent, SpendKind
from core.clock import SECOND_NS
from core.entropy import SeededEntropy
from core.ids import ChainId
from custody.keys import intent as intents
from custody.keys.signing_record import BY_APPROVALS, Record

START_NS = 1_700_000_000 * SECOND_NS


def record(number: int, **changes: Any) -> Record:
    """Return the record of a withdrawal, always the same for a number."""
    spend = SpendIntent(
        spend_id=f"sp_{number}",
        kind=SpendKind.WITHDRAWAL,
        cause_id=f"wd_{number}",
        chain=ChainId("fake"),
        network="fake:1",
        asset_key=NATIVE,
        source="hot",
        destination=f"customer {number}",
        amount=1_000 + number,
        fee_max=100,
    )
    made = Record(
        chain=spend.chain,
        sender=spend.source,
        nonce=number,
        claims=(f"{spend.source}/{number}",),
        digest=random_bytes(number, 32),
        payload=random_bytes(number, 150),
        fee_max=90,
        intent=intents.encode(spend),
        intent_hash=intents.intent_hash(spend),
        spend_id=spend.spend_id,
        kind=spend.kind.value,
        cause_id=spend.cause_id,
        asset_key=spend.asset_key,
        amount=spend.amount,
        account="hot",
        key_index=0,
        public_key=random_bytes(0, 33),
        authority=BY_APPROVALS,
        evidence="{}",
        signed_at_ns=START_NS + number * SECOND_NS,
    )
    return replace(made, **changes)


def pair(number: int, **changes: Any) -> tuple[Record, bytes]:
    """Return a record and 65 bytes that stand for its signature."""
    return record(number, **changes), random_bytes(-number - 1, 65)


def random_bytes(number: int, count: int) -> bytes:
    """Return bytes that are always the same for a number."""
    return SeededEntropy(number & 0xFFFF, "logbook").token_bytes(count)
