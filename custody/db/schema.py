"""Tables that refuse nonsense themselves: strict, checked, append-only where history stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event

from custody.db.columns import AMOUNT_MAX, Amount, Flag, Int64, Text

Dialect = Literal["sqlite", "postgresql"]

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_STATEMENTS: dict[str, Callable[[Dialect], list[str]]] = {}
"""Triggers by table name, in the order of registration."""


def _check(name: str, dialect: Dialect, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=name).ddl_if(dialect=dialect)


def amount_check(
    column: str, *, minimum: int = 0, maximum: int = AMOUNT_MAX
) -> list[sa.CheckConstraint]:
    """Return the checks, one per dialect, of an Amount column in minimum..maximum; no NaN.

    `table` adds them for 0..2^256-1 to every Amount column itself; call this only for less:
    `table("t", Column("amount", Amount), *amount_check("amount", minimum=1))`.
    """
    low, high = (bound.to_bytes(32, "big").hex() for bound in (minimum, maximum))
    exact = f"length({column}) = 32 AND {column} BETWEEN x'{low}' AND x'{high}'"
    # NaN sorts above every number in PostgreSQL, so it is the upper bound that keeps it out.
    numeric = f"{column} BETWEEN {minimum} AND {maximum}"
    return [
        _check(f"{column}_amount", "sqlite", exact),
        _check(f"{column}_amount", "postgresql", numeric),
    ]


def table(name: str, *items: sa.schema.SchemaItem, **options: Any) -> sa.Table:
    """Make a table on `metadata`: STRICT on SQLite, every Amount and Flag column checked."""
    made = sa.Table(name, metadata, *items, sqlite_strict=True, **options)
    named = {check.name for check in made.constraints if isinstance(check, sa.CheckConstraint)}
    for column in made.columns:
        if isinstance(column.type, Amount) and not any(
            str(known).endswith(f"{column.name}_amount") for known in named
        ):
            for check in amount_check(column.name):
                made.append_constraint(check)
        elif isinstance(column.type, Flag):
            made.append_constraint(
                _check(f"{column.name}_flag", "sqlite", f"{column.name} IN (0, 1)")
            )
    return made


def triggers(guarded: sa.Table, statements: Callable[[Dialect], list[str]]) -> None:
    """Run these statements after the table is created, by create_all and migrations alike."""
    assert guarded.name not in _STATEMENTS, f"{guarded.name} has its triggers already"
    _STATEMENTS[guarded.name] = statements

    def create(_target: sa.Table, conn: sa.Connection, **_options: Any) -> None:
        for statement in statements(dialect_of(conn)):
            conn.exec_driver_sql(statement)

    event.listen(guarded, "after_create", create)


def schema_objects(dialect: Dialect) -> list[tuple[str, str]]:
    """Return (table, statement) of what exists beside tables and indexes, for migrations."""
    return [(name, text) for name, make in _STATEMENTS.items() for text in make(dialect)]


def dialect_of(conn: sa.Connection) -> Dialect:
    """Return which of the two databases a connection belongs to."""
    name = conn.dialect.name
    assert name in ("sqlite", "postgresql")
    return "sqlite" if name == "sqlite" else "postgresql"


def append_only(guarded: sa.Table) -> None:
    """Make the database itself refuse UPDATE, DELETE, TRUNCATE and REPLACE on a table."""
    keys = [
        [column.name for column in constraint.columns]
        for constraint in guarded.constraints
        if isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
    ]
    keys.sort()
    triggers(guarded, lambda dialect: append_only_ddl(guarded.name, dialect, keys=keys))


def append_only_ddl(
    table_name: str, dialect: Dialect, *, keys: Sequence[Sequence[str]]
) -> list[str]:
    """Return the statements behind append_only. `keys` are the column lists of its unique keys."""
    if dialect == "postgresql":
        refuse = (
            "CREATE OR REPLACE FUNCTION strongroom_refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'restrict_violation',"
            " MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$"
        )
        guard = (
            f"CREATE TRIGGER {table_name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE"
            f" ON {table_name} FOR EACH STATEMENT EXECUTE FUNCTION strongroom_refuse()"
        )
        return [refuse, guard]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table_name} is append-only'); END"
    # REPLACE deletes without asking a DELETE trigger, so an existing key is refused first; that
    # refuses ON CONFLICT DO NOTHING too: look before inserting.
    exists = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table_name} WHERE "  # noqa: S608 - names come from our own tables
        + " AND ".join(f"{column} = NEW.{column}" for column in key)
        + ")"
        for key in keys
    )
    when = {"update": "UPDATE", "delete": "DELETE", "replace": "INSERT"}
    guards = {"update": "", "delete": "", "replace": f" WHEN {exists}"}
    return [
        f"CREATE TRIGGER {table_name}_no_{name} BEFORE {verb} ON {table_name}"
        f"{guards[name]} {refuse}"
        for name, verb in when.items()
    ]


counters = table(
    "counters",
    sa.Column("name", Text, primary_key=True),
    sa.Column("last", Int64, sa.CheckConstraint("last >= 1", name="last"), nullable=False),
)
"""Numbers without gaps: the increment is part of the caller's transaction."""


def next_number(conn: sa.Connection, name: str) -> int:
    """Return 1, 2, 3, … for a name; a number whose transaction rolls back is given again."""
    return next_numbers(conn, name, 1)[0]


def next_numbers(conn: sa.Connection, name: str, count: int) -> range:
    """Return the next count numbers of a name."""
    assert count >= 1
    last = conn.execute(
        sa.text(
            "INSERT INTO counters (name, last) VALUES (:name, :count)"
            " ON CONFLICT (name) DO UPDATE SET last = counters.last + :count RETURNING last"
        ),
        {"name": name, "count": count},
    ).scalar_one()
    assert type(last) is int
    assert last >= count
    return range(last - count + 1, last + 1)
