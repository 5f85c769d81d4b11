"""Numbers, customers, what is listed, and the double-entry ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Amount, Bytes, Flag, Int64, Text, amount_check
from infra.migrations import ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _accounts()
    _accounts_triggers()
    _assets()
    _audit_records()
    _counters()
    _customers()
    _ledger_chains()
    _markets()
    _transfers()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", Int64, autoincrement=False, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("owner", Text, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("debits", Amount, nullable=False),
        sa.Column("credits", Amount, nullable=False),
        sa.Column("guard", Text, nullable=False),
        sa.CheckConstraint(
            "guard <> 'credits_at_most_debits' OR credits <= debits", name="credits_at_most_debits"
        ),
        sa.CheckConstraint(
            "guard <> 'debits_at_most_credits' OR debits <= credits", name="debits_at_most_credits"
        ),
        sa.CheckConstraint("asset_no BETWEEN 0 AND 65535", name="asset_no"),
        sa.CheckConstraint(
            (
                "(guard = 'none' AND kind IN ('deposit_addresses', 'hot', 'warm', 'cold', "
                "'in_transit', 'rounding', 'loss', 'equity')) OR (guard = "
                "'debits_at_most_credits' AND kind IN ('balance', 'withdrawing', 'suspense', "
                "'fee_income')) OR (guard = 'credits_at_most_debits' AND kind IN "
                "('network_fees', 'receivable'))"
            ),
            name="guard_of_kind",
        ),
        sa.PrimaryKeyConstraint("account_id"),
        sa.UniqueConstraint("account_id", "asset_no"),
        sa.UniqueConstraint("kind", "owner", "asset_no"),
        *amount_check("debits"),
        *amount_check("credits"),
        sqlite_strict=True,
    )


def _accounts_triggers() -> None:
    ddl.statements(
        {
            "sqlite": [
                (
                    "CREATE TRIGGER accounts_no_change BEFORE UPDATE ON accounts WHEN "
                    "NEW.account_id <> OLD.account_id OR NEW.kind <> OLD.kind OR NEW.owner <> "
                    "OLD.owner OR NEW.asset_no <> OLD.asset_no OR NEW.guard <> OLD.guard OR "
                    "NEW.debits < OLD.debits OR NEW.credits < OLD.credits BEGIN SELECT "
                    "RAISE(ABORT, 'accounts only grow'); END"
                ),
                (
                    "CREATE TRIGGER accounts_no_delete BEFORE DELETE ON accounts BEGIN SELECT "
                    "RAISE(ABORT, 'accounts only grow'); END"
                ),
                (
                    "CREATE TRIGGER accounts_no_replace BEFORE INSERT ON accounts WHEN EXISTS "
                    "(SELECT 1 FROM accounts WHERE account_id = NEW.account_id OR (kind = "
                    "NEW.kind AND owner = NEW.owner AND asset_no = NEW.asset_no)) BEGIN SELECT "
                    "RAISE(ABORT, 'accounts only grow'); END"
                ),
            ],
            "postgresql": [
                (
                    "CREATE OR REPLACE FUNCTION accounts_only_grow() RETURNS trigger LANGUAGE "
                    "plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
                    "MESSAGE = 'accounts only grow'; END $$"
                ),
                (
                    "CREATE TRIGGER accounts_no_change BEFORE UPDATE ON accounts FOR EACH ROW "
                    "WHEN (NEW.account_id <> OLD.account_id OR NEW.kind <> OLD.kind OR NEW.owner "
                    "<> OLD.owner OR NEW.asset_no <> OLD.asset_no OR NEW.guard <> OLD.guard OR "
                    "NEW.debits < OLD.debits OR NEW.credits < OLD.credits) EXECUTE FUNCTION "
                    "accounts_only_grow()"
                ),
                (
                    "CREATE TRIGGER accounts_no_delete BEFORE DELETE OR TRUNCATE ON accounts FOR "
                    "EACH STATEMENT EXECUTE FUNCTION accounts_only_grow()"
                ),
            ],
        }
    )


def _assets() -> None:
    op.create_table(
        "assets",
        sa.Column("asset_no", Int64, autoincrement=False, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("asset_key", Text, nullable=False),
        sa.Column("symbol", Text, nullable=False),
        sa.Column("scale", Int64, nullable=False),
        sa.Column("deposit_minimum", Amount, nullable=False),
        sa.Column("withdrawal_minimum", Amount, nullable=False),
        sa.Column("withdrawal_fee", Amount, nullable=False),
        sa.Column("sweep_minimum", Amount, nullable=False),
        sa.Column("odd", Flag, nullable=False),
        sa.PrimaryKeyConstraint("asset_no"),
        sa.UniqueConstraint("chain", "asset_key"),
        *amount_check("deposit_minimum"),
        *amount_check("withdrawal_minimum"),
        *amount_check("withdrawal_fee"),
        *amount_check("sweep_minimum"),
        sa.CheckConstraint("odd IN (0, 1)", name="odd_flag").ddl_if(dialect="sqlite"),
        sqlite_strict=True,
    )


def _audit_records() -> None:
    op.create_table(
        "audit_records",
        sa.Column("number", Int64, autoincrement=False, nullable=False),
        sa.Column("actor", Text, nullable=False),
        sa.Column("action", Text, nullable=False),
        sa.Column("subject", Text, nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.CheckConstraint("length(hash) = 32", name="hash"),
        sa.CheckConstraint("number >= 1", name="number"),
        sa.PrimaryKeyConstraint("number"),
        sqlite_strict=True,
    )
    ddl.append_only("audit_records", keys=[["number"]])


def _counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", Text, nullable=False),
        sa.Column("last", Int64, sa.CheckConstraint("last >= 1", name="last"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_strict=True,
    )


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("customer_no", Int64, autoincrement=False, nullable=False),
        sa.Column("external_id", Text, nullable=False),
        sa.Column("frozen", Flag, nullable=False),
        sa.Column("frozen_reason", Text, nullable=True),
        sa.Column("created_at_ns", Int64, nullable=False),
        sa.PrimaryKeyConstraint("customer_no"),
        sa.UniqueConstraint("external_id"),
        sa.CheckConstraint("frozen IN (0, 1)", name="frozen_flag").ddl_if(dialect="sqlite"),
        sqlite_strict=True,
    )


def _ledger_chains() -> None:
    op.create_table(
        "ledger_chains",
        sa.Column("chain", Text, nullable=False),
        sa.Column("position", Int64, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.CheckConstraint("length(hash) = 32", name="hash"),
        sa.CheckConstraint("position >= 1", name="position"),
        sa.PrimaryKeyConstraint("chain"),
        sqlite_strict=True,
    )


def _markets() -> None:
    op.create_table(
        "markets",
        sa.Column("market_no", Int64, autoincrement=False, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("base_asset_no", Int64, nullable=False),
        sa.Column("quote_asset_no", Int64, nullable=False),
        sa.Column("tick_minor", Amount, nullable=False),
        sa.Column("lot_minor", Amount, nullable=False),
        sa.Column("maker_ppm", Int64, nullable=False),
        sa.Column("taker_ppm", Int64, nullable=False),
        sa.Column("collar_ppm", Int64, nullable=False),
        sa.Column("retired", Flag, nullable=False),
        sa.CheckConstraint("base_asset_no <> quote_asset_no", name="two_assets"),
        sa.ForeignKeyConstraint(["base_asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["quote_asset_no"], ["assets.asset_no"]),
        sa.PrimaryKeyConstraint("market_no"),
        sa.UniqueConstraint("name"),
        *amount_check("tick_minor"),
        *amount_check("lot_minor"),
        sa.CheckConstraint("retired IN (0, 1)", name="retired_flag").ddl_if(dialect="sqlite"),
        sqlite_strict=True,
    )


def _transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("chain", Text, nullable=False),
        sa.Column("position", Int64, nullable=False),
        sa.Column("id", Bytes, nullable=False),
        sa.Column("debit_account", Int64, nullable=False),
        sa.Column("credit_account", Int64, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("cause_kind", Text, nullable=False),
        sa.Column("cause_id", Text, nullable=False),
        sa.Column("posted_at_ns", Int64, nullable=True),
        sa.Column("previous", Bytes, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.CheckConstraint(
            "(chain = 'treasury') = (posted_at_ns IS NOT NULL)", name="only_the_treasury_has_time"
        ),
        sa.CheckConstraint("chain IN ('projected', 'treasury')", name="chain"),
        sa.CheckConstraint("debit_account <> credit_account", name="two_accounts"),
        sa.CheckConstraint("length(id) = 16", name="id"),
        sa.CheckConstraint("length(previous) = 32 AND length(hash) = 32", name="hashes"),
        sa.CheckConstraint("position >= 1", name="position"),
        sa.CheckConstraint("posted_at_ns >= 0", name="posted_at_ns"),
        sa.ForeignKeyConstraint(
            ["credit_account", "asset_no"], ["accounts.account_id", "accounts.asset_no"]
        ),
        sa.ForeignKeyConstraint(
            ["debit_account", "asset_no"], ["accounts.account_id", "accounts.asset_no"]
        ),
        sa.PrimaryKeyConstraint("chain", "position"),
        sa.UniqueConstraint("id"),
        *amount_check("amount", minimum=1, maximum=340282366920938463463374607431768211455),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    ddl.append_only("transfers", keys=[["chain", "position"], ["id"]])
