"""Rows of the customers' address books, and what is read of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import sqlalchemy as sa

from core.clock import DAY_NS, SECOND_NS
from core.errors import Reason, Refused
from core.ids import ChainId, CustomerNo
from custody.db import Bytes, Flag, Int64, Text, table


@dataclass(frozen=True, slots=True)
class BookTerms:
    """How address books behave; the operator's settings. USD in 10^-6 USD."""

    cooldown_ns: int = DAY_NS
    """From the confirmation to the first payment."""
    large_cooldown_ns: int = 3 * DAY_NS
    """The same for payments of large_usd and more, and for those without a price."""
    large_usd: int = 10_000 * 10**6
    code_ttl_ns: int = 3600 * SECOND_NS
    tries_max: int = 5
    """Wrong codes before a code is worth nothing."""
    codes_max: int = 5
    """Codes per entry."""
    entries_max: int = 200
    """Live entries of a customer, with those made during the last day."""
    required: bool = False
    """Whether customers who chose nothing may withdraw to entries only."""


class EntryState(enum.StrEnum):
    """Where an entry stands; whether a confirmed one has cooled down is a question of time."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REMOVED = "removed"


address_entries = table(
    "address_entries",
    sa.Column("entry_id", Text, primary_key=True),
    sa.Column("entry_no", Int64, nullable=False, unique=True),
    sa.Column("client_entry_id", Text, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), nullable=False),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), nullable=False),
    sa.Column("address", Text, nullable=False),
    sa.Column("tag", Text),
    sa.Column("label", Text, nullable=False),
    sa.Column("last_editor", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("created_at_ns", Int64, nullable=False),
    sa.Column("confirmed_at_ns", Int64),
    sa.Column("removed_at_ns", Int64),
    sa.Column("code_hash", Bytes),
    sa.Column("code_expires_ns", Int64, nullable=False),
    sa.Column("tries_left", Int64, nullable=False),
    sa.Column("codes_left", Int64, nullable=False),
    sa.UniqueConstraint("customer_no", "client_entry_id"),
    sa.Index("ix_address_entries_address", "customer_no", "chain", "address"),
    sa.Index("ix_address_entries_customer", "customer_no", "entry_no"),
    sa.CheckConstraint("(state = 'pending') = (code_hash IS NOT NULL)", name="codes_of_pending"),
    sa.CheckConstraint("state <> 'confirmed' OR confirmed_at_ns IS NOT NULL", name="confirmed"),
    sa.CheckConstraint("(state = 'removed') = (removed_at_ns IS NOT NULL)", name="removed"),
)

address_book_rules = table(
    "address_book_rules",
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no"), primary_key=True),
    sa.Column("required", Flag, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be entered. client_entry_id is the idempotency key, valid for ever."""

    client_entry_id: str
    customer_no: CustomerNo
    chain: ChainId
    address: str
    """Canonical text, as the chain parsed it."""
    label: str
    editor: str
    """Who makes the entry."""
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. Nothing of its code is in here."""

    entry_id: str
    entry_no: int
    client_entry_id: str
    customer_no: CustomerNo
    chain: ChainId
    address: str
    tag: str | None
    label: str
    last_editor: str
    state: EntryState
    created_at_ns: int
    confirmed_at_ns: int | None
    removed_at_ns: int | None
    code_expires_ns: int
    tries_left: int
    codes_left: int


def get(conn: sa.Connection, customer_no: CustomerNo, entry_id: str) -> Entry:
    """Return a customer's entry. Refused: not_found, for others' ones alike."""
    row = conn.execute(
        sa.select(address_entries).where(
            address_entries.c.entry_id == entry_id, address_entries.c.customer_no == customer_no
        )
    ).one_or_none()
    if row is None:
        raise Refused(Reason.NOT_FOUND, "there is no such entry")
    return _entry(row)


def find(
    conn: sa.Connection, customer_no: CustomerNo, chain: ChainId, address: str
) -> Entry | None:
    """Return the live entry of an address, pending or confirmed; None without one."""
    row = conn.execute(
        sa.select(address_entries).where(
            address_entries.c.customer_no == customer_no,
            address_entries.c.chain == chain,
            address_entries.c.address == address,
            address_entries.c.state != EntryState.REMOVED.value,
        )
    ).one_or_none()
    return None if row is None else _entry(row)


def entries(
    conn: sa.Connection, customer_no: CustomerNo, *, after: int = 0, limit: int = 100
) -> list[Entry]:
    """Return a customer's entries in the order they were made, removed ones too."""
    query = (
        sa.select(address_entries)
        .where(address_entries.c.customer_no == customer_no, address_entries.c.entry_no > after)
        .order_by(address_entries.c.entry_no)
        .limit(limit)
    )
    return [_entry(row) for row in conn.execute(query)]


def is_required(conn: sa.Connection, customer_no: CustomerNo, *, terms: BookTerms) -> bool:
    """Return whether a customer may withdraw to confirmed entries only."""
    chosen = conn.execute(
        sa.select(address_book_rules.c.required).where(
            address_book_rules.c.customer_no == customer_no
        )
    ).scalar_one_or_none()
    return terms.required if chosen is None else bool(chosen)


def by_client_id(
    conn: sa.Connection, customer_no: CustomerNo, client_entry_id: str
) -> Entry | None:
    """Return the entry that a customer made under an id of his own."""
    row = conn.execute(
        sa.select(address_entries).where(
            address_entries.c.customer_no == customer_no,
            address_entries.c.client_entry_id == client_entry_id,
        )
    ).one_or_none()
    return None if row is None else _entry(row)


def _entry(row: sa.Row[tuple[object, ...]]) -> Entry:
    left_out = ("code_hash",)
    values = {c.name: getattr(row, c.name) for c in address_entries.c if c.name not in left_out}
    return Entry(**{**values, "state": EntryState(row.state)})
