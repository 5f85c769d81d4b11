"""The road to the engine and back: funding, projector, lease, orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Amount, Bytes, Flag, Int64, Text, amount_check
from infra.migrations import ddl

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _engine_lease()
    _fills()
    _orders()
    _process_heartbeats()
    _projector()
    _funding()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _engine_lease() -> None:
    op.create_table(
        "engine_lease",
        sa.Column("lease_no", Int64, autoincrement=False, nullable=False),
        sa.Column("epoch", Int64, nullable=False),
        sa.Column("holder", Text, nullable=False),
        sa.Column("expires_at_ns", Int64, nullable=False),
        sa.CheckConstraint("lease_no = 1", name="only_one"),
        sa.PrimaryKeyConstraint("lease_no"),
        sqlite_strict=True,
    )


def _fills() -> None:
    op.create_table(
        "fills",
        sa.Column("sequence", Int64, autoincrement=False, nullable=False),
        sa.Column("n", Int64, autoincrement=False, nullable=False),
        sa.Column("market_no", Int64, nullable=False),
        sa.Column("taker_order_id", Bytes, nullable=False),
        sa.Column("maker_order_id", Bytes, nullable=False),
        sa.Column("buyer_no", Int64, nullable=False),
        sa.Column("seller_no", Int64, nullable=False),
        sa.Column("taker_is_buyer", Flag, nullable=False),
        sa.Column("price_ticks", Int64, nullable=False),
        sa.Column("quantity_lots", Int64, nullable=False),
        sa.Column("base_minor", Amount, nullable=False),
        sa.Column("quote_minor", Amount, nullable=False),
        sa.Column("buyer_fee_base", Amount, nullable=False),
        sa.Column("seller_fee_quote", Amount, nullable=False),
        sa.PrimaryKeyConstraint("sequence", "n"),
        sa.CheckConstraint("taker_is_buyer IN (0, 1)", name="taker_is_buyer_flag").ddl_if(
            dialect="sqlite"
        ),
        *amount_check("base_minor"),
        *amount_check("quote_minor"),
        *amount_check("buyer_fee_base"),
        *amount_check("seller_fee_quote"),
        sqlite_strict=True,
    )
    op.create_index("ix_fills_buyer_no", "fills", ["buyer_no"])
    op.create_index("ix_fills_seller_no", "fills", ["seller_no"])


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_no", Int64, autoincrement=False, nullable=False),
        sa.Column("order_id", Bytes, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("client_order_id", Bytes, nullable=False),
        sa.Column("market_no", Int64, nullable=False),
        sa.Column("side", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("tif", Text, nullable=False),
        sa.Column("price_ticks", Int64, nullable=False),
        sa.Column("quantity_lots", Int64, nullable=False),
        sa.Column("filled_lots", Int64, nullable=False),
        sa.Column("cancelled_lots", Int64, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.PrimaryKeyConstraint("order_no"),
        sa.UniqueConstraint("order_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_orders_client", "orders", ["customer_no", "client_order_id"])
    op.create_index("ix_orders_customer", "orders", ["customer_no", "order_no"])


def _process_heartbeats() -> None:
    op.create_table(
        "process_heartbeats",
        sa.Column("process", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.Column("steps", Text, nullable=False),
        sa.PrimaryKeyConstraint("process"),
        sqlite_strict=True,
    )


def _projector() -> None:
    op.create_table(
        "projector",
        sa.Column("projector_no", Int64, autoincrement=False, nullable=False),
        sa.Column("epoch", Int64, nullable=False),
        sa.Column("sequence", Int64, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.CheckConstraint("projector_no = 1", name="only_one"),
        sa.PrimaryKeyConstraint("projector_no"),
        sqlite_strict=True,
    )


def _funding() -> None:
    op.create_table(
        "funding",
        sa.Column("funding_id", Int64, autoincrement=False, nullable=False),
        sa.Column("number", Int64, nullable=True),
        sa.Column("kind", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("cause_id", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.Column("sequence", Int64, nullable=True),
        sa.Column("shortfall", Amount, nullable=True),
        sa.CheckConstraint("(state = 'new') = (number IS NULL)", name="new_rows_have_no_number"),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("funding_id"),
        sa.UniqueConstraint("cause_id", "kind"),
        sa.UniqueConstraint("number"),
        *amount_check("amount"),
        *amount_check("shortfall"),
        sqlite_strict=True,
    )
    op.create_index("ix_funding_kind", "funding", ["kind", "customer_no"])
    op.create_index("ix_funding_state", "funding", ["state", "funding_id"])
