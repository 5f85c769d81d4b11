"""The native engine behind the verbs of `engine.base.Engine`. One thread at a time."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from core.errors import Corrupt, Reason, Refused, Unavailable
from engine.base import Balance, Depth, DumpedImage, Level, Limits, LiveHold, OpenOrder, Totals
from engine.commands import Command
from engine.enums import MarketStatus, SelfTrade, Side
from engine.events import Event
from engine.market import Market
from engine.native import _core
from engine.records import RECORD_BYTES, RECORD_VERSION, pack_command, unpack_events
from engine.reference import DEFAULT_LIMITS

if (_core.RECORD_BYTES, _core.RECORD_VERSION) != (RECORD_BYTES, RECORD_VERSION):
    raise ImportError("the native core was built for other records")

OPEN_ORDERS_MOST = 1 << 24
REMEMBERED_ORDERS_MOST = 1 << 28
LEVELS_MOST = (1 << 64) - 1

_ASSET = struct.Struct("<H6x16s16s24x")
_MARKET = struct.Struct("<HHHBxII16s16sI12x")
_BALANCE = struct.Struct("<IH2x16s16s16s8x")
_ORDER = struct.Struct("<QIHBBqqqq16s")
_HOLD = struct.Struct("<QIH2x16s32x")
_LEVEL = struct.Struct("<q16sQ")


class NativeEngine:
    """Same commands, same events, same `state_hash()` as the reference engine."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Reserve address space for these limits. ValueError: limits beyond the core's own."""
        if not (
            0 <= limits.open_orders <= OPEN_ORDERS_MOST
            and 0 <= limits.remembered_orders <= REMEMBERED_ORDERS_MOST
            and limits.open_orders_per_customer >= 0
            and limits.levels_per_side >= 0
        ):
            raise ValueError(f"the native engine cannot work under {limits}")
        self.limits = limits
        self._core = _core.Core(
            limits.open_orders,
            limits.open_orders_per_customer,
            limits.remembered_orders,
            limits.levels_per_side,
        )
        self._markets: Mapping[int, Market] = {}
        self._config_sequence = 0

    # ---- the state machine

    @property
    def sequence(self) -> int:
        """Return the sequence of the last applied command; 0 when new."""
        return self._core.sequence

    @property
    def time_ns(self) -> int:
        """Return the block time of the last applied command."""
        return self._core.time_ns

    @property
    def funding_number(self) -> int:
        """Return the last funding number that was used up; 0 when new."""
        return self._core.funding_number

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        """Apply one command and return what it caused, in order.

        Refused: a field that fits no record. Corrupt: a gap in sequence or funding numbers, time
        going back.
        """
        record = pack_command(command)
        return unpack_events(self.apply_records(record, first_sequence=sequence, time_ns=time_ns))

    def has_room(self, commands: int) -> bool:
        """Return whether memory for so many commands more is there, whatever they cause."""
        return 0 <= commands <= _core.BATCH_MAX and self._core.has_room(commands)

    def check_records(
        self, records: bytes | memoryview, *, first_sequence: int, time_ns: int
    ) -> None:
        """Return when apply_records would take these records.

        Corrupt: it would not. Unavailable: no memory for a new market.
        """
        try:
            self._core.check(records, first_sequence, time_ns)
        except (ValueError, TypeError) as error:
            raise Corrupt(f"sequence {first_sequence}: {error}") from None
        except MemoryError:
            raise Unavailable("the engine has no memory for these commands") from None

    def apply_records(
        self, records: bytes | memoryview, *, first_sequence: int, time_ns: int
    ) -> bytes:
        """Apply command records and return event records. Corrupt: none was applied."""
        try:
            return self._core.apply(records, first_sequence, time_ns)
        except (ValueError, TypeError) as error:
            raise Corrupt(f"sequence {first_sequence}: {error}") from None
        except MemoryError:
            raise Corrupt(f"sequence {first_sequence}: no memory, nothing was applied") from None

    def dump(self) -> bytes:
        """Return the whole state in its one canonical form."""
        return self._core.dump()

    def copy_image(self) -> DumpedImage:
        """Return a copy of the state as it stands, which lives on while the engine goes on."""
        return DumpedImage(self.dump())

    @classmethod
    def load(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> NativeEngine:
        """Return the engine of a dump. Corrupt: cut short, damaged, or made under other limits."""
        engine = cls(limits)
        try:
            engine._core.load(data)
        except ValueError as error:
            raise Corrupt(str(error)) from None
        return engine

    def state_hash(self) -> bytes:
        """Return SHA-256 of dump()."""
        return hashlib.sha256(self.dump()).digest()

    # ---- questions

    def assets(self) -> tuple[int, ...]:
        """Return the known asset numbers, ascending."""
        return tuple(row[0] for row in _ASSET.iter_unpack(self._core.assets()))

    def markets(self) -> Mapping[int, Market]:
        """Return the markets by number."""
        if self._config_sequence != self._core.config_sequence:
            found = map(_market, _MARKET.iter_unpack(self._core.markets()))
            self._markets = MappingProxyType({market.market_no: market for market in found})
            self._config_sequence = self._core.config_sequence
        return self._markets

    def customers(self) -> tuple[int, ...]:
        """Return every customer with a balance, ascending."""
        rows = _BALANCE.iter_unpack(self._core.balances())
        return tuple(dict.fromkeys(row[0] for row in rows))

    def balances(self, customer_no: int) -> dict[int, Balance]:
        """Return a customer's balances by asset number, zeros left out."""
        if not 0 <= customer_no < 1 << 32:
            return {}
        rows = _BALANCE.iter_unpack(self._core.balances_of(customer_no))
        return {asset_no: Balance(*map(_number, wide)) for _, asset_no, *wide in rows}

    def totals(self, asset_no: int) -> Totals:
        """Return the sums of an asset over all customers. Refused: unknown_asset."""
        for known, supply, fees in _ASSET.iter_unpack(self._core.assets()):
            if known == asset_no:
                _, _, *wide = _BALANCE.unpack(self._core.totals(asset_no))
                return Totals(*map(_number, (*wide, fees, supply)))
        raise Refused(Reason.UNKNOWN_ASSET, f"asset {asset_no}")

    def open_orders(self, customer_no: int) -> list[OpenOrder]:
        """Return a customer's open orders in order of acceptance."""
        if not 0 <= customer_no < 1 << 32:
            return []
        return _orders(self._core.orders_of(customer_no))

    def all_open_orders(self) -> list[OpenOrder]:
        """Return every open order in order of acceptance."""
        return sorted(_orders(self._core.orders()), key=lambda order: order.order_id)

    def order(self, order_id: int) -> OpenOrder | None:
        """Return an open order; None once it is closed."""
        if not 0 <= order_id < 1 << 64:
            return None
        found = _orders(self._core.order(order_id))
        return found[0] if found else None

    def order_id_of(self, *, customer_no: int, client_order_id: int) -> int | None:
        """Return the order accepted under a client id, while that is remembered."""
        low, high = client_order_id & LEVELS_MOST, client_order_id >> 64
        if not (0 <= customer_no < 1 << 32 and 0 <= high <= LEVELS_MOST):
            return None
        return self._core.order_of(customer_no, low, high) or None

    def depth(self, market_no: int, levels: int) -> Depth:
        """Return the best levels of a market. Refused: unknown_market."""
        if market_no not in self.markets():
            raise Refused(Reason.UNKNOWN_MARKET, f"market {market_no}")
        bids, asks = (
            tuple(
                Level(price, _number(lots), orders)
                for price, lots, orders in _LEVEL.iter_unpack(
                    self._core.depth(market_no, is_asks, levels)
                )
            )
            for is_asks in (False, True)
        )
        return Depth(market_no=market_no, sequence=self.sequence, bids=bids, asks=asks)

    def live_holds(self) -> list[LiveHold]:
        """Return the holds not yet captured or released, by number."""
        return [
            LiveHold(number=number, customer_no=customer, asset_no=asset, amount=_number(amount))
            for number, customer, asset, amount in _HOLD.iter_unpack(self._core.holds())
        ]


def _number(wide: bytes) -> int:
    return int.from_bytes(wide, "little")


def _market(row: tuple[Any, ...]) -> Market:
    no, base, quote, status, maker_ppm, taker_ppm, tick, lot, collar_ppm = row
    return Market(
        market_no=no,
        base_asset_no=base,
        quote_asset_no=quote,
        tick_minor=_number(tick),
        lot_minor=_number(lot),
        maker_ppm=maker_ppm,
        taker_ppm=taker_ppm,
        status=MarketStatus(status),
        collar_ppm=collar_ppm,
    )


def _orders(rows: bytes) -> list[OpenOrder]:
    return [_order(row) for row in _ORDER.iter_unpack(rows)]


def _order(row: tuple[Any, ...]) -> OpenOrder:
    order_id, customer, market, side, flags, price, quantity, filled, remaining, client = row
    return OpenOrder(
        order_id=order_id,
        customer_no=customer,
        client_order_id=_number(client),
        market_no=market,
        side=Side(side),
        price_ticks=price,
        quantity_lots=quantity,
        filled_lots=filled,
        remaining_lots=remaining,
        post_only=bool(flags & 1),
        stp=SelfTrade(flags >> 1),
    )
