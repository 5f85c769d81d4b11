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
    _address_book_rules()
    _address_entries()
    _security_changes()
    _used_destinations()
    _inside_transfers()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


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
