"""An intent as it travels in files: canonical bytes, their hex digits, or JSON of the same fields.

The JSON form is one object: `type` (the domain tag), `version`, and every field under its name in
custody.keys.intent, integers as strings of decimal digits, lists as lists of strings:

    {"type": "strongroom/spend-intent", "version": "1", "spend_id": "sp_1", "amount": "15", …}

The items of a batch are a list of such objects, each with cause_id, destination and amount.

What is shown and hashed is always the canonical bytes; the form they came in leaves no trace.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from chains.base import BATCH_ITEMS_MAX, SpendIntent, SpendItem, SpendKind
from core.errors import Reason, Refused
from custody.keys import intent as intents
from custody.keys.intent import Intent, WithdrawalIntent

FORM_BYTES_MAX = 1 << 16
_KINDS: dict[tuple[str, str], type[Intent]] = {
    (intents.SPEND_TAG, str(intents.SPEND_VERSION)): SpendIntent,
    (intents.SPEND_TAG, str(intents.BATCH_VERSION)): SpendIntent,
    (intents.WITHDRAWAL_TAG, str(intents.WITHDRAWAL_VERSION)): WithdrawalIntent,
}
_LISTS = frozenset({"excluded"})
_DIGITS = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_INTEGERS = frozenset(
    field.name for kind in _KINDS.values() for field in fields(kind) if field.type == "int"
)
_ITEM_NAMES = tuple(field.name for field in fields(SpendItem))


def read_any(data: bytes) -> bytes:
    """Return the canonical bytes of an intent in any of its forms.

    Refused: malformed, too_large, unknown_version, amount_out_of_range.
    """
    if len(data) > FORM_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "an intent has at most 64 KiB in any form")
    if data[:1] < b" " and data.strip():
        return intents.encode(intents.decode(data))  # binary: it starts with the tag's length
    text = data.strip()
    if text.startswith(b"{"):
        return intents.encode(_from_json(text))
    try:
        raw = bytes.fromhex(text.decode("ascii")) if text.isalnum() else b""
    except ValueError:
        raw = b""
    if not raw:
        raise Refused(Reason.MALFORMED, "an intent is canonical bytes, their hex digits, or JSON")
    return intents.encode(intents.decode(raw))


def to_json(intent: Intent) -> dict[str, Any]:
    """Return the JSON form of an intent, not yet as text."""
    tag, version = intents.SPEND_TAG, intents.SPEND_VERSION
    if isinstance(intent, WithdrawalIntent):
        tag, version = intents.WITHDRAWAL_TAG, intents.WITHDRAWAL_VERSION
    elif intent.items:
        version = intents.BATCH_VERSION
    values = {field.name: getattr(intent, field.name) for field in fields(intent)}
    page: dict[str, Any] = {"type": tag, "version": str(version)}
    for name, value in values.items():
        if name != "items":
            page[name] = _form_of(value)
        elif value:
            page[name] = [{key: str(getattr(one, key)) for key in _ITEM_NAMES} for one in value]
    return page


def _form_of(value: object) -> str | list[str]:
    if isinstance(value, tuple):
        return [str(one) for one in value]
    return value.value if isinstance(value, SpendKind) else str(value)


def _from_json(text: bytes) -> Intent:
    try:
        page = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, "not the JSON form of an intent") from error
    items = page.pop("items", None)
    for name, value in page.items():
        listed = value if name in _LISTS and type(value) is list else (value,)
        if (name in _LISTS) != (listed is value) or not all(type(one) is str for one in listed):
            raise Refused(Reason.MALFORMED, f"{name} is a string, or a list of strings")
    found = (page.pop("type", ""), page.pop("version", ""))
    if found not in _KINDS:
        raise Refused(Reason.UNKNOWN_VERSION, f"{found[0]} {found[1]}")
    kind, is_batch = _KINDS[found], found[1] == str(intents.BATCH_VERSION)
    is_batch = is_batch and kind is SpendIntent
    names = {field.name for field in fields(kind)} - {"items"}
    if set(page) != names or (items is not None) != is_batch:
        raise Refused(Reason.MALFORMED, "fields of an intent are missing or unknown")
    values = {name: _value(name, value) for name, value in page.items()}
    if is_batch:
        values["items"] = _items(items)
    return kind(**values)


def _items(rows: object) -> tuple[SpendItem, ...]:
    if type(rows) is not list or len(rows) > BATCH_ITEMS_MAX:
        raise Refused(Reason.MALFORMED, f"items are a list of at most {BATCH_ITEMS_MAX}")
    found = []
    for row in rows:
        if type(row) is not dict or set(row) != set(_ITEM_NAMES):
            raise Refused(Reason.MALFORMED, "an item has a cause, a destination and an amount")
        if not all(type(value) is str for value in row.values()):
            raise Refused(Reason.MALFORMED, "every field of an item is a string")
        found.append(SpendItem(**{name: _value(name, value) for name, value in row.items()}))
    return tuple(found)


def _value(name: str, text: Any) -> Any:
    if name in _LISTS:
        return tuple(text)
    if name in _INTEGERS:
        if not _DIGITS.fullmatch(text):
            raise Refused(Reason.MALFORMED, f"{name} is a string of decimal digits")
        return int(text)
    if name == "kind":
        if text not in {member.value for member in SpendKind}:
            raise Refused(Reason.MALFORMED, "unknown kind of spend")
        return SpendKind(text)
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    page = dict(pairs)
    if len(page) != len(pairs):
        raise ValueError("a name stands in the object twice")
    return page
