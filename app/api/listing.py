"""What is listed, kept in memory: rows are append-only, so only what is missing is read again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from app.api.units import MarketUnits, asset_id
from core.clock import SECOND_NS, Clock
from core.errors import Reason, Refused
from core.ids import AssetNo
from custody import catalogue
from custody.catalogue import Asset
from custody.db import Database

T = TypeVar("T")

RELOAD_NS = SECOND_NS
"""Names that are not listed make us read at most this often."""


class Listing:
    """Assets and markets by number and by name. Thread-safe."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._loaded_ns: int | None = None
        self._loading = threading.Lock()
        self._assets: dict[int, Asset] = {}
        self._by_id: dict[str, Asset] = {}
        self._markets: dict[int, MarketUnits] = {}
        self._by_name: dict[str, MarketUnits] = {}

    def load(self) -> None:
        """Read everything that is listed now."""
        with self._loading:
            self._load()

    def _load(self) -> None:
        with self._db.read() as conn:
            assets, rows = catalogue.all_assets(conn), catalogue.all_markets(conn)
        by_no = {int(asset.asset_no): asset for asset in assets}
        markets = {
            int(row.market_no): MarketUnits.of(
                row, by_no[row.base_asset_no], by_no[row.quote_asset_no]
            )
            for row in rows
        }
        self._by_id = {asset_id(asset): asset for asset in assets}
        self._by_name = {units.row.name: units for units in markets.values()}
        self._assets, self._markets = by_no, markets
        self._loaded_ns = self._clock.monotonic_ns()

    def assets(self) -> list[Asset]:
        """Return every listed asset by number, freshly read."""
        self.load()
        return list(self._assets.values())

    def markets(self) -> list[MarketUnits]:
        """Return every listed market by number, freshly read."""
        self.load()
        return list(self._markets.values())

    def asset(self, text: str) -> Asset:
        """Return the asset `<chain>/<key>`. Refused: unknown_asset."""
        return self._find(lambda: self._by_id.get(text), Reason.UNKNOWN_ASSET)

    def asset_of(self, asset_no: AssetNo | int) -> Asset:
        """Return the asset of a number. Refused: unknown_asset."""
        return self._find(lambda: self._assets.get(asset_no), Reason.UNKNOWN_ASSET)

    def market(self, name: str) -> MarketUnits:
        """Return the market of a name. Refused: unknown_market."""
        return self._find(lambda: self._by_name.get(name), Reason.UNKNOWN_MARKET)

    def market_of(self, market_no: int) -> MarketUnits:
        """Return the market of a number. Refused: unknown_market."""
        return self._find(lambda: self._markets.get(market_no), Reason.UNKNOWN_MARKET)

    def _find(self, look: Callable[[], T | None], reason: Reason) -> T:
        found = look()
        if found is None:
            with self._loading:
                found = look()
                if found is None and self._is_stale():
                    self._load()
                    found = look()
        if found is None:
            raise Refused(reason, "nothing is listed under this name")
        return found

    def _is_stale(self) -> bool:
        if self._loaded_ns is None:
            return True
        return self._clock.monotonic_ns() - self._loaded_ns >= RELOAD_NS
