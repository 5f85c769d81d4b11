"""The list of assets: data files, read strictly, never code.

A file holds `[[asset]]` tables. Amounts are decimal strings of whole coins, as people write
them; they become integers of the smallest unit here. An unknown or missing key stops the start.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from chains.base import AssetSpec
from core.errors import Refused
from core.ids import ChainId
from core.money import MAX_SCALE, parse_amount

ASSETS_FILE = Path(__file__).with_name("assets.toml")

_TEXTS = ("chain", "key", "symbol")
_AMOUNTS = ("deposit_minimum", "withdrawal_minimum", "withdrawal_fee", "sweep_minimum")
_REQUIRED = frozenset((*_TEXTS, "scale", *_AMOUNTS))
_ALLOWED = _REQUIRED | {"odd"}


class AssetFileError(ValueError):
    """A data file of assets is not as it must be; names the table and the key."""


def load_assets(path: Path = ASSETS_FILE) -> tuple[AssetSpec, ...]:
    """Read a data file. AssetFileError: unreadable, or not as parse_assets wants it."""
    try:
        return parse_assets(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AssetFileError(f"{path.name}: {error}") from error


def parse_assets(text: str) -> tuple[AssetSpec, ...]:
    """Read asset tables. AssetFileError: bad TOML, unknown or missing keys, wrong types, twins."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AssetFileError(str(error)) from error
    if set(document) - {"asset"}:
        raise AssetFileError(f"unknown tables: {sorted(set(document) - {'asset'})}")
    tables = document.get("asset", [])
    if not isinstance(tables, list):
        raise AssetFileError("assets are written as [[asset]]")
    assets = tuple(_asset(number, table) for number, table in enumerate(tables, 1))
    _refuse_twins(assets)
    return assets


def _asset(number: int, table: object) -> AssetSpec:
    if not isinstance(table, dict):
        raise AssetFileError(f"asset {number} is not a table")
    where = f"asset {number} ({table.get('symbol', 'nameless')})"
    if set(table) - _ALLOWED:
        raise AssetFileError(f"{where}: unknown keys {sorted(set(table) - _ALLOWED)}")
    if _REQUIRED - set(table):
        raise AssetFileError(f"{where}: missing keys {sorted(_REQUIRED - set(table))}")
    for name in _TEXTS:
        if not isinstance(table[name], str) or not table[name]:
            raise AssetFileError(f"{where}: {name} is a text")
    scale, odd = table["scale"], table.get("odd", False)
    if type(scale) is not int or not 0 <= scale <= MAX_SCALE:
        raise AssetFileError(f"{where}: scale is a whole number up to {MAX_SCALE}")
    if type(odd) is not bool:
        raise AssetFileError(f"{where}: odd is true or false")
    amounts = {name: _amount(where, name, table, scale) for name in _AMOUNTS}
    return AssetSpec(
        chain=ChainId(table["chain"]),
        key=table["key"],
        symbol=table["symbol"],
        scale=scale,
        odd=odd,
        **amounts,
    )


def _amount(where: str, name: str, table: Mapping[str, object], scale: int) -> int:
    try:
        return parse_amount(table[name], scale)
    except Refused as error:
        raise AssetFileError(f"{where}: {name}: {error.detail}") from error


def _refuse_twins(assets: tuple[AssetSpec, ...]) -> None:
    for what, keys in (
        ("key", [(asset.chain, asset.key.lower()) for asset in assets]),
        ("symbol", [(asset.chain, asset.symbol.lower()) for asset in assets]),
    ):
        twins = {key for key in keys if keys.count(key) > 1}
        if twins:
            raise AssetFileError(f"the same {what} stands twice on a chain: {sorted(twins)}")
