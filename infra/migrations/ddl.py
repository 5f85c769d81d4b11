"""What revisions say beside alembic's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alembic import op

from custody.db import Dialect, append_only_ddl, dialect_of


def append_only(table_name: str, *, keys: Sequence[Sequence[str]]) -> None:
    """Make the database refuse every change of a table's rows; keys as in custody.db."""
    _run(append_only_ddl(table_name, dialect_of(op.get_bind()), keys=keys))


def statements(by_dialect: Mapping[Dialect, Sequence[str]]) -> None:
    """Run the statements of the connection's dialect, as they are written."""
    _run(by_dialect[dialect_of(op.get_bind())])


def forwards_only() -> None:
    """Refuse a downgrade: rows of money are not thrown away; a backup is restored instead."""
    raise NotImplementedError("there is no way back: restore a backup")


def _run(texts: Sequence[str]) -> None:
    for text in texts:
        op.get_bind().exec_driver_sql(text)
