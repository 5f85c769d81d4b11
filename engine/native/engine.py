"""The native engine behind the verbs of `engine.base.Engine`. One thread at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from core.errors import Reason, Refused
from engine import state_rows
from engine.base import Balance, Depth, Level, Limits, LiveHold, OpenOrder, Totals
from engine.commands import Command
from engine.enums import MarketStatus, SelfTrade, Side
from engine.events import Event
from engine.market import Market
from engine.native import _core, state
from engine.native.state import Kind, NativeImage
from engine.records import RECORD_BYTES, RECORD_VERSION, pack_command, unpack_events
from engine.reference import DEFAULT_LIMITS
from engine.state_rows import narrow

if (_core.RECORD_BYTES, _core.RECORD_VERSION) != (RECORD_BYTES, RECORD_VERSION):
    raise ImportError("the native core was built for other records")

OPEN_ORDERS_MOST = 1 << 24
REMEMBERED_ORDERS_MOST = 1 << 28
U32, U64 = 1 << 32, 1 << 64


class NativeEngine(_core.Core):
    """Same commands, same events, same `state_hash()` as the reference engine.

    sequence, time_ns, funding_number, has_room, check_records and apply_records are the core's own.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Reserve address space for these limits. ValueError: limits beyond the core's own."""
        if not (
            0 <= limits.open_orders <= OPEN_ORDERS_MOST
            and 0 <= limits.remembered_orders <= REMEMBERED_ORDERS_MOST
            and 0 <= limits.open_orders_per_customer < U64
            and 0 <= limits.levels_per_side < U64
        ):
            raise ValueError(f"the native engine cannot work under {limits}")
        super().__init__(
            limits.open_orders,
            limits.open_orders_per_customer,
            limits.remembered_orders,
            limits.levels_per_side,
        )
        self.limits = limits
        self._markets: Mapping[int, Market] = {}
        self._markets_at = 0

    # ---- the state machine

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        """Apply one command and return what it caused, in order.

        Refused: a field that fits no record. Corrupt: a gap in sequence or funding numbers, time
        going back.
        """
        record = pack_command(command)
        return unpack_events(self.apply_records(record, first_sequence=sequence, time_ns=time_ns))

    def copy_image(self) -> NativeImage:
        """Return a copy of the state as it stands, which lives on while the engine goes on."""
        return NativeImage(self.image(), self.limits)

    def dump(self) -> bytes:
        """Return the whole state in its one canonical form."""
        return NativeImage(self, self.limits).dump()

    @classmethod
    def load(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> NativeEngine:
        """Return the engine of a dump. Corrupt: cut short, damaged, or made under other limits."""
        state_rows.unpack_header(data, limits)
        engine = cls(limits)
        engine.load_rows(data)
        return engine

    def state_hash(self) -> bytes:
        """Return SHA-256 of dump()."""
        return hashlib.sha256(self.dump()).digest()

    # ---- questions

    def assets(self) -> tuple[int, ...]:
        """Return the known asset numbers, ascending."""
        return tuple(state_rows.ASSET.unpack(row)[0] for row in state.assets(self))

    def markets(self) -> Mapping[int, Market]:
        """Return the markets by number."""
        if self._markets_at != self.config_sequence:
            found = map(_market, state.markets(self))
            self._markets = MappingProxyType({market.market_no: market for market in found})
            self._markets_at = self.config_sequence
        return self._markets

    def customers(self) -> tuple[int, ...]:
        """Return every customer with a balance, ascending."""
        rows = state.balances(state.entries(self, Kind.ACCOUNT))
        return tuple(dict.fromkeys(state_rows.BALANCE.unpack(row)[0] for row in rows))

    def balances(self, customer_no: int) -> dict[int, Balance]:
        """Return a customer's balances by asset number, zeros left out."""
        rows = state.balances(self._accounts(customer_no))
        found = map(state_rows.BALANCE.unpack, rows)
        return {asset_no: Balance(*map(narrow, wide)) for _, asset_no, *wide in found}

    def totals(self, asset_no: int) -> Totals:
        """Return the sums of an asset over all customers. Refused: unknown_asset."""
        known = {row[0]: row[1:] for row in map(state_rows.ASSET.unpack, state.assets(self))}
        if asset_no not in known:
            raise Refused(Reason.UNKNOWN_ASSET, f"asset {asset_no}")
        available = locked = held = 0
        for row in state.entries(self, Kind.ACCOUNT):
            _, asset, *wide = state_rows.BALANCE.unpack(row)
            if asset == asset_no:
                available += narrow(wide[0])
                locked += narrow(wide[1])
                held += narrow(wide[2])
        supply, fees = map(narrow, known[asset_no])
        return Totals(available=available, locked=locked, held=held, fees=fees, supply=supply)

    def open_orders(self, customer_no: int) -> list[OpenOrder]:
        """Return a customer's open orders in order of acceptance."""
        found = []
        index = state.customer(self, customer_no).newest_order
        while index:
            found.append(_order(state.order_row(self, index)))
            index = state.node(self, index).older
        return found[::-1]

    def all_open_orders(self) -> list[OpenOrder]:
        """Return every open order in order of acceptance."""
        rows = (state.order_row(self, index) for index in state.open_indexes(self))
        return sorted(map(_order, rows), key=lambda order: order.order_id)

    def order(self, order_id: int) -> OpenOrder | None:
        """Return an open order; None once it is closed."""
        index = (order_id & 0xFFFFFF) + 1
        if not order_id or not self.read(Kind.ORDER, index, 1):
            return None
        is_open = state.node(self, index).order_id == order_id
        return _order(state.order_row(self, index)) if is_open else None

    def order_id_of(self, *, customer_no: int, client_order_id: int) -> int | None:
        """Return the order accepted under a client id, while that is remembered."""
        high, low = divmod(client_order_id, U64)
        if not (0 <= customer_no < U32 and 0 <= high < U64):
            return None
        return self.order_of(customer_no, low, high) or None

    def depth(self, market_no: int, levels: int) -> Depth:
        """Return the best levels of a market. Refused: unknown_market."""
        if market_no not in self.markets():
            raise Refused(Reason.UNKNOWN_MARKET, f"market {market_no}")
        bids, asks = (
            tuple(
                Level(*state.depth(self, index))
                for (index,) in state_rows.SLOT.iter_unpack(self.levels(market_no, side, levels))
            )
            for side in (0, 1)
        )
        return Depth(market_no=market_no, sequence=self.sequence, bids=bids, asks=asks)

    def live_holds(self) -> list[LiveHold]:
        """Return the holds not yet captured or released, by number."""
        return [
            LiveHold(number=number, customer_no=customer, asset_no=asset, amount=narrow(amount))
            for number, customer, asset, amount in map(state_rows.HOLD.unpack, state.holds(self))
        ]

    def _accounts(self, customer_no: int) -> Iterator[bytes]:
        index = state.customer(self, customer_no).accounts
        while index:
            row = self.read(Kind.ACCOUNT, index, 1)
            yield row
            index = int.from_bytes(row[56:60], "little")


def _market(row: bytes) -> Market:
    no, base, quote, status, maker_ppm, taker_ppm, tick, lot, collar_ppm, _ = (
        state_rows.MARKET.unpack(row)
    )
    return Market(
        market_no=no,
        base_asset_no=base,
        quote_asset_no=quote,
        tick_minor=narrow(tick),
        lot_minor=narrow(lot),
        maker_ppm=maker_ppm,
        taker_ppm=taker_ppm,
        status=MarketStatus(status),
        collar_ppm=collar_ppm,
    )


def _order(row: bytes) -> OpenOrder:
    order_id, customer, market, side, flags, price, quantity, filled, remaining, client = (
        state_rows.ORDER.unpack(row)
    )
    return OpenOrder(
        order_id=order_id,
        customer_no=customer,
        client_order_id=narrow(client),
        market_no=market,
        side=Side(side),
        price_ticks=price,
        quantity_lots=quantity,
        filled_lots=filled,
        remaining_lots=remaining,
        post_only=bool(flags & 1),
        stp=SelfTrade(flags >> 1),
    )
