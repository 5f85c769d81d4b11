"""Drafts the words of a revision from today's tables: `python -m infra.migrations.draft TABLE…`.

A draft is read and kept by a person. Revisions never look at today's tables themselves.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import get_args

import sqlalchemy as sa

from custody.db import Amount, Dialect, Flag, Int64, Text, append_only_ddl, metadata, schema_objects
from custody.db.schema import amount_check
from infra.migrations.tables import all_tables

_TYPES = {Amount: "Amount", Flag: "Flag", Int64: "Int64", Text: "Text", sa.LargeBinary: "Bytes"}
PIECE_LENGTH = 76
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


def draft(names: Sequence[str]) -> Iterator[str]:
    """Yield the statements that create tables with their indexes and triggers."""
    for name in names:
        table = metadata.tables[name]
        yield from _table(table)
        yield from _triggers(table)


def _table(table: sa.Table) -> Iterator[str]:
    yield "op.create_table("
    yield f'"{table.name}",'
    for column in table.columns:
        yield f"{_column(column)},"
    for text in sorted(filter(None, (_constraint(one, table) for one in table.constraints))):
        yield f"{text},"
    for column in table.columns:
        if isinstance(column.type, Amount):
            yield f"*{_amount_check(table, column.name)},"
        elif isinstance(column.type, Flag):
            yield (
                f'sa.CheckConstraint("{column.name} IN (0, 1)", name="{column.name}_flag")'
                '.ddl_if(dialect="sqlite"),'
            )
    yield "sqlite_strict=True,"
    for option, value in sorted(table.dialect_options["sqlite"].items()):
        if option == "with_rowid" and value is False:
            yield "sqlite_with_rowid=False,"
    yield ")"
    for index in sorted(table.indexes, key=lambda one: str(one.name)):
        columns = ", ".join(f'"{column.name}"' for column in index.columns)
        words = ", unique=True" if index.unique else ""
        where = index.dialect_options["sqlite"].get("where")
        if where is not None:  # the same words for both databases
            words += "".join(f", {name}_where=sa.text({str(where)!r})" for name in sorted(DIALECTS))
        yield f'op.create_index("{index.name}", "{table.name}", [{columns}]{words})'


def _column(column: sa.Column[object]) -> str:
    words = [f'"{column.name}"', _TYPES[type(column.type)]]
    if column.primary_key and column.autoincrement is False:
        words.append("autoincrement=False")
    inline = (_constraint(one, column.table) for one in column.constraints)
    words += filter(None, inline)
    words.append(f"nullable={column.nullable}")
    assert column.server_default is None
    return f"sa.Column({', '.join(words)})"


def _constraint(found: sa.Constraint, table: sa.FromClause) -> str | None:
    if isinstance(found, sa.CheckConstraint):
        if found._ddl_if is not None:  # noqa: SLF001 - amounts and flags are written otherwise
            return None
        name = str(found.name).removeprefix(f"ck_{table.description}_")
        return f"sa.CheckConstraint({_text(str(found.sqltext))}, name={name!r})"
    columns = ", ".join(f'"{column.name}"' for column in getattr(found, "columns", ()))
    if isinstance(found, sa.PrimaryKeyConstraint):
        return f"sa.PrimaryKeyConstraint({columns})"
    if isinstance(found, sa.UniqueConstraint):
        return f"sa.UniqueConstraint({columns})"
    assert isinstance(found, sa.ForeignKeyConstraint)
    targets = ", ".join(f'"{element.target_fullname}"' for element in found.elements)
    return f"sa.ForeignKeyConstraint([{columns}], [{targets}])"


def _text(value: str) -> str:
    """Return a literal, in pieces that fit on a line."""
    pieces = textwrap.wrap(
        value, PIECE_LENGTH, drop_whitespace=False, break_long_words=False, break_on_hyphens=False
    )
    assert "".join(pieces) == value
    return repr(value) if len(pieces) == 1 else f"({' '.join(map(repr, pieces))})"


def _amount_check(table: sa.Table, column: str) -> str:
    texts = {
        str(one.sqltext)
        for one in table.constraints
        if isinstance(one, sa.CheckConstraint) and str(one.name).endswith(f"{column}_amount")
    }
    numeric = next(text for text in texts if not text.startswith("length"))
    low, high = numeric.removeprefix(f"{column} BETWEEN ").split(" AND ")
    if texts == {str(one.sqltext) for one in amount_check(column)}:
        return f'amount_check("{column}")'
    return f'amount_check("{column}", minimum={low}, maximum={high})'


def _triggers(table: sa.Table) -> Iterator[str]:
    written = {
        dialect: [text for name, text in schema_objects(dialect) if name == table.name]
        for dialect in DIALECTS
    }
    if not any(written.values()):
        return
    keys = sorted(
        [column.name for column in constraint.columns]
        for constraint in table.constraints
        if isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
    )
    if written["sqlite"] == append_only_ddl(table.name, "sqlite", keys=keys):
        yield f'ddl.append_only("{table.name}", keys={keys!r})'
    else:
        lists = [
            f'"{dialect}": [{", ".join(map(_text, texts))}]' for dialect, texts in written.items()
        ]
        yield f"ddl.statements({{{', '.join(lists)}}})"


if __name__ == "__main__":
    chosen = all_tables()
    sys.stdout.write("\n".join(draft(sys.argv[1:] or chosen)) + "\n")
