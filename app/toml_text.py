"""Plain values as TOML: just what our own files need."""

from __future__ import annotations

import json
from collections.abc import Mapping


def toml_text(tables: Mapping[str, object]) -> str:
    """Return a document: mappings become tables, lists of mappings become arrays of tables."""
    return "\n".join(_lines(tables, "")) + "\n"


def _lines(table: Mapping[str, object], prefix: str) -> list[str]:
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not _is_nested(value)]
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_lines(value, f"{name}.")]
        elif _is_nested(value):
            assert isinstance(value, list)
            for entry in value:
                lines += ["", f"[[{name}]]"]
                lines += [f"{inner} = {_value(found)}" for inner, found in entry.items()]
    return lines


def _is_nested(value: object) -> bool:
    is_tables = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, Mapping) or is_tables


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True)  # TOML's basic strings are JSON's
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    assert isinstance(value, list | tuple), type(value)
    return "[" + ", ".join(map(_value, value)) + "]"
