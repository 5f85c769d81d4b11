"""The log of everything ever signed, as values: what an entry holds, its bytes, its hash.

An entry is a canonical message (custody.keys.canonical) and its hash is SHA-256 of it:

    strongroom/signing-record, version 1
        position i · previous hash b · chain s · sender s · nonce i · claims l of s · digest b ·
        payload b · fee_max i · intent b · intent_hash b · spend_id s · kind s · cause_id s ·
        asset_key s · amount i · account s · key_index i · public_key b ·
        input_keys l of (account s · index i) · change_keys l of (account s · index i) ·
        authority s · evidence s · proven_dead s · roster_serial i · signed_at_ns i · signature b

Positions count from 1 without gaps; the first entry's previous hash is GENESIS_HASH. So whoever has
the messages can check the whole chain with a hash function alone (`verify_chain`).
custody.keys.store keeps them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, cast

from chains.base import SpendIntent, SpendKind
from core.errors import Corrupt, Refused
from core.ids import ChainId, derived_digest
from custody.keys import canonical
from custody.keys import intent as intents
from custody.keys.batch import singles

TAG = "strongroom/signing-record"
VERSION = 1
GENESIS_HASH = derived_digest("signing-record/genesis")
BY_APPROVALS = "approvals"
BY_MANDATE = "mandate"
ONCE_APPROVED = frozenset(
    {SpendKind.WITHDRAWAL, SpendKind.ROTATION, SpendKind.OWNERS, SpendKind.BATCH}
)
"""Spends that officers approve by their cause, to happen once, under whatever spend id."""


class Mark(NamedTuple):
    """How far a log reaches: the position and the hash of its last entry."""

    position: int
    hash: bytes


GENESIS = Mark(0, GENESIS_HASH)


class Part(NamedTuple):
    """One of the withdrawals that a record is about, or all that it is about."""

    spend: SpendIntent
    """As if it were alone; its fee_max is its share of what the transaction costs at most."""
    group: str
    """What at most one transaction of can land."""
    by_mandate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was signed, why and by whose right."""

    chain: ChainId
    sender: str
    nonce: int
    """0 on chains that spend coins."""
    claims: tuple[str, ...]
    """What two transactions cannot both use: `sender/nonce`, or the coins (Decoded.claims)."""
    digest: bytes
    payload: bytes
    fee_max: int
    intent: bytes
    intent_hash: bytes
    spend_id: str
    kind: str
    cause_id: str
    asset_key: str
    amount: int
    account: str
    key_index: int
    public_key: bytes
    input_keys: tuple[tuple[str, int], ...] = ()
    """(account, index) per input on chains that spend coins."""
    change_keys: tuple[tuple[str, int], ...] = ()
    """(account, index) of the own keys that were allowed to receive change."""
    authority: str
    """Of a batch one word for each withdrawal, with commas."""
    evidence: str
    proven_dead: str = ""
    """Positions of earlier attempts elsewhere that were proven dead first, with commas."""
    roster_serial: int = 0
    signed_at_ns: int
    """Never before that of the entry before."""

    @property
    def owner(self) -> str:
        """Return the spend that owns the claims: a cancellation acts for the spend it cancels."""
        return self.cause_id if self.kind == SpendKind.CANCELLATION else self.spend_id

    @property
    def group(self) -> str:
        """Return what at most one transaction of can land: what was approved, or else the spend.

        Cancellations of one spend may stand at several nonces: each is a group by its claims.
        """
        if self.kind == SpendKind.CANCELLATION:
            return f"cancellation:{' '.join(self.claims)}"
        if self.kind in ONCE_APPROVED and self.kind != SpendKind.BATCH:
            return f"withdrawal:{self.cause_id}"
        return f"spend:{self.spend_id}"

    @property
    def causes(self) -> tuple[str, ...]:
        """Return what was approved to happen once."""
        return causes_of(self.spend) if self.kind == SpendKind.BATCH else _once(self)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return what counts in limits and windows, each for itself."""
        return self.parts_of(self.spend)

    def parts_of(self, spend: SpendIntent) -> tuple[Part, ...]:
        """Return the parts by the intent that was encoded."""
        words = self.authority.split(",")
        if self.kind != SpendKind.BATCH:
            alone = replace(spend, amount=self.amount, fee_max=self.fee_max)
            return (Part(alone, self.group, self.authority == BY_MANDATE),)
        return tuple(
            Part(one, f"withdrawal:{one.cause_id}", word == BY_MANDATE)
            for one, word in zip(singles(spend, fee_max=self.fee_max), words, strict=True)
        )

    @property
    def spend(self) -> SpendIntent:
        """Return the intent behind the encoded one."""
        return cast("SpendIntent", intents.decode(self.intent))


def causes_of(spend: SpendIntent) -> tuple[str, ...]:
    """Return what was approved to happen once and a spend carries out."""
    if spend.kind is SpendKind.BATCH:
        return tuple(one.cause_id for one in spend.items)
    return (spend.cause_id,) if spend.kind in ONCE_APPROVED else ()


def owner_of(spend: SpendIntent) -> str:
    """Return the spend that owns what a transaction claims, as Record.owner does."""
    return spend.cause_id if spend.kind is SpendKind.CANCELLATION else spend.spend_id


def _once(record: Record) -> tuple[str, ...]:
    return (record.cause_id,) if record.kind in ONCE_APPROVED else ()


_NAMES = tuple(field.name for field in fields(Record))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the log with the signature that was made for it."""

    position: int
    previous: bytes
    record: Record
    signature: bytes
    """65 bytes r ‖ s ‖ recovery id; where inputs are signed one by one, of each in their order."""
    hash: bytes

    @property
    def mark(self) -> Mark:
        """Return where the log stands after this entry."""
        return Mark(self.position, self.hash)

    @property
    def message(self) -> bytes:
        """Return the canonical bytes whose SHA-256 is the hash."""
        return encode(self.position, self.previous, self.record, self.signature)


def encode(position: int, previous: bytes, record: Record, signature: bytes) -> bytes:
    """Return the canonical message of an entry. Refused: malformed, too_large."""
    values = [getattr(record, name) for name in _NAMES]
    return canonical.encode(TAG, VERSION, (position, previous, *values, signature))


def decode(message: bytes) -> Entry:
    """Return the entry of a message; the strict inverse of encode. Corrupt: it is none."""
    try:
        values = canonical.decode(TAG, VERSION, message)
        position, previous, *middle, signature = values
        record = Record(**dict(zip(_NAMES, middle, strict=True)))  # type: ignore[arg-type]
    except (Refused, ValueError, TypeError) as error:
        raise Corrupt("a signing record cannot be read") from error
    return Entry(
        cast("int", position),
        cast("bytes", previous),
        record,
        cast("bytes", signature),
        hashlib.sha256(message).digest(),
    )


def entry_of(mark: Mark, record: Record, signature: bytes) -> tuple[Entry, bytes]:
    """Return the entry that follows a mark, and its message. Refused: malformed, too_large."""
    message = encode(mark.position + 1, mark.hash, record, signature)
    hash_ = hashlib.sha256(message).digest()
    return Entry(mark.position + 1, mark.hash, record, signature, hash_), message


def verify_chain(messages: Iterable[bytes], *, after: Mark = GENESIS) -> Mark:
    """Check exported messages one after another and return where they end.

    Corrupt: one is changed, missing, added or out of order.
    """
    mark = after
    for message in messages:
        entry = decode(message)
        if (entry.position, entry.previous) != (mark.position + 1, mark.hash):
            raise Corrupt(f"signing record {entry.position} does not follow record {mark.position}")
        mark = entry.mark
    return mark


def nonce_of(claim: str, sender: str) -> int | None:
    """Return the nonce behind a claim of a sender, None when the claim is another thing."""
    head, _, tail = claim.rpartition("/")
    return int(tail) if head == sender and tail.isascii() and tail.isdigit() else None


def positions_of(text: str) -> Sequence[int]:
    """Read Record.proven_dead."""
    return [int(part) for part in text.split(",") if part]
