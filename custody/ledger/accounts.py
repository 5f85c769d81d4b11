"""Account rows: found or made by name, and grown, never lowered, by what is posted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.ids import AssetNo
from custody.db import (
    AMOUNT_MAX,
    Amount,
    Dialect,
    Int64,
    Text,
    dialect_of,
    next_numbers,
    read_amount,
    table,
    triggers,
)
from custody.ledger.chart import CHART, AccountKey, AccountKind, Guard, signed_balance

KEYS_PER_STATEMENT = 300
"""SQLite takes 32 766 parameters; three name an account, and shorter statements parse faster."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account as stored."""

    account_id: int
    key: AccountKey
    debits: int
    credits: int

    @property
    def balance(self) -> int:
        """Return the balance on the side where the account grows; negative only when unguarded."""
        return signed_balance(self.key.kind, debits=self.debits, credits=self.credits)


def _guard_belongs_to_kind() -> str:
    parts = []
    for guard in Guard:
        kinds = ", ".join(f"'{kind.value}'" for kind, rule in CHART.items() if rule.guard is guard)
        parts.append(f"(guard = '{guard.value}' AND kind IN ({kinds}))")
    return " OR ".join(parts)


accounts = table(
    "accounts",
    sa.Column("account_id", Int64, primary_key=True, autoincrement=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("asset_no", Int64, nullable=False),
    sa.Column("debits", Amount, nullable=False),
    sa.Column("credits", Amount, nullable=False),
    sa.Column("guard", Text, nullable=False),
    sa.UniqueConstraint("kind", "owner", "asset_no"),
    sa.UniqueConstraint("account_id", "asset_no"),
    sa.CheckConstraint(_guard_belongs_to_kind(), name="guard_of_kind"),
    sa.CheckConstraint(
        f"guard <> '{Guard.CREDIT.value}' OR debits <= credits", name="debits_at_most_credits"
    ),
    sa.CheckConstraint(
        f"guard <> '{Guard.DEBIT.value}' OR credits <= debits", name="credits_at_most_debits"
    ),
    sa.CheckConstraint("asset_no BETWEEN 0 AND 65535", name="asset_no"),
)


def _accounts_only_grow(dialect: Dialect) -> list[str]:
    """Return the triggers: no account disappears or changes its name, and no total ever falls."""
    names = ("account_id", "kind", "owner", "asset_no", "guard")
    changed = " OR ".join(
        [f"NEW.{name} <> OLD.{name}" for name in names]
        + ["NEW.debits < OLD.debits", "NEW.credits < OLD.credits"]
    )
    if dialect == "postgresql":
        function = (
            "CREATE OR REPLACE FUNCTION accounts_only_grow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'restrict_violation',"
            " MESSAGE = 'accounts only grow'; END $$"
        )
        update = (
            "CREATE TRIGGER accounts_no_change BEFORE UPDATE ON accounts FOR EACH ROW"
            f" WHEN ({changed}) EXECUTE FUNCTION accounts_only_grow()"
        )
        delete = (
            "CREATE TRIGGER accounts_no_delete BEFORE DELETE OR TRUNCATE ON accounts"
            " FOR EACH STATEMENT EXECUTE FUNCTION accounts_only_grow()"
        )
        return [function, update, delete]
    refuse = "BEGIN SELECT RAISE(ABORT, 'accounts only grow'); END"
    exists = (
        "EXISTS (SELECT 1 FROM accounts WHERE account_id = NEW.account_id OR"
        " (kind = NEW.kind AND owner = NEW.owner AND asset_no = NEW.asset_no))"
    )
    return [
        f"CREATE TRIGGER accounts_no_change BEFORE UPDATE ON accounts WHEN {changed} {refuse}",
        f"CREATE TRIGGER accounts_no_delete BEFORE DELETE ON accounts {refuse}",
        f"CREATE TRIGGER accounts_no_replace BEFORE INSERT ON accounts WHEN {exists} {refuse}",
    ]


triggers(accounts, _accounts_only_grow)


def account(conn: sa.Connection, kind: AccountKind, owner: str, asset_no: AssetNo | int) -> Account:
    """Return an account, made empty when it is new."""
    key = AccountKey(kind, owner, int(asset_no))
    return accounts_for(conn, [key])[key]


def accounts_for(conn: sa.Connection, keys: Collection[AccountKey]) -> dict[AccountKey, Account]:
    """Return the accounts of these names as the caller's transaction sees them, new ones made."""
    found = find_accounts(conn, keys)
    return found | make_accounts(conn, set(keys) - found.keys())


def find_accounts(conn: sa.Connection, keys: Collection[AccountKey]) -> dict[AccountKey, Account]:
    """Return those accounts of these names that exist."""
    wanted = list(keys)
    found: dict[AccountKey, Account] = {}
    for start in range(0, len(wanted), KEYS_PER_STATEMENT):
        found |= _select(conn, wanted[start : start + KEYS_PER_STATEMENT])
    return found


def make_accounts(conn: sa.Connection, keys: Collection[AccountKey]) -> dict[AccountKey, Account]:
    """Make empty accounts of these new names."""
    if not keys:
        return {}
    ordered = sorted(keys)
    numbers = next_numbers(conn, "accounts", len(ordered))
    made = {
        key: Account(account_id=number, key=key, debits=0, credits=0)
        for key, number in zip(ordered, numbers, strict=True)
    }
    conn.execute(accounts.insert(), [_row(one) for one in made.values()])
    return made


Totals = tuple[int, int]
"""Debits and credits."""


def plan_growth(
    stored: Mapping[AccountKey, Account],
    *,
    debits: Mapping[AccountKey, int],
    credits: Mapping[AccountKey, int],  # noqa: A002 - the word of the field
) -> dict[AccountKey, Totals]:
    """Return the totals that these accounts, new ones included, will have.

    Refused: exceeds_available (naming the account), balance_overflow.
    """
    grown: dict[AccountKey, Totals] = {}
    for key in debits.keys() | credits.keys():
        old = stored.get(key)
        new_debits, new_credits = debits.get(key, 0), credits.get(key, 0)
        if old is not None:
            new_debits += old.debits
            new_credits += old.credits
        guard = CHART[key.kind].guard
        if (guard is Guard.CREDIT and new_debits > new_credits) or (
            guard is Guard.DEBIT and new_credits > new_debits
        ):
            raise Refused(Reason.EXCEEDS_AVAILABLE, _name(key))
        if max(new_debits, new_credits) > AMOUNT_MAX:
            raise Refused(Reason.BALANCE_OVERFLOW, _name(key))
        grown[key] = (new_debits, new_credits)
    return grown


def grow(
    conn: sa.Connection, stored: Mapping[AccountKey, Account], grown: Mapping[AccountKey, Totals]
) -> None:
    """Write new totals by compare-and-set. Corrupt: a total is no longer what was read."""
    rows = []
    for key, (debits, credits_) in grown.items():
        old = stored[key]
        rows.append((debits, credits_, old.account_id, old.debits, old.credits))
    if dialect_of(conn) == "sqlite":
        parameters = [(_blob(a), _blob(b), c, _blob(d), _blob(e)) for a, b, c, d, e in rows]
        changed = conn.exec_driver_sql(_GROW_SQLITE, parameters).rowcount
    else:
        columns = tuple(list(column) for column in zip(*rows, strict=True))
        changed = conn.exec_driver_sql(_GROW_POSTGRESQL, columns).rowcount
    if changed != len(grown):
        raise Corrupt(f"{len(grown) - changed} account totals changed under a posting")


_GROW_SQLITE = (
    "UPDATE accounts SET debits = ?, credits = ?"
    " WHERE account_id = ? AND debits = ? AND credits = ?"
)
_GROW_POSTGRESQL = (
    "UPDATE accounts SET debits = n.debits, credits = n.credits"
    " FROM unnest(%b::numeric[], %b::numeric[], %b::bigint[], %b::numeric[], %b::numeric[])"
    " AS n (debits, credits, account_id, old_debits, old_credits)"
    " WHERE accounts.account_id = n.account_id AND accounts.debits = n.old_debits"
    " AND accounts.credits = n.old_credits"
)
_COLUMNS = "account_id, kind, owner, asset_no, debits, credits"
_SELECT_POSTGRESQL = (
    f"SELECT {_COLUMNS} FROM accounts"  # noqa: S608 - our own columns
    " JOIN unnest(%b::text[], %b::text[], %b::bigint[])"
    " AS n (kind, owner, asset_no) USING (kind, owner, asset_no)"
)


def _select(conn: sa.Connection, keys: list[AccountKey]) -> dict[AccountKey, Account]:
    if dialect_of(conn) == "sqlite":
        names = ", ".join(["(?, ?, ?)"] * len(keys))
        rows = conn.exec_driver_sql(
            f"SELECT {_COLUMNS} FROM accounts"  # noqa: S608 - our own columns, and marks
            f" WHERE (kind, owner, asset_no) IN (VALUES {names})",
            tuple(part for key in keys for part in key),
        )
    else:
        kinds, owners, assets = (list(column) for column in zip(*keys, strict=True))
        rows = conn.exec_driver_sql(_SELECT_POSTGRESQL, ([str(k) for k in kinds], owners, assets))
    known: dict[tuple[str, str, int], AccountKey] = {key: key for key in keys}
    found = {}
    for account_id, kind, owner, asset_no, debits, credits_ in rows:
        key = known[kind, owner, asset_no]
        found[key] = Account(account_id, key, read_amount(debits), read_amount(credits_))
    return found


def _row(made: Account) -> dict[str, object]:
    return {
        "account_id": made.account_id,
        "kind": made.key.kind,
        "owner": made.key.owner,
        "asset_no": made.key.asset_no,
        "debits": made.debits,
        "credits": made.credits,
        "guard": CHART[made.key.kind].guard,
    }


def _name(key: AccountKey) -> str:
    return f"{key.kind.value} of {key.owner or 'the platform'}, asset {key.asset_no}"


def _blob(amount: int) -> bytes:
    return amount.to_bytes(32, "big")
