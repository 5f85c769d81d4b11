"""Account rows: found or made by name, and grown, never lowered, by what is posted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    missing = sorted(set(keys) - found.keys())
    if missing:
        for key, number in zip(missing, next_numbers(conn, "accounts", len(missing)), strict=True):
            found[key] = Account(account_id=number, key=key, debits=0, credits=0)
        conn.execute(accounts.insert(), [_row(found[key]) for key in missing])
    assert len(found) == len(set(keys))
    return found


def find_accounts(conn: sa.Connection, keys: Collection[AccountKey]) -> dict[AccountKey, Account]:
    """Return those accounts of these names that exist."""
    wanted = sorted(set(keys))
    found: dict[AccountKey, Account] = {}
    for start in range(0, len(wanted), KEYS_PER_STATEMENT):
        for stored in _select(conn, wanted[start : start + KEYS_PER_STATEMENT]):
            found[stored.key] = stored
    return found


def plan_growth(
    stored: Iterable[Account],
    *,
    debits: Mapping[AccountKey, int],
    credits: Mapping[AccountKey, int],  # noqa: A002 - the word of the field
) -> list[Account]:
    """Return the accounts as they will be. Refused: exceeds_available, balance_overflow."""
    grown = []
    for old in stored:
        new_debits = old.debits + debits.get(old.key, 0)
        new_credits = old.credits + credits.get(old.key, 0)
        guard = CHART[old.key.kind].guard
        if (guard is Guard.CREDIT and new_debits > new_credits) or (
            guard is Guard.DEBIT and new_credits > new_debits
        ):
            raise Refused(Reason.EXCEEDS_AVAILABLE, _name(old.key))
        if max(new_debits, new_credits) > AMOUNT_MAX:
            raise Refused(Reason.BALANCE_OVERFLOW, _name(old.key))
        grown.append(Account(old.account_id, old.key, new_debits, new_credits))
    return grown


def grow(conn: sa.Connection, grown: Collection[Account], *, stored: Collection[Account]) -> None:
    """Write new totals by compare-and-set. Corrupt: a total is no longer what was read."""
    pairs = zip(grown, stored, strict=True)
    if dialect_of(conn) == "sqlite":
        parameters = [
            (_blob(new.debits), _blob(new.credits), new.account_id, _blob(old.debits),
             _blob(old.credits))
            for new, old in pairs
        ]  # fmt: skip
        changed = conn.exec_driver_sql(_GROW_SQLITE, parameters).rowcount
    else:
        columns = list(
            zip(
                *(
                    (new.account_id, new.debits, new.credits, old.debits, old.credits)
                    for new, old in pairs
                ),
                strict=True,
            )
        )
        changed = conn.exec_driver_sql(
            _GROW_POSTGRESQL, tuple(list(column) for column in columns)
        ).rowcount
    if changed != len(grown):
        raise Corrupt(f"{len(grown) - changed} account totals changed under a posting")


_GROW_SQLITE = (
    "UPDATE accounts SET debits = ?, credits = ?"
    " WHERE account_id = ? AND debits = ? AND credits = ?"
)
_GROW_POSTGRESQL = (
    "UPDATE accounts SET debits = n.debits, credits = n.credits"
    " FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[])"
    " AS n (account_id, debits, credits, old_debits, old_credits)"
    " WHERE accounts.account_id = n.account_id AND accounts.debits = n.old_debits"
    " AND accounts.credits = n.old_credits"
)
_COLUMNS = "account_id, kind, owner, asset_no, debits, credits"
_SELECT_POSTGRESQL = (
    f"SELECT {_COLUMNS} FROM accounts JOIN unnest(%s::text[], %s::text[], %s::bigint[])"  # noqa: S608
    " AS n (kind, owner, asset_no) USING (kind, owner, asset_no)"
)


def _select(conn: sa.Connection, keys: list[AccountKey]) -> Iterable[Account]:
    if dialect_of(conn) == "sqlite":
        names = ", ".join(["(?, ?, ?)"] * len(keys))
        rows = conn.exec_driver_sql(
            f"SELECT {_COLUMNS} FROM accounts WHERE (kind, owner, asset_no) IN (VALUES {names})",  # noqa: S608
            tuple(part for key in keys for part in key),
        )
    else:
        kinds, owners, assets = (list(column) for column in zip(*keys, strict=True))
        rows = conn.exec_driver_sql(_SELECT_POSTGRESQL, ([str(k) for k in kinds], owners, assets))
    for account_id, kind, owner, asset_no, debits, credits_ in rows:
        key = AccountKey(AccountKind(kind), owner, asset_no)
        yield Account(account_id, key, read_amount(debits), read_amount(credits_))


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
