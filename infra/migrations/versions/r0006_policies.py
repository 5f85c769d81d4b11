"""The versions of the policy, and how the next one comes into force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import Bytes, Int64, Text
from infra.migrations import ddl

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _policies()
    _policy_drafts()
    _policy_proposals()
    _policy_approvals()


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("serial", Int64, autoincrement=False, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.Column("body", Bytes, nullable=False),
        sa.Column("in_force_from_ns", Int64, nullable=False),
        sa.Column("recorded_by", Text, nullable=False),
        sa.Column("recorded_at_ns", Int64, nullable=False),
        sa.PrimaryKeyConstraint("serial"),
        sa.UniqueConstraint("hash"),
        sqlite_strict=True,
    )
    ddl.append_only("policies", keys=[["hash"], ["serial"]])


def _policy_drafts() -> None:
    op.create_table(
        "policy_drafts",
        sa.Column("draft_no", Int64, autoincrement=False, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.Column("serial", Int64, nullable=False),
        sa.Column("body", Bytes, nullable=False),
        sa.Column("author", Text, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.PrimaryKeyConstraint("draft_no"),
        sa.UniqueConstraint("hash", "author"),
        sqlite_strict=True,
    )
    op.create_index("ix_policy_drafts_serial", "policy_drafts", ["serial", "draft_no"])
    ddl.append_only("policy_drafts", keys=[["draft_no"], ["hash", "author"]])


def _policy_proposals() -> None:
    op.create_table(
        "policy_proposals",
        sa.Column("hash", Bytes, nullable=False),
        sa.Column("proposal_no", Int64, nullable=False),
        sa.Column("serial", Int64, nullable=False),
        sa.Column("body", Bytes, nullable=False),
        sa.Column("authors", Text, nullable=False),
        sa.Column("proposer", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.Column("proposed_at_ns", Int64, nullable=False),
        sa.Column("approved_at_ns", Int64, nullable=True),
        sa.Column("due_ns", Int64, nullable=True),
        sa.PrimaryKeyConstraint("hash"),
        sa.UniqueConstraint("proposal_no"),
        sqlite_strict=True,
    )
    op.create_index("ix_policy_proposals_state", "policy_proposals", ["state", "proposal_no"])


def _policy_approvals() -> None:
    op.create_table(
        "policy_approvals",
        sa.Column("approval_no", Int64, autoincrement=False, nullable=False),
        sa.Column("hash", Bytes, nullable=False),
        sa.Column("person", Text, nullable=False),
        sa.Column("public_key", Bytes, nullable=False),
        sa.Column("verdict", Text, nullable=False),
        sa.Column("signature", Bytes, nullable=False),
        sa.Column("evidence", Bytes, nullable=False),
        sa.Column("at_ns", Int64, nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["policy_proposals.hash"]),
        sa.PrimaryKeyConstraint("approval_no"),
        sa.UniqueConstraint("hash", "person", "verdict"),
        sqlite_strict=True,
    )
    ddl.append_only("policy_approvals", keys=[["approval_no"], ["hash", "person", "verdict"]])
