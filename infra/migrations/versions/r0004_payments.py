"""Withdrawals, and everything that leaves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Amount, Bytes, Flag, Int64, Text, amount_check
from infra.migrations import ddl

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _decisions()
    _lanes()
    _rotations()
    _spends()
    _wallet_pins()
    _wallet_proposals()
    _withdrawals()
    _approvals()
    _batch_items()
    _cosignatures()
    _spend_attempts()
    _spend_claims()
    _spend_drafts()
    _withdrawal_events()
    _sweep_items()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("decision_no", Int64, autoincrement=False, nullable=False),
        sa.Column("cause_id", Text, nullable=False),
        sa.Column("moment", Text, nullable=False),
        sa.Column("policy_hash", Bytes, nullable=False),
        sa.Column("outcome", Text, nullable=False),
        sa.Column("code", Text, nullable=False),
        sa.Column("rule", Text, nullable=False),
        sa.Column("record", Text, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.PrimaryKeyConstraint("decision_no"),
        sqlite_strict=True,
    )
    op.create_index("ix_decisions_cause", "decisions", ["cause_id", "decision_no"])
    ddl.append_only("decisions", keys=[["decision_no"]])


def _lanes() -> None:
    op.create_table(
        "lanes",
        sa.Column("chain", Text, nullable=False),
        sa.Column("sender", Text, nullable=False),
        sa.Column("next_nonce", Int64, nullable=False),
        sa.PrimaryKeyConstraint("chain", "sender"),
        sqlite_strict=True,
    )


def _rotations() -> None:
    op.create_table(
        "rotations",
        sa.Column("rotation_id", Text, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("account", Text, nullable=False),
        sa.Column("intent", Bytes, nullable=False),
        sa.Column("approvals", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.PrimaryKeyConstraint("rotation_id"),
        sqlite_strict=True,
    )
    ddl.append_only("rotations", keys=[["rotation_id"]])


def _spends() -> None:
    op.create_table(
        "spends",
        sa.Column("spend_id", Text, nullable=False),
        sa.Column("spend_no", Int64, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("cause_id", Text, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("account", Text, nullable=False),
        sa.Column("key_index", Int64, nullable=False),
        sa.Column("source", Text, nullable=False),
        sa.Column("destination_account", Text, nullable=True),
        sa.Column("destination", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("intent", Bytes, nullable=False),
        sa.Column("nonce", Int64, nullable=False),
        sa.Column("wallet", Text, nullable=True),
        sa.Column("wallet_nonce", Int64, nullable=True),
        sa.Column("relay", Bytes, nullable=True),
        sa.Column("state", Text, nullable=False),
        sa.Column("abandoned", Flag, nullable=False),
        sa.Column("failure", Text, nullable=True),
        sa.Column("fee_paid", Amount, nullable=True),
        sa.Column("delivered", Amount, nullable=True),
        sa.Column("final_height", Int64, nullable=True),
        sa.Column("planned_at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.PrimaryKeyConstraint("spend_id"),
        sa.UniqueConstraint("cause_id", "kind"),
        sa.UniqueConstraint("chain", "source", "nonce"),
        sa.UniqueConstraint("spend_no"),
        *amount_check("amount"),
        sa.CheckConstraint("abandoned IN (0, 1)", name="abandoned_flag").ddl_if(dialect="sqlite"),
        *amount_check("fee_paid"),
        *amount_check("delivered"),
        sqlite_strict=True,
    )
    op.create_index("ix_spends_destination", "spends", ["chain", "destination", "state"])
    op.create_index("ix_spends_final", "spends", ["chain", "final_height"])
    op.create_index("ix_spends_source", "spends", ["chain", "source", "state"])
    op.create_index("ix_spends_state", "spends", ["chain", "state", "spend_no"])


def _wallet_pins() -> None:
    op.create_table(
        "wallet_pins",
        sa.Column("chain", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("owners", Text, nullable=False),
        sa.Column("threshold", Int64, nullable=False),
        sa.Column("first_nonce", Int64, nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.PrimaryKeyConstraint("chain", "address"),
        sqlite_strict=True,
    )


def _wallet_proposals() -> None:
    op.create_table(
        "wallet_proposals",
        sa.Column("proposal_id", Text, nullable=False),
        sa.Column("proposal_no", Int64, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("cause_id", Text, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("wallet", Text, nullable=False),
        sa.Column("address", Text, nullable=False),
        sa.Column("nonce", Int64, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("intent", Bytes, nullable=False),
        sa.Column("payload", Bytes, nullable=False),
        sa.Column("digest", Bytes, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.Column("made_at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.PrimaryKeyConstraint("proposal_id"),
        sa.UniqueConstraint("cause_id", "kind"),
        sa.UniqueConstraint("proposal_no"),
        sqlite_strict=True,
    )
    op.create_index("ix_wallet_proposals_nonce", "wallet_proposals", ["chain", "address", "nonce"])
    op.create_index(
        "ix_wallet_proposals_state", "wallet_proposals", ["chain", "state", "proposal_no"]
    )


def _withdrawals() -> None:
    op.create_table(
        "withdrawals",
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("request_no", Int64, nullable=False),
        sa.Column("client_withdrawal_id", Text, nullable=False),
        sa.Column("customer_no", Int64, nullable=False),
        sa.Column("initiator", Text, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("asset_no", Int64, nullable=False),
        sa.Column("destination", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("fee", Amount, nullable=False),
        sa.Column("intent", Bytes, nullable=False),
        sa.Column("intent_hash", Bytes, nullable=False),
        sa.Column("wallet", Text, nullable=False),
        sa.Column("expires_at_ns", Int64, nullable=False),
        sa.Column("releasable_at_ns", Int64, nullable=True),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.Column("requested_at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["asset_no"], ["assets.asset_no"]),
        sa.ForeignKeyConstraint(["chain"], ["chain_states.chain"]),
        sa.ForeignKeyConstraint(["customer_no"], ["customers.customer_no"]),
        sa.PrimaryKeyConstraint("withdrawal_id"),
        sa.UniqueConstraint("customer_no", "client_withdrawal_id"),
        sa.UniqueConstraint("request_no"),
        *amount_check("amount"),
        *amount_check("fee"),
        sqlite_strict=True,
    )
    op.create_index("ix_withdrawals_state", "withdrawals", ["state", "request_no"])


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("approval_no", Int64, autoincrement=False, nullable=False),
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("person", Text, nullable=False),
        sa.Column("public_key", Bytes, nullable=False),
        sa.Column("verdict", Text, nullable=False),
        sa.Column("signature", Bytes, nullable=False),
        sa.Column("evidence", Bytes, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawals.withdrawal_id"]),
        sa.PrimaryKeyConstraint("approval_no"),
        sa.UniqueConstraint("withdrawal_id", "public_key", "signature"),
        sqlite_strict=True,
    )
    ddl.append_only(
        "approvals", keys=[["approval_no"], ["withdrawal_id", "public_key", "signature"]]
    )


def _batch_items() -> None:
    op.create_table(
        "batch_items",
        sa.Column("spend_id", Text, nullable=False),
        sa.Column("position", Int64, autoincrement=False, nullable=False),
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.Column("outcome", Text, nullable=True),
        sa.Column("fee_paid", Amount, nullable=True),
        sa.ForeignKeyConstraint(["spend_id"], ["spends.spend_id"]),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawals.withdrawal_id"]),
        sa.PrimaryKeyConstraint("spend_id", "position"),
        sa.UniqueConstraint("spend_id", "withdrawal_id"),
        *amount_check("amount"),
        *amount_check("fee_paid"),
        sqlite_strict=True,
    )
    op.create_index("ix_batch_items_withdrawal", "batch_items", ["withdrawal_id"])


def _cosignatures() -> None:
    op.create_table(
        "cosignatures",
        sa.Column("cosignature_no", Int64, autoincrement=False, nullable=False),
        sa.Column("proposal_id", Text, nullable=False),
        sa.Column("owner", Text, nullable=False),
        sa.Column("person", Text, nullable=False),
        sa.Column("signature", Bytes, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["proposal_id"], ["wallet_proposals.proposal_id"]),
        sa.PrimaryKeyConstraint("cosignature_no"),
        sa.UniqueConstraint("proposal_id", "owner"),
        sqlite_strict=True,
    )
    ddl.append_only("cosignatures", keys=[["cosignature_no"], ["proposal_id", "owner"]])


def _spend_attempts() -> None:
    op.create_table(
        "spend_attempts",
        sa.Column("spend_id", Text, nullable=False),
        sa.Column("attempt_no", Int64, autoincrement=False, nullable=False),
        sa.Column("chain", Text, nullable=False),
        sa.Column("tx_id", Text, nullable=False),
        sa.Column("payload", Bytes, nullable=False),
        sa.Column("raw", Bytes, nullable=False),
        sa.Column("cancels", Flag, nullable=False),
        sa.Column("signed_at_ns", Int64, nullable=False),
        sa.Column("sent_at_ns", Int64, nullable=True),
        sa.Column("sends", Int64, nullable=False),
        sa.Column("outcome", Text, nullable=True),
        sa.Column("detail", Text, nullable=True),
        sa.ForeignKeyConstraint(["spend_id"], ["spends.spend_id"]),
        sa.PrimaryKeyConstraint("spend_id", "attempt_no"),
        sa.UniqueConstraint("chain", "tx_id"),
        sa.CheckConstraint("cancels IN (0, 1)", name="cancels_flag").ddl_if(dialect="sqlite"),
        sqlite_strict=True,
    )


def _spend_claims() -> None:
    op.create_table(
        "spend_claims",
        sa.Column("chain", Text, nullable=False),
        sa.Column("claim", Text, nullable=False),
        sa.Column("spend_id", Text, nullable=False),
        sa.Column("claim_no", Int64, nullable=False),
        sa.ForeignKeyConstraint(["spend_id"], ["spends.spend_id"]),
        sa.PrimaryKeyConstraint("chain", "claim"),
        sa.UniqueConstraint("spend_id", "claim_no"),
        sqlite_strict=True,
    )


def _spend_drafts() -> None:
    op.create_table(
        "spend_drafts",
        sa.Column("spend_id", Text, nullable=False),
        sa.Column("attempt_no", Int64, autoincrement=False, nullable=False),
        sa.Column("cancels", Flag, nullable=False),
        sa.Column("payload", Bytes, nullable=False),
        sa.Column("digest", Bytes, nullable=False),
        sa.Column("fee_max", Amount, nullable=False),
        sa.ForeignKeyConstraint(["spend_id"], ["spends.spend_id"]),
        sa.PrimaryKeyConstraint("spend_id", "attempt_no", "cancels"),
        sa.CheckConstraint("cancels IN (0, 1)", name="cancels_flag").ddl_if(dialect="sqlite"),
        *amount_check("fee_max"),
        sqlite_strict=True,
    )
    ddl.append_only("spend_drafts", keys=[["spend_id", "attempt_no", "cancels"]])


def _withdrawal_events() -> None:
    op.create_table(
        "withdrawal_events",
        sa.Column("event_no", Int64, autoincrement=False, nullable=False),
        sa.Column("withdrawal_id", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("detail", Text, nullable=True),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["withdrawal_id"], ["withdrawals.withdrawal_id"]),
        sa.PrimaryKeyConstraint("event_no"),
        sqlite_strict=True,
    )
    op.create_index("ix_withdrawal_events_withdrawal_id", "withdrawal_events", ["withdrawal_id"])


def _sweep_items() -> None:
    op.create_table(
        "sweep_items",
        sa.Column("spend_id", Text, nullable=False),
        sa.Column("deposit_id", Text, nullable=False),
        sa.Column("position", Int64, nullable=False),
        sa.Column("amount", Amount, nullable=False),
        sa.ForeignKeyConstraint(["deposit_id"], ["deposits.deposit_id"]),
        sa.ForeignKeyConstraint(["spend_id"], ["spends.spend_id"]),
        sa.PrimaryKeyConstraint("spend_id", "deposit_id"),
        *amount_check("amount"),
        sqlite_strict=True,
    )
    op.create_index("ix_sweep_items_deposit", "sweep_items", ["deposit_id"])
