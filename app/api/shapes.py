"""What every request and response model shares."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from core.errors import Reason, Refused

T = TypeVar("T")

AMOUNT_PATTERN = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"
PAGE_MAX = 100


class Asked(BaseModel):
    """A request: unknown fields and wrong types are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Shown(BaseModel):
    """A response."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Shown, Generic[T]):
    """One page; next_cursor is absent on the last one."""

    data: list[T]
    next_cursor: str | None = None


AmountText = Annotated[
    str,
    Field(
        description="A decimal string of whole coins, never a JSON number",
        json_schema_extra={"pattern": AMOUNT_PATTERN, "examples": ["12", "0.05"]},
    ),
]
"""Its grammar and scale are checked by core.money where the asset is known."""
AMOUNT_FIELDS = frozenset({"amount", "price", "quantity"})

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,18}$", description="next_cursor of the page before")
]


def after(cursor: str | None) -> int:
    """Return the number behind a cursor; 0 begins."""
    return 0 if cursor is None else int(cursor)


def next_of(numbers: list[int], limit: int) -> str | None:
    """Return the cursor of the next page, None when this one was not full."""
    return str(numbers[-1]) if len(numbers) == limit else None


def number_in_path(text: str, what: Reason) -> int:
    """Return a positive number written in a path. Refused: what, because nothing else exists."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refused(what, "there is none of this number")
    return int(text)
