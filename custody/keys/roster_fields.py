"""The fields of a roster's rows: each has one type, one range and one spelling."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from core.errors import Reason, Refused
from core.money import AMOUNT_LIMIT

ROWS_MAX = 1_024
HEX_BYTES_MAX = 1_024
_HASH_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,76}", re.ASCII)
_TEXT = re.compile(r"[ -~]{1,256}", re.ASCII)

Row = Mapping[str, Any]


def named(row: Row, kind: type) -> None:
    names = {field.name for field in dataclasses.fields(kind)}
    if set(row) != names:
        raise malformed(f"{kind.__name__.lower()} has {', '.join(sorted(names))}")


def text(row: Row, name: str) -> Any:
    value = row[name]
    if type(value) is not str or not _TEXT.fullmatch(value):
        raise malformed(f"{name} is a short ASCII text")
    return value


def texts(row: Row, name: str) -> tuple[str, ...]:
    values = row[name]
    if type(values) is not list or len(values) > ROWS_MAX:
        raise malformed(f"{name} is a list of texts")
    return tuple(text({name: value}, name) for value in values)


def integer(row: Row, name: str, limit: int) -> int:
    value = row[name]
    if type(value) is not int or not 0 <= value < limit:
        raise malformed(f"{name} is an integer in 0..{limit - 1}")
    return value


def amount(row: Row, name: str) -> int:
    value = row[name]
    if type(value) is not str or not _AMOUNT.fullmatch(value) or int(value) >= AMOUNT_LIMIT:
        raise malformed(f"{name} is an amount: a string of decimal digits")
    return int(value)


def sha256_or_key(row: Row, name: str, *, empty: bool = False) -> bytes:
    value = row[name]
    if empty and value == "":
        return b""
    if type(value) is not str or not _HASH_HEX.fullmatch(value):
        raise malformed(f"{name} is 64 lower-case hex digits")
    return bytes.fromhex(value)


def octets(row: Row, name: str) -> bytes:
    """Return the bytes of a field of hex digits. Refused: malformed."""
    value = row[name]
    if type(value) is not str or len(value) > 2 * HEX_BYTES_MAX or not _HEX.fullmatch(value):
        raise malformed(f"{name} is bytes in lower-case hex digits")
    return bytes.fromhex(value)


def malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, detail)
