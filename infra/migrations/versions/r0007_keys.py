"""What was signed, and who may ask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Bytes, Int64, Text
from infra.migrations import ddl

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _idempotency_keys()
    _issued_keys()
    _api_keys()


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


def _issued_keys() -> None:
    op.create_table(
        "issued_keys",
        sa.Column("chain", Text, nullable=False),
        sa.Column("account", Text, nullable=False),
        sa.Column("key_index", Int64, autoincrement=False, nullable=False),
        sa.Column("public_key", Bytes, nullable=False),
        sa.Column("proof", Bytes, nullable=False),
        sa.Column("created_at_ns", Int64, nullable=False),
        sa.PrimaryKeyConstraint("chain", "account", "key_index"),
        sa.UniqueConstraint("chain", "public_key"),
        sqlite_strict=True,
    )


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
