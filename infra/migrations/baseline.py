"""Rewrites the baseline from today's tables: `python -m infra.migrations.baseline`.

Only until the first release; from then on a change of a table is a revision of its own, which
`infra.migrations.draft` helps to write.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain

from infra.migrations.draft import draft
from infra.migrations.revisions import HERE
from infra.migrations.tables import all_tables

CHAPTERS: dict[str, tuple[str, str]] = {
    "books": (
        "Numbers, customers, what is listed, and the double-entry ledger.",
        "counters customers assets markets accounts ledger_chains transfers audit_records",
    ),
    "chains": (
        "Followed chains, own addresses, and what arrived at them.",
        "chain_states blocks incidents addresses coins deposits pending_payments fee_hours",
    ),
    "engine": (
        "The road to the engine and back: funding, projector, lease, orders.",
        "funding projector engine_lease orders fills process_heartbeats",
    ),
    "payments": (
        "Withdrawals, and everything that leaves.",
        """decisions withdrawals withdrawal_events approvals lanes
        spends spend_attempts spend_drafts spend_claims sweep_items batch_items rotations
        wallet_proposals cosignatures wallet_pins""",
    ),
    "destinations": (
        "Whom a customer may pay, and what holds a payment back.",
        """address_entries address_book_rules used_destinations security_changes
        inside_transfers sanction_lists sanctioned_addresses travel_records
        screening_cases screening_answers screening_releases
        velocity_reservations velocity_totals prices stops""",
    ),
    "policies": (
        "The versions of the policy, and how the next one comes into force.",
        "policies policy_drafts policy_proposals policy_approvals",
    ),
    "keys": ("What was signed, and who may ask.", ""),
}
"""Name -> what it is about and its tables; the last chapter has all the others."""

_NAMES = ("Amount", "Bytes", "Flag", "Int64", "Text")


def write() -> None:
    """Write one revision per chapter, formatted, in place of those that are there."""
    folder, known = HERE / "versions", all_tables()
    for file in folder.glob("r0*.py"):
        file.unlink()
    placed = set(chain.from_iterable(names.split() for _, names in CHAPTERS.values()))
    for number, (chapter, (about, names)) in enumerate(CHAPTERS.items(), 1):
        wanted = set(names.split()) or set(known) - placed
        tables = [name for name in known if name in wanted]
        text = _revision(number, about, tables)
        (folder / f"r{number:04d}_{chapter}.py").write_text(text, "utf-8")
    for words in (["format"], ["check", "--fix"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, "-q", str(folder)], check=True)


def _revision(number: int, about: str, tables: Sequence[str]) -> str:
    functions, calls = [], []
    for table in tables:
        lines = list(draft([table]))
        triggers = [line for line in lines if line.startswith("ddl.statements")]
        parts = {table: [line for line in lines if line not in triggers]}
        if triggers:
            parts[f"{table}_triggers"] = triggers
        for name, words in parts.items():
            body = "\n".join(f"    {line}" for line in "\n".join(words).split("\n"))
            functions.append(f"def _{name}() -> None:\n{body}\n")
            calls.append(f"    _{name}()")
    text = "\n\n".join(functions)
    used = [name for name in _NAMES if re.search(rf'", {name}\b', text)]
    used += ["amount_check"] if "amount_check(" in text else []
    before = "None" if number == 1 else f'"{number - 1:04d}"'
    return f'''"""{about}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from custody.db import {", ".join(used)}
from infra.migrations import ddl

revision = "{number:04d}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
{chr(10).join(calls)}


def downgrade() -> None:
    """Refused."""
    ddl.forwards_only()


{text}'''


if __name__ == "__main__":
    write()
