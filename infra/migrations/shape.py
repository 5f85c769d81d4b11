"""The shape of a database as its own catalogue tells it, so that two can be compared."""

from __future__ import annotations

import re

import sqlalchemy as sa

IGNORED = ("alembic_version",)
_SPACE = re.compile(r"\s+")

_PG_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attidentity
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
"""
_PG_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
"""
_PG_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
_PG_TRIGGERS = """
SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
"""
_PG_FUNCTIONS = """
SELECT proname, pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
"""


def shape(conn: sa.Connection) -> dict[str, str]:
    """Return every table, column, constraint, index, trigger and function: name -> definition."""
    found = _sqlite(conn) if conn.dialect.name == "sqlite" else _postgresql(conn)
    return {
        name: _SPACE.sub(" ", text).strip()
        for name, text in sorted(found.items())
        if not any(f" {ignored}" in f" {name}" for ignored in IGNORED)
    }


def differences(left: dict[str, str], right: dict[str, str]) -> list[str]:
    """Return a line for everything that is not the same on both sides."""
    return [
        f"{name}:\n  {left.get(name, '(missing)')}\n  {right.get(name, '(missing)')}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]


def _sqlite(conn: sa.Connection) -> dict[str, str]:
    rows = conn.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master")
    found = {}
    for kind, name, table_name, sql in rows:
        if kind != "table" or not name.startswith("sqlite_"):
            found[f"{table_name} {kind} {name}"] = (
                _sorted_body(sql or "") if kind == "table" else (sql or "")
            )
    return found


def _sorted_body(sql: str) -> str:
    """Return CREATE TABLE with constraints in order of their text: their order means nothing."""
    head, _, rest = sql.partition("(")
    body, _, tail = rest.rpartition(")")
    parts, depth, start = [], 0, 0
    for at, char in enumerate(body):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(body[start:at].strip())
            start = at + 1
    parts.append(body[start:].strip())
    columns = [part for part in parts if not _is_constraint(part)]
    constraints = sorted(part for part in parts if _is_constraint(part))
    return f"{head}({', '.join([*columns, *constraints])}){tail}"


def _is_constraint(part: str) -> bool:
    return part.startswith(("CONSTRAINT ", "PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY"))


def _postgresql(conn: sa.Connection) -> dict[str, str]:
    found = {}
    for table_name, column, *rest in conn.exec_driver_sql(_PG_COLUMNS):
        found[f"{table_name} column {column}"] = " ".join(map(str, rest))
    for query, kind in (
        (_PG_CONSTRAINTS, "constraint"),
        (_PG_INDEXES, "index"),
        (_PG_TRIGGERS, "trigger"),
    ):
        for table_name, name, text in conn.exec_driver_sql(query):
            found[f"{table_name} {kind} {name}"] = text
    for name, text in conn.exec_driver_sql(_PG_FUNCTIONS):
        found[f"function {name}"] = text
    return found
