"""The state as bytes, in one canonical form: a header and sections of fixed rows, little-endian.

Sections, in order: assets, markets, balances by (customer, asset), orders as they stand in the
books (market, bids then asks, best first, oldest first), holds by number, client ids of closed
orders by time of closing, client ids of open orders by order id, freed slots (the last is given out
first). A row has 64 bytes, a slot 4. Nothing depends on the order of a dictionary.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from core.errors import Corrupt
from engine.base import Limits, LiveHold
from engine.enums import MarketStatus, OrderKind, SelfTrade, Side, TimeInForce
from engine.market import Market
from engine.reference_balances import AssetTotal
from engine.reference_book import Book, Order
from engine.reference_ids import ClientKey, Content, Remembered
from engine.reference_state import State

MAGIC = b"SRSTATE2"
ROW_BYTES = 64

_HEADER = struct.Struct("<8sQqQI4x4Q8Q")
_ASSET = struct.Struct("<H6x16s16s24x")
_MARKET = struct.Struct("<HHHBxII16s16sI4xq")
_BALANCE = struct.Struct("<IH2x16s16s16s8x")
_ORDER = struct.Struct("<QIHBBqqqq16s")
_HOLD = struct.Struct("<QIH2x16s32x")
_CLIENT_ID = struct.Struct("<IHBBQqqq16s8x")
_SLOT = struct.Struct("<I")


def dump_state(state: State) -> bytes:
    """Return the canonical bytes."""
    sections = [
        [_pack_asset(no, total) for no, total in sorted(state.balances.assets.items())],
        [_pack_market(state, market) for _, market in sorted(state.markets.items())],
        [
            _BALANCE.pack(customer, asset, _wide(b.available), _wide(b.locked), _wide(b.held))
            for customer, asset, b in state.balances.rows()
        ],
        [_pack_order(order) for order in _orders_in_books(state)],
        [
            _HOLD.pack(hold.number, hold.customer_no, hold.asset_no, _wide(hold.amount))
            for _, hold in sorted(state.holds.items())
        ],
        [_pack_client_id(state, key, time_ns) for time_ns, key in state.client_ids.closed],
        [_pack_client_id(state, key, 0) for key in _open_keys(state)],
        [_SLOT.pack(slot) for slot in state.slots.free],
    ]
    header = _HEADER.pack(
        MAGIC,
        state.sequence,
        state.time_ns,
        state.funding_number,
        state.slots.top,
        *_limits(state.limits),
        *(len(rows) for rows in sections),
    )
    return header + b"".join(b"".join(rows) for rows in sections)


def load_state(data: bytes, limits: Limits) -> State:
    """Return the state of a dump. Corrupt: not a dump, cut short, or made under other limits."""
    if len(data) < _HEADER.size:
        raise Corrupt("state dump is shorter than its header")
    magic, sequence, time_ns, funding_number, slot_top, *rest = _HEADER.unpack_from(data)
    limits_of_dump, counts = tuple(rest[:4]), rest[4:]
    if magic != MAGIC:
        raise Corrupt("not a state dump of this version")
    if limits_of_dump != _limits(limits):
        raise Corrupt(f"state dumped under limits {limits_of_dump}")
    if len(data) != _HEADER.size + ROW_BYTES * sum(counts[:-1]) + _SLOT.size * counts[-1]:
        raise Corrupt("state dump has the wrong length")
    state = State(limits)
    state.sequence, state.time_ns = sequence, time_ns
    state.funding_number, state.slots.top = funding_number, slot_top
    rows = _Rows(data)
    try:
        for load, count in zip(_LOADERS, counts[:-1], strict=True):
            for row in rows.take(count):
                load(state, row)
    except (KeyError, ValueError) as error:
        raise Corrupt(f"state dump names something that is not in it: {error}") from None
    state.slots.free = [slot for (slot,) in _SLOT.iter_unpack(rows.rest())]
    if len(state.orders) != counts[6] or len(state.slots.free) + counts[6] != slot_top:
        raise Corrupt("state dump counts its orders in two ways")
    return state


class _Rows:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEADER.size

    def take(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield self._data[self._at : self._at + ROW_BYTES]
            self._at += ROW_BYTES

    def rest(self) -> bytes:
        return self._data[self._at :]


def _limits(limits: Limits) -> tuple[int, ...]:
    return (
        limits.open_orders,
        limits.open_orders_per_customer,
        limits.remembered_orders,
        limits.levels_per_side,
    )


def _wide(value: int) -> bytes:
    return value.to_bytes(16, "little")


def _narrow(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _orders_in_books(state: State) -> Iterator[Order]:
    for _, book in sorted(state.books.items()):
        yield from book.bids.walk()
        yield from book.asks.walk()


def _open_keys(state: State) -> Iterator[ClientKey]:
    for _, order in sorted(state.orders.items()):
        yield ClientKey(order.customer_no, order.client_order_id)


def _pack_asset(asset_no: int, total: AssetTotal) -> bytes:
    return _ASSET.pack(asset_no, _wide(total.supply), _wide(total.fees))


def _load_asset(state: State, row: bytes) -> None:
    asset_no, supply, fees = _ASSET.unpack(row)
    state.balances.assets[asset_no] = AssetTotal(_narrow(supply), _narrow(fees))


def _pack_market(state: State, market: Market) -> bytes:
    return _MARKET.pack(
        market.market_no,
        market.base_asset_no,
        market.quote_asset_no,
        market.status,
        market.maker_ppm,
        market.taker_ppm,
        _wide(market.tick_minor),
        _wide(market.lot_minor),
        market.collar_ppm,
        state.books[market.market_no].last_ticks,
    )


def _load_market(state: State, row: bytes) -> None:
    market_no, base, quote, status, maker_ppm, taker_ppm, tick, lot, collar_ppm, last_ticks = (
        _MARKET.unpack(row)
    )
    state.books[market_no] = Book()
    state.books[market_no].last_ticks = last_ticks
    state.markets[market_no] = Market(
        market_no=market_no,
        base_asset_no=base,
        quote_asset_no=quote,
        tick_minor=_narrow(tick),
        lot_minor=_narrow(lot),
        maker_ppm=maker_ppm,
        taker_ppm=taker_ppm,
        status=MarketStatus(status),
        collar_ppm=collar_ppm,
    )


def _load_balance(state: State, row: bytes) -> None:
    customer_no, asset_no, available, locked, held = _BALANCE.unpack(row)
    account = state.balances.account(customer_no, asset_no)
    account.available, account.locked = _narrow(available), _narrow(locked)
    account.held = _narrow(held)


def _pack_order(order: Order) -> bytes:
    return _ORDER.pack(
        order.order_id,
        order.customer_no,
        order.market_no,
        order.side,
        order.post_only | order.stp << 1,
        order.price_ticks,
        order.quantity_lots,
        order.filled_lots,
        order.remaining_lots,
        _wide(order.client_order_id),
    )


def _load_order(state: State, row: bytes) -> None:
    order_id, customer_no, market_no, side, flags, price, quantity, filled, remaining, client = (
        _ORDER.unpack(row)
    )
    order = Order(
        order_id=order_id,
        customer_no=customer_no,
        client_order_id=_narrow(client),
        market_no=market_no,
        side=Side(side),
        price_ticks=price,
        quantity_lots=quantity,
        filled_lots=filled,
        remaining_lots=remaining,
        post_only=bool(flags & 1),
        stp=SelfTrade(flags >> 1),
    )
    state.register(order)
    state.rest(order)


def _load_hold(state: State, row: bytes) -> None:
    number, customer_no, asset_no, amount = _HOLD.unpack(row)
    state.holds[number] = LiveHold(
        number=number, customer_no=customer_no, asset_no=asset_no, amount=_narrow(amount)
    )


def _pack_client_id(state: State, key: ClientKey, closed_ns: int) -> bytes:
    remembered = state.client_ids.orders[key]
    content = remembered.content
    return _CLIENT_ID.pack(
        key.customer_no,
        content.market_no,
        content.side | content.kind << 2 | content.tif << 4,
        content.post_only | content.stp << 1,
        remembered.order_id,
        content.price_ticks,
        content.quantity_lots,
        closed_ns,
        _wide(key.client_order_id),
    )


def _load_client_id(state: State, row: bytes) -> None:
    customer_no, market_no, options, flags, order_id, price, quantity, closed_ns, client = (
        _CLIENT_ID.unpack(row)
    )
    content = Content(
        market_no,
        Side(options & 3),
        OrderKind(options >> 2 & 3),
        TimeInForce(options >> 4 & 3),
        bool(flags & 1),
        SelfTrade(flags >> 1),
        price,
        quantity,
    )
    key = ClientKey(customer_no, _narrow(client))
    state.client_ids.accepted(key, Remembered(order_id, content))
    if order_id not in state.orders:
        state.client_ids.closed_at(key, closed_ns)


_LOADERS = (
    _load_asset,
    _load_market,
    _load_balance,
    _load_order,
    _load_hold,
    _load_client_id,
    _load_client_id,
)
