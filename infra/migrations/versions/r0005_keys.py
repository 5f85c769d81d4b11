"""What was signed, and who may ask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Amount, Bytes, Int64, Text, amount_check
from infra.migrations import ddl

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _idempotency_keys()
    _signing_nonces()
    _signing_records()
    _api_keys()
    _signatures_made()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("request_hash", Bytes, nullable=False),
        sa.Column("status", Int64, nullable=True),
        sa.Column("body", Text, nullable=True),
        sa.Column("created_at_ns", Int64, nullable=False),
        sa.CheckConstraint("(status IS NULL) = (body IS NULL)", name="whole_answers"),
        sa.CheckConstraint("length(request_hash) = 32", name="request_hash"),
        sa.PrimaryKeyConstraint("principal", "key"),
        sqlite_strict=True,
    )


def _signing_nonces() -> None:
    op.create_table(
        "signing_nonces",
        sa.Column("chain", Text, nullable=False),
        sa.Column("sender", Text, nullable=False),
        sa.Column("nonce", Int64, autoincrement=False, nullable=False),
        sa.Column("spend_id", Text, nullable=False),
        sa.PrimaryKeyConstraint("chain", "sender", "nonce"),
        sqlite_strict=True,
    )
    ddl.append_only("signing_nonces", keys=[["chain", "sender", "nonce"]])


def _signing_records() -> None:
    op.create_table(
        "signing_records",
        sa.Column("position", Int64, autoincrement=False, nullable=False),
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
        sa.CheckConstraint("authority IN ('approvals', 'mandate')", name="authority"),
        sa.CheckConstraint("length(digest) = 32 AND length(hash) = 32", name="hashes"),
        sa.CheckConstraint("position >= 1", name="position"),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("chain", "sender", "digest"),
        *amount_check("fee_max"),
        *amount_check("amount"),
        sqlite_strict=True,
    )
    op.create_index("ix_signing_records_cause", "signing_records", ["cause_id", "kind"])
    op.create_index("ix_signing_records_lane", "signing_records", ["chain", "sender", "nonce"])
    op.create_index("ix_signing_records_spend", "signing_records", ["spend_id"])
    op.create_index(
        "ix_signing_records_window", "signing_records", ["chain", "kind", "signed_at_ns"]
    )
    ddl.append_only("signing_records", keys=[["chain", "sender", "digest"], ["position"]])


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", Text, nullable=False),
        sa.Column("key_no", Int64, nullable=False),
        sa.Column("secret_hash", Bytes, nullable=False),
        sa.Column("role", Text, nullable=False),
        sa.Column("subject", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=True),
        sa.Column("created_at_ns", Int64, nullable=False),
        sa.Column("revoked_at_ns", Int64, nullable=True),
        sa.CheckConstraint(
            "(role = 'customer') = (customer_no IS NOT NULL)", name="customers_keys_have_customers"
        ),
        sa.CheckConstraint("length(secret_hash) = 32", name="secret_hash"),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("key_id"),
        sa.UniqueConstraint("key_no"),
        sqlite_strict=True,
    )


def _signatures_made() -> None:
    op.create_table(
        "signatures_made",
        sa.Column("position", Int64, autoincrement=False, nullable=False),
        sa.Column("signature", Bytes, nullable=False),
        sa.CheckConstraint("length(signature) = 65", name="signature"),
        sa.ForeignKeyConstraint(["position"], ["signing_records.position"]),
        sa.PrimaryKeyConstraint("position"),
        sqlite_strict=True,
    )
    ddl.append_only("signatures_made", keys=[["position"]])
