"""Single settings: what was found becomes a value, and a value becomes what people may see."""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin
from urllib.parse import urlsplit

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_INTEGER_DIGITS_MAX = 80
SQLITE = "sqlite:///"
_WORDS = {"true": True, "false": False}


class SettingsError(Exception):
    """The settings are not as they must be; `problems` has a line for each name."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("settings:\n  " + "\n  ".join(problems))
        self.problems = tuple(problems)


def read_value(hint: Any, found: object, folder: Path) -> Any:
    """Return a value of the hinted type. ValueError says what was expected.

    Text stands for every type, because the environment knows no other. A list is written with
    commas there.
    """
    if get_origin(hint) in (types.UnionType, Union):
        (hint,) = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is tuple:
        items = found.split(",") if isinstance(found, str) else found
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError("a list of texts")
        return tuple(item.strip() for item in items)
    if hint is bool:
        value = _WORDS.get(found, found) if isinstance(found, str) else found
        if type(value) is not bool:
            raise ValueError("true or false")
        return value
    if hint is int:
        return _integer(found)
    if not isinstance(found, str) or not found:
        raise ValueError("a text")
    return (folder / found).resolve() if hint is Path else found


def absolute_url(url: str, folder: Path) -> str:
    """Return a database's URL; the path of a SQLite file starts at folder, like every path."""
    path = url.removeprefix(SQLITE)
    return url if path in (url, "") else f"{SQLITE}{(folder / path).resolve()}"


def hidden(value: object) -> str:
    """Return a value for people: of a URL only scheme, host and port."""
    if isinstance(value, tuple):
        return ", ".join(hidden(item) for item in value)
    if value is None:
        return "-"
    text = str(value)
    if "://" not in text or text.startswith("sqlite:"):
        return text
    parts = urlsplit(text)
    port = f":{parts.port}" if parts.port else ""
    rest = "" if parts.path in ("", "/") and not parts.query else "/<hidden>"
    if parts.scheme.startswith("postgres"):
        rest = parts.path
    return f"{parts.scheme}://{parts.hostname or ''}{port}{rest}"


def _integer(found: object) -> int:
    # Amounts are larger than TOML promises to carry, so they may be written as text.
    if isinstance(found, str) and len(found) <= _INTEGER_DIGITS_MAX and _INTEGER.fullmatch(found):
        return int(found)
    if type(found) is not int:
        raise ValueError("a whole number")
    return found
