"""JSON as we accept it: one object, no key twice, no deep nest, nothing that is not JSON."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from core.errors import Reason, Refused

DEPTH_MAX = 16
"""Deeper than anything we accept, and far from the interpreter's own limit."""


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the object of a body. Refused: malformed."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(Reason.MALFORMED, "the body is not UTF-8") from error
    _check_depth(text)
    try:
        found = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        # A number of too many digits is a ValueError too.
        raise Refused(Reason.MALFORMED, "the body is not JSON") from error
    if not isinstance(found, dict):
        raise Refused(Reason.MALFORMED, "the body is not a JSON object")
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused(Reason.MALFORMED, "a lone surrogate is no text") from error
    return found


def _check_depth(text: str) -> None:
    depth, in_text, escaped = 0, False, False
    for char in text:
        if in_text:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_text = False
        elif char == '"':
            in_text = True
        elif char in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise Refused(Reason.MALFORMED, f"JSON nested deeper than {DEPTH_MAX}")
        elif char in "]}":
            depth -= 1


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused(Reason.MALFORMED, "a key stands twice in one JSON object")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise Refused(Reason.MALFORMED, "NaN and Infinity are not JSON")
