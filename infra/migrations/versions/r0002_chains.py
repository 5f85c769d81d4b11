"""Followed chains, own addresses, and what arrived at them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Amount, Bytes, Flag, Int64, Text, amount_check
from infra.migrations import ddl

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _chain_states()
    _fee_hours()
    _incidents()
    _addresses()
    _blocks()
    _pending_payments()
    _coins()
    _deposits()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _chain_states() -> None:
    op.create_table(
        "chain_states",
        sa.Column("chain", Text, nullable=False),
        sa.Column("network", Text, nullable=False),
        sa.Column("final_height", Int64, nullable=False),
        sa.Column("final_hash", Text, nullable=True),
        sa.Column("frozen", Flag, nullable=False),
        sa.Column("reorgs", Int64, nullable=False),
        sa.Column("deepest_reorg", Int64, nullable=False),
        sa.PrimaryKeyConstraint("chain"),
        sa.CheckConstraint("frozen IN (0, 1)", name="frozen_flag").ddl_if(dialect="sqlite"),
        sqlite_strict=True,
    )


def _fee_hours() -> None:
    op.create_table(
        "fee_hours",
        sa.Column("chain", Text, nullable=False),
        sa.Column("hour", Int64, autoincrement=False, nullable=False),
        sa.Column("rate", Int64, nullable=False),
        sa.PrimaryKeyConstraint("chain", "hour"),
        sqlite_strict=True,
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("incident_no", Int64, autoincrement=False, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.Column("opened_at_ns", Int64, nullable=False),
        sa.Column("closed_at_ns", Int64, nullable=True),
        sa.PrimaryKeyConstraint("incident_no"),
        sqlite_strict=True,
    )


def _addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("chain", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("account", Text, nullable=False),
        sa.Column("key_index", Int64, nullable=False),
        sa.Column("customer_no", Int64, nullable=True),
        sa.Column("created_at_ns", Int64, nullable=False),
        sa.Column("attestation", Bytes, nullable=True),
        sa.CheckConstraint(
            "(account = 'deposits') = (customer_no IS NOT NULL)",
            name="deposit_addresses_have_owners",
        ),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("chain", "address"),
        sa.UniqueConstraint("chain", "account", "key_index"),
        sqlite_strict=True,
    )
    op.create_index("ix_addresses_customer", "addresses", ["customer_no", "chain"])
    op.create_index("ix_addresses_index", "addresses", ["account", "key_index"])
    op.create_index(
        "ix_addresses_pending",
        "addresses",
        ["chain", "created_at_ns"],
        postgresql_where=sa.text("attestation IS NULL"),
        sqlite_where=sa.text("attestation IS NULL"),
    )


def _blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("chain", Text, nullable=False),
        sa.Column("height", Int64, autoincrement=False, nullable=False),
        sa.Column("hash", Text, nullable=False),
        sa.Column("parent_hash", Text, nullable=False),
        sa.Column("time_s", Int64, nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.PrimaryKeyConstraint("chain", "height"),
        sa.UniqueConstraint("chain", "hash"),
        sqlite_strict=True,
    )


def _pending_payments() -> None:
    op.create_table(
        "pending_payments",
        sa.Column("chain", Text, nullable=False),
        sa.Column("tx_id", Text, nullable=False),
        sa.Column("position", Text, nullable=False),
        sa.Column("asset_key", Text, nullable=False),
        sa.Column("deposit_id", Text, nullable=False),
        sa.Column("asset_no", Int64, nullable=True),
        sa.Column("address", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("seen_at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("chain", "tx_id", "position", "asset_key"),
        sa.UniqueConstraint("deposit_id"),
        *amount_check("amount"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_pending_payments_customer", "pending_payments", ["customer_no", "seen_at_ns"]
    )


def _coins() -> None:
    op.create_table(
        "coins",
        sa.Column("chain", Text, nullable=False),
        sa.Column("outpoint", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("account", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("height", Int64, nullable=False),
        sa.Column("used_tx", Text, nullable=True),
        sa.Column("used_height", Int64, nullable=True),
        sa.ForeignKeyConstraint(["chain", "address"], ["addresses.chain", "addresses.address"]),
        sa.PrimaryKeyConstraint("chain", "outpoint"),
        *amount_check("amount"),
        sqlite_strict=True,
    )
    op.create_index("ix_coins_account", "coins", ["chain", "account", "used_height", "height"])
    op.create_index("ix_coins_used", "coins", ["chain", "used_height"])


def _deposits() -> None:
    op.create_table(
        "deposits",
        sa.Column("deposit_id", Text, nullable=False),
        sa.Column("arrival_no", Int64, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("tx_id", Text, nullable=False),
        sa.Column("position", Text, nullable=False),
        sa.Column("asset_key", Text, nullable=False),
        sa.Column("asset_no", Int64, nullable=True),
        sa.Column("address", Text, nullable=False),
        sa.Column("account", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=True),
        sa.Column("from_address", Text, nullable=True),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("claimed", Amount, nullable=False),
        sa.Column("anomaly", Text, nullable=True),
        sa.Column("height", Int64, nullable=False),
        sa.Column("block_hash", Text, nullable=False),
        sa.Column("extra_depth", Int64, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.Column("seen_at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["chain", "address"], ["addresses.chain", "addresses.address"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("deposit_id"),
        sa.UniqueConstraint("arrival_no"),
        sa.UniqueConstraint("chain", "tx_id", "position", "asset_key"),
        *amount_check("amount"),
        *amount_check("claimed"),
        sqlite_strict=True,
    )
    op.create_index("ix_deposits_address", "deposits", ["chain", "address", "state"])
    op.create_index("ix_deposits_customer", "deposits", ["customer_no", "arrival_no"])
    op.create_index("ix_deposits_state", "deposits", ["chain", "state", "height"])
