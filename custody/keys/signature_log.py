"""The log of everything ever signed: written before a signature is made, never changed after.

    signing_records    what is about to be signed, why and by whose right; a hash chain
    signing_nonces     which spend owns (chain, sender, nonce), for ever
    signatures_made    the signature of a record, once it was made; the same bytes for ever

    hash = digest("signing-record", position, previous hash, every other column in order)

The database refuses UPDATE and DELETE on all three. A process of its own with its own database can
keep these tables as they are: nothing here refers to another table of the platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import cast

import sqlalchemy as sa

from chains.base import SpendIntent, SpendKind
from core.errors import Corrupt
from core.ids import ChainId, derived_digest
from custody.db import Amount, Bytes, Int64, Text, append_only, counters, next_number, table
from custody.keys import intent as intents
from custody.keys.mandate import Usage

COUNTER = "signing_records"
GENESIS_HASH = derived_digest("signing-record/genesis")
PAGE = 500
BY_APPROVALS = "approvals"
BY_MANDATE = "mandate"

signing_records = table(
    "signing_records",
    sa.Column("position", Int64, primary_key=True, autoincrement=False),
    sa.Column("chain", Text, nullable=False),
    sa.Column("sender", Text, nullable=False),
    sa.Column("nonce", Int64, nullable=False),
    sa.Column("digest", Bytes, nullable=False),
    sa.Column("payload", Bytes, nullable=False),
    sa.Column("fee_max", Amount, nullable=False),
    sa.Column("intent", Bytes, nullable=False),
    sa.Column("intent_hash", Bytes, nullable=False),
    sa.Column("spend_id", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("cause_id", Text, nullable=False),
    sa.Column("asset_key", Text, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("key_index", Int64, nullable=False),
    sa.Column("public_key", Bytes, nullable=False),
    sa.Column("authority", Text, nullable=False),
    sa.Column("evidence", Text, nullable=False),
    sa.Column("proven_dead", Text, nullable=False),
    sa.Column("signed_at_ns", Int64, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.UniqueConstraint("chain", "sender", "digest"),
    sa.CheckConstraint("position >= 1", name="position"),
    sa.CheckConstraint("length(digest) = 32 AND length(hash) = 32", name="hashes"),
    sa.CheckConstraint("authority IN ('approvals', 'mandate')", name="authority"),
    sa.Index("ix_signing_records_lane", "chain", "sender", "nonce"),
    sa.Index("ix_signing_records_cause", "cause_id", "kind"),
    sa.Index("ix_signing_records_spend", "spend_id"),
    sa.Index("ix_signing_records_window", "chain", "kind", "signed_at_ns"),
)
append_only(signing_records)

signing_nonces = table(
    "signing_nonces",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("sender", Text, primary_key=True),
    sa.Column("nonce", Int64, primary_key=True, autoincrement=False),
    sa.Column("spend_id", Text, nullable=False),
)
append_only(signing_nonces)

signatures_made = table(
    "signatures_made",
    sa.Column(
        "position",
        Int64,
        sa.ForeignKey("signing_records.position"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("signature", Bytes, nullable=False),
    sa.CheckConstraint("length(signature) = 65", name="signature"),
)
append_only(signatures_made)


@dataclass(frozen=True, slots=True)
class Record:
    """One row of signing_records without position and hash."""

    chain: ChainId
    sender: str
    nonce: int
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
    authority: str
    evidence: str
    proven_dead: str
    """Positions of earlier attempts elsewhere that were proven dead first, with commas."""
    signed_at_ns: int

    @property
    def lane(self) -> tuple[str, str, int]:
        """Return what makes two transactions exclude each other."""
        return (self.chain, self.sender, self.nonce)

    @property
    def owner(self) -> str:
        """Return the spend that owns the nonce: a cancellation acts for the spend it cancels."""
        return self.cause_id if self.kind == SpendKind.CANCELLATION else self.spend_id

    @property
    def spend(self) -> SpendIntent:
        """Return the intent behind the encoded one."""
        return cast("SpendIntent", intents.decode(self.intent))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in the log."""

    position: int
    record: Record
    hash: bytes
    signature: bytes | None
    """None until it was made: nothing has left for this record."""


def append(conn: sa.Connection, record: Record) -> int:
    """Write a record and give its spend the nonce; return its position. The caller checked all."""
    position = next_number(conn, COUNTER)  # also the lock: two guards never append side by side
    previous = GENESIS_HASH
    if position > 1:
        found = conn.execute(
            sa.select(signing_records.c.hash).where(signing_records.c.position == position - 1)
        ).scalar_one_or_none()
        if found is None:
            raise Corrupt(f"signing record {position - 1} is missing")
        previous = found
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    conn.execute(
        signing_records.insert().values(
            position=position, hash=hash_of(position, previous, record), **values
        )
    )
    if owner_of(conn, record.chain, record.sender, record.nonce) is None:
        conn.execute(
            signing_nonces.insert().values(
                chain=record.chain,
                sender=record.sender,
                nonce=record.nonce,
                spend_id=record.owner,
            )
        )
    return position


def keep_signature(conn: sa.Connection, position: int, signature: bytes) -> None:
    """Store the signature of a record; the same again is quiet, another one is Corrupt."""
    stored = signature_at(conn, position)
    if stored is None:
        conn.execute(signatures_made.insert().values(position=position, signature=signature))
    elif stored != signature:
        raise Corrupt(f"two signatures for signing record {position}")


def signature_at(conn: sa.Connection, position: int) -> bytes | None:
    """Return the signature of a record, None while none was made."""
    return conn.execute(
        sa.select(signatures_made.c.signature).where(signatures_made.c.position == position)
    ).scalar_one_or_none()


def exists(conn: sa.Connection, spend_id: str) -> bool:
    """Return whether anything was ever signed for a spend."""
    query = sa.select(signing_records.c.position).where(signing_records.c.spend_id == spend_id)
    return conn.execute(query.limit(1)).first() is not None


def hash_of(position: int, previous: bytes, record: Record) -> bytes:
    """Return the 32 bytes that bind a record to everything before it."""
    values = (getattr(record, field.name) for field in fields(record))
    return derived_digest("signing-record", position, previous, *values)


def find(conn: sa.Connection, chain: ChainId, sender: str, digest: bytes) -> Entry | None:
    """Return the entry of a digest, None when it was never asked for."""
    wanted = signing_records.c
    entries = _select(conn, wanted.chain == chain, wanted.sender == sender, wanted.digest == digest)
    return next(iter(entries), None)


def at_nonce(conn: sa.Connection, chain: ChainId, sender: str, nonce: int) -> list[Entry]:
    """Return every entry of one nonce, oldest first."""
    wanted = signing_records.c
    return _select(conn, wanted.chain == chain, wanted.sender == sender, wanted.nonce == nonce)


def attempts_of(conn: sa.Connection, spend: SpendIntent) -> list[Entry]:
    """Return every entry that could carry out what a spend is for, oldest first.

    For a withdrawal that is every transaction ever signed for it, under whatever spend id; else
    every one of the spend. Cancellations carry nothing out.
    """
    wanted = signing_records.c
    same = wanted.spend_id == spend.spend_id
    if spend.kind is SpendKind.WITHDRAWAL:
        same = sa.or_(same, sa.and_(wanted.kind == spend.kind, wanted.cause_id == spend.cause_id))
    return _select(conn, same, wanted.kind != SpendKind.CANCELLATION.value)


def owner_of(conn: sa.Connection, chain: ChainId, sender: str, nonce: int) -> str | None:
    """Return the spend that owns a nonce for ever, None while nobody does."""
    return conn.execute(
        sa.select(signing_nonces.c.spend_id).where(
            signing_nonces.c.chain == chain,
            signing_nonces.c.sender == sender,
            signing_nonces.c.nonce == nonce,
        )
    ).scalar_one_or_none()


def nonces_below(conn: sa.Connection, chain: ChainId, sender: str, nonce: int) -> int:
    """Return how many nonces below one were ever signed for."""
    return conn.execute(
        sa.select(sa.func.count())
        .select_from(signing_nonces)
        .where(
            signing_nonces.c.chain == chain,
            signing_nonces.c.sender == sender,
            signing_nonces.c.nonce < nonce,
        )
    ).scalar_one()


def usage(conn: sa.Connection, spend: SpendIntent, *, after_ns: int) -> Usage:
    """Return what other spends of this kind and chain were signed under mandates since a time."""
    wanted = signing_records.c
    rows = conn.execute(
        sa.select(wanted.spend_id, wanted.asset_key, wanted.amount, wanted.fee_max).where(
            wanted.chain == spend.chain,
            wanted.kind == spend.kind.value,
            wanted.authority == BY_MANDATE,
            wanted.signed_at_ns > after_ns,
            wanted.spend_id != spend.spend_id,
        )
    )
    return summed(
        ((row.spend_id, row.asset_key, row.amount, row.fee_max) for row in rows), spend.asset_key
    )


def summed(rows: Iterable[tuple[str, str, int, int]], asset_key: str) -> Usage:
    """Sum (spend, asset, amount, fee) rows: of one spend's transactions at most one can land."""
    amounts: dict[str, int] = {}
    fees: dict[str, int] = {}
    for spend_id, key, amount, fee_max in rows:
        if key == asset_key:
            amounts[spend_id] = max(amounts.get(spend_id, 0), amount)
        fees[spend_id] = max(fees.get(spend_id, 0), fee_max)
    return Usage(sum(amounts.values()), sum(fees.values()))


def entries(conn: sa.Connection) -> Iterator[Entry]:
    """Yield the whole log in order."""
    position = 0
    while page := _select(conn, signing_records.c.position > position, limit=PAGE):
        yield from page
        position = page[-1].position


def last_position(conn: sa.Connection) -> int:
    """Return the counter's position, which the log must reach."""
    query = sa.select(counters.c.last).where(counters.c.name == COUNTER)
    return conn.execute(query).scalar_one_or_none() or 0


def _select(
    conn: sa.Connection, *conditions: sa.ColumnElement[bool], limit: int | None = None
) -> list[Entry]:
    query = (
        sa.select(signing_records, signatures_made.c.signature)
        .outerjoin(signatures_made, signatures_made.c.position == signing_records.c.position)
        .where(*conditions)
        .order_by(signing_records.c.position)
        .limit(limit)
    )
    return [_entry(row) for row in conn.execute(query)]


def _entry(row: sa.Row[tuple[object, ...]]) -> Entry:
    values = dict(row._mapping)  # noqa: SLF001 - the documented way to a row's names
    position, digest, signature = (values.pop(n) for n in ("position", "hash", "signature"))
    return Entry(
        cast("int", position),
        Record(**values),
        cast("bytes", digest),
        cast("bytes | None", signature),
    )
