"""A feed of prices as a file that ops import:

[[prices]]
asset = "…"                 # as /v1/assets names it
price = "3012.55"           # USD for one whole coin: text, because a TOML number is a float
at = 2026-11-20T17:00:00Z   # when the source said so, in UTC
source = "desk"
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

from core.errors import Reason, Refused
from custody.prices import parse_price

FILE_BYTES_MAX = 1 << 20
PRICES_MAX = 1_000
_FIELDS = ("asset", "price", "at", "source")


def read_feed(path: Path) -> list[dict[str, str]]:
    """Return the prices of a file as the API takes them.

    Refused, with file and entry: not_found, too_large, malformed, missing_field, malformed_amount.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Refused(Reason.NOT_FOUND, f"{path}: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, f"{path}: at most {FILE_BYTES_MAX} bytes")
    try:
        page = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(Reason.MALFORMED, f"{path}: {error}") from error
    entries = page.pop("prices", None)
    if page or not isinstance(entries, list) or not entries:
        raise Refused(Reason.MALFORMED, f"{path}: a feed is a list of [[prices]] and nothing else")
    if len(entries) > PRICES_MAX:
        raise Refused(Reason.TOO_LARGE, f"{path}: at most {PRICES_MAX} prices")
    return [_price(entry, f"{path}: price {number}") for number, entry in enumerate(entries, 1)]


def _price(entry: object, where: str) -> dict[str, str]:
    if not isinstance(entry, dict) or set(entry) - set(_FIELDS):
        raise Refused(Reason.MALFORMED, f"{where}: its fields are {', '.join(_FIELDS)}")
    if missing := [name for name in _FIELDS if name not in entry]:
        raise Refused(Reason.MISSING_FIELD, f"{where}: {', '.join(missing)}")
    try:
        parse_price(entry["price"])
    except Refused as refused:
        raise Refused(refused.reason, f"{where}: {refused.detail}") from refused
    at = entry["at"]
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise Refused(Reason.MALFORMED, f"{where}: at is a time with its offset")
    asset, source = entry["asset"], entry["source"]
    if not (isinstance(asset, str) and isinstance(source, str)):
        raise Refused(Reason.MALFORMED, f"{where}: asset and source are text")
    instant = f"{at.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
    return {"asset": asset, "price": entry["price"], "at": instant, "source": source}
