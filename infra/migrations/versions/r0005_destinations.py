"""Whom a customer may pay, and what holds a payment back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Amount, Bytes, Flag, Int64, Text, amount_check
from infra.migrations import ddl

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _sanction_lists()
    _sanctioned_addresses()
    _stops()
    _velocity_reservations()
    _velocity_totals()
    _address_book_rules()
    _address_entries()
    _prices()
    _screening_cases()
    _security_changes()
    _used_destinations()
    _inside_transfers()
    _screening_answers()
    _screening_releases()
    _travel_records()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _sanction_lists() -> None:
    op.create_table(
        "sanction_lists",
        sa.Column("list_no", Int64, autoincrement=False, nullable=False),
        sa.Column("sha256", Bytes, nullable=False),
        sa.Column("published", Text, nullable=False),
        sa.Column("parties", Int64, nullable=False),
        sa.Column("addresses", Int64, nullable=False),
        sa.Column("by", Text, nullable=False),
        sa.Column("checked_at_ns", Int64, nullable=False),
        sa.PrimaryKeyConstraint("list_no"),
        sqlite_strict=True,
    )
    ddl.append_only("sanction_lists", keys=[["list_no"]])


def _sanctioned_addresses() -> None:
    op.create_table(
        "sanctioned_addresses",
        sa.Column("sha256", Bytes, nullable=False),
        sa.Column("comparable", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("symbol", Text, nullable=False),
        sa.Column("party", Text, nullable=False),
        sa.PrimaryKeyConstraint("sha256", "comparable"),
        sqlite_strict=True,
    )
    ddl.append_only("sanctioned_addresses", keys=[["sha256", "comparable"]])


def _stops() -> None:
    op.create_table(
        "stops",
        sa.Column("stop_no", Int64, autoincrement=False, nullable=False),
        sa.Column("stop_id", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("scope", Text, nullable=False),
        sa.Column("placed_by", Text, nullable=False),
        sa.Column("placed_at_ns", Int64, nullable=False),
        sa.Column("until_ns", Int64, nullable=True),
        sa.Column("lifted_by", Text, nullable=True),
        sa.Column("lifted_at_ns", Int64, nullable=True),
        sa.Column("told_at_ns", Int64, nullable=True),
        sa.Column("because", Text, nullable=False),
        sa.Column("paper", Bytes, nullable=False),
        sa.CheckConstraint("(kind = 'freeze') = (until_ns IS NOT NULL)", name="until"),
        sa.CheckConstraint("kind = 'pause' OR lifted_at_ns IS NULL", name="only_pauses_are_lifted"),
        sa.PrimaryKeyConstraint("stop_no"),
        sa.UniqueConstraint("stop_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_stops_scope", "stops", ["scope"])
    op.create_index("ix_stops_told", "stops", ["told_at_ns"])


def _velocity_reservations() -> None:
    op.create_table(
        "velocity_reservations",
        sa.Column("owner", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("reserved_at_ns", Int64, nullable=False),
        sa.Column("released_at_ns", Int64, nullable=True),
        sa.Column("freed_at_ns", Int64, nullable=True),
        sa.PrimaryKeyConstraint("owner", "key"),
        *amount_check("amount"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_velocity_reservations_key", "velocity_reservations", ["key", "released_at_ns"]
    )


def _velocity_totals() -> None:
    op.create_table(
        "velocity_totals",
        sa.Column("key", Text, nullable=False),
        sa.Column("window_ns", Int64, autoincrement=False, nullable=False),
        sa.Column("total", Amount, nullable=False),
        sa.Column("left_ns", Int64, nullable=False),
        sa.CheckConstraint("window_ns > 0", name="window"),
        sa.PrimaryKeyConstraint("key", "window_ns"),
        *amount_check("total"),
        sqlite_strict=True,
    )


def _address_book_rules() -> None:
    op.create_table(
        "address_book_rules",
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("required", Flag, nullable=False),
        sa.Column("by", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("customer_no"),
        sa.CheckConstraint("required IN (0, 1)", name="required_flag").ddl_if(dialect="sqlite"),
        sqlite_strict=True,
    )


def _address_entries() -> None:
    op.create_table(
        "address_entries",
        sa.Column("entry_id", Text, nullable=False),
        sa.Column("entry_no", Int64, nullable=False),
        sa.Column("client_entry_id", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("tag", Text, nullable=True),
        sa.Column("label", Text, nullable=False),
        sa.Column("last_editor", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("created_at_ns", Int64, nullable=False),
        sa.Column("confirmed_at_ns", Int64, nullable=True),
        sa.Column("removed_at_ns", Int64, nullable=True),
        sa.Column("code_hash", Bytes, nullable=True),
        sa.Column("code_expires_ns", Int64, nullable=False),
        sa.Column("tries_left", Int64, nullable=False),
        sa.Column("codes_left", Int64, nullable=False),
        sa.CheckConstraint(
            "(state = 'pending') = (code_hash IS NOT NULL)", name="codes_of_pending"
        ),
        sa.CheckConstraint("(state = 'removed') = (removed_at_ns IS NOT NULL)", name="removed"),
        sa.CheckConstraint("state <> 'confirmed' OR confirmed_at_ns IS NOT NULL", name="confirmed"),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("entry_id"),
        sa.UniqueConstraint("customer_no", "client_entry_id"),
        sa.UniqueConstraint("entry_no"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_address_entries_address", "address_entries", ["customer_no", "chain", "address"]
    )
    op.create_index("ix_address_entries_customer", "address_entries", ["customer_no", "entry_no"])


def _prices() -> None:
    op.create_table(
        "prices",
        sa.Column("price_no", Int64, autoincrement=False, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("value", Amount, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.Column("source", Text, nullable=False),
        sa.Column("recorded_by", Text, nullable=False),
        sa.Column("recorded_at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.PrimaryKeyConstraint("price_no"),
        sa.UniqueConstraint("asset_no", "at_ns", "source"),
        *amount_check("value"),
        sqlite_strict=True,
    )
    ddl.append_only("prices", keys=[["asset_no", "at_ns", "source"], ["price_no"]])


def _screening_cases() -> None:
    op.create_table(
        "screening_cases",
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("asset_key", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("opened_at_ns", Int64, nullable=False),
        sa.Column("tries", Int64, nullable=False),
        sa.Column("next_ask_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("withdrawal_id"),
        *amount_check("amount"),
        sqlite_strict=True,
    )
    op.create_index("ix_screening_cases_next", "screening_cases", ["next_ask_ns"])


def _security_changes() -> None:
    op.create_table(
        "security_changes",
        sa.Column("change_no", Int64, autoincrement=False, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("by", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("change_no"),
        sqlite_strict=True,
    )
    op.create_index("ix_security_changes_customer", "security_changes", ["customer_no", "at_ns"])
    ddl.append_only("security_changes", keys=[["change_no"]])


def _used_destinations() -> None:
    op.create_table(
        "used_destinations",
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("likeness", Text, nullable=False),
        sa.Column("used_no", Int64, nullable=False),
        sa.Column("first_used_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("customer_no", "chain", "address"),
        sa.UniqueConstraint("used_no"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_used_destinations_likeness", "used_destinations", ["customer_no", "chain", "likeness"]
    )


def _inside_transfers() -> None:
    op.create_table(
        "inside_transfers",
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("transfer_no", Int64, nullable=False),
        sa.Column("sender_no", Int64, nullable=False),
        sa.Column("receiver_no", Int64, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("fee", Amount, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.CheckConstraint("sender_no <> receiver_no", name="two_customers"),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["receiver_no"], ["customers.customer_no"]),
        sa.ForeignKeyConstraint(["sender_no"], ["customers.customer_no"]),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawals.withdrawal_id"]),
        sa.PrimaryKeyConstraint("withdrawal_id"),
        sa.UniqueConstraint("transfer_no"),
        *amount_check("amount"),
        *amount_check("fee"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_inside_transfers_receiver", "inside_transfers", ["receiver_no", "transfer_no"]
    )
    ddl.append_only("inside_transfers", keys=[["transfer_no"], ["withdrawal_id"]])


def _screening_answers() -> None:
    op.create_table(
        "screening_answers",
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("provider", Text, nullable=False),
        sa.Column("outcome", Text, nullable=False),
        sa.Column("reference", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["screening_cases.withdrawal_id"]),
        sa.PrimaryKeyConstraint("withdrawal_id", "provider"),
        sqlite_strict=True,
    )
    ddl.append_only("screening_answers", keys=[["withdrawal_id", "provider"]])


def _screening_releases() -> None:
    op.create_table(
        "screening_releases",
        sa.Column("statement_id", Text, nullable=False),
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("persons", Text, nullable=False),
        sa.Column("answers", Bytes, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["screening_cases.withdrawal_id"]),
        sa.PrimaryKeyConstraint("statement_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_screening_releases_withdrawal", "screening_releases", ["withdrawal_id"])
    ddl.append_only("screening_releases", keys=[["statement_id"]])


def _travel_records() -> None:
    op.create_table(
        "travel_records",
        sa.Column("record_no", Int64, autoincrement=False, nullable=False),
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("sha256", Bytes, nullable=False),
        sa.Column("message", Bytes, nullable=False),
        sa.Column("by", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawals.withdrawal_id"]),
        sa.PrimaryKeyConstraint("record_no"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_travel_records_withdrawal", "travel_records", ["withdrawal_id", "record_no"]
    )
    ddl.append_only("travel_records", keys=[["record_no"]])
