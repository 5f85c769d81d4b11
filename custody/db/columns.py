"""Column types that hold the same values on both databases, exactly, and an exact sum."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from core.errors import Reason, Refused

AMOUNT_MAX = (1 << 256) - 1


class _RefusedValue(Refused, exc.DontWrapMixin):
    """A refusal that SQLAlchemy hands through unwrapped."""


class _WrongType(TypeError, exc.DontWrapMixin):
    """A programming mistake that SQLAlchemy hands through unwrapped."""


class Amount(sa.types.TypeDecorator[int]):
    """Store an integer in 0..2^256-1 exactly, in an order that is the numeric one.

    PostgreSQL NUMERIC(78,0); SQLite a 32-byte big-endian BLOB, because its INTEGER turns into a
    float above 2^63-1. Refused: amount_out_of_range. Anything but an int is a TypeError.
    """

    impl = sa.NUMERIC(78, 0)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the storage of the dialect."""
        return dialect.type_descriptor(
            sa.LargeBinary() if dialect.name == "sqlite" else sa.NUMERIC(78, 0)
        )

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> Any:
        """Return the stored form."""
        if value is None:
            return None
        if type(value) is not int:
            raise _WrongType(f"an amount is an int, not {type(value).__name__}")
        if not 0 <= value <= AMOUNT_MAX:
            raise _RefusedValue(Reason.AMOUNT_OUT_OF_RANGE, "amounts are stored in 0..2^256-1")
        return value.to_bytes(32, "big") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> int | None:
        """Return the int."""
        return None if value is None else read_amount(value)


def read_amount(stored: bytes | Decimal) -> int:
    """Return the int behind a stored amount; for rows fetched past the column type."""
    if isinstance(stored, bytes):
        assert len(stored) == 32
        return int.from_bytes(stored, "big")
    amount = int(stored)
    assert amount == stored, "a fraction in an amount column"
    return amount


class Int64(sa.types.TypeDecorator[int]):
    """Store a signed 64-bit integer. A bool or a float is a TypeError."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the storage of the dialect: STRICT tables know INTEGER only."""
        return dialect.type_descriptor(
            sa.Integer() if dialect.name == "sqlite" else sa.BigInteger()
        )

    def process_bind_param(self, value: int | None, _dialect: sa.Dialect) -> int | None:
        """Return the plain int."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise _WrongType(f"an Int64 is an int, not {type(value).__name__}")
        if not -(1 << 63) <= value < 1 << 63:
            raise _RefusedValue(Reason.AMOUNT_OUT_OF_RANGE, "does not fit 64 bits")
        return int(value)


class Text(sa.types.TypeDecorator[str]):
    """Store text. Refused: malformed (a NUL or a lone surrogate, which PostgreSQL cannot hold)."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: sa.Dialect) -> str | None:
        """Return the plain str."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise _WrongType(f"a Text is a str, not {type(value).__name__}")
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise _RefusedValue(Reason.MALFORMED, "text with a NUL or a lone surrogate")
        return str(value)


Bytes = sa.LargeBinary
"""BLOB and BYTEA."""


class Flag(sa.types.TypeDecorator[bool]):
    """Store a bool: BOOLEAN, or INTEGER 0/1 where STRICT tables know no other."""

    impl = sa.Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the storage of the dialect."""
        return dialect.type_descriptor(sa.Integer() if dialect.name == "sqlite" else sa.Boolean())

    def process_bind_param(self, value: bool | None, dialect: sa.Dialect) -> Any:
        """Return the stored form."""
        if value is not None and type(value) is not bool:
            raise _WrongType(f"a Flag is a bool, not {type(value).__name__}")
        return int(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> bool | None:
        """Return the bool."""
        return None if value is None else bool(value)


class _ExactSum(sa.types.TypeDecorator[int]):
    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.NUMERIC())

    def process_result_value(self, value: Any, _dialect: sa.Dialect) -> int:
        return 0 if value is None else int(value)


class _SumAmount(GenericFunction[int]):
    name = "strongroom_sum"
    type = _ExactSum()
    inherit_cache = True


@compiles(_SumAmount, "postgresql")
def _sum_on_postgresql(element: _SumAmount, compiler: Any, **options: Any) -> str:
    return f"sum({compiler.process(element.clauses, **options)})"


def sum_amount(column: sa.ColumnElement[int] | sa.Column[int]) -> sa.ColumnElement[int]:
    """Return the exact sum of an Amount column as an int of any size; nothing to sum gives 0."""
    return _SumAmount(column)


class SqliteSum:
    """The aggregate behind sum_amount on SQLite."""

    def __init__(self) -> None:
        self._total = 0

    def step(self, stored: bytes | None) -> None:
        """Add one row."""
        if stored is not None:
            self._total += read_amount(stored)

    def finalize(self) -> str:
        """Return the total as decimal text, which has no width."""
        return str(self._total)
