"""The reference engine's state as a dump (engine/state_rows.py), and back."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Corrupt
from engine import state_rows
from engine.base import Limits, LiveHold
from engine.enums import MarketStatus, OrderKind, SelfTrade, Side, TimeInForce
from engine.market import Market
from engine.reference_balances import AssetTotal
from engine.reference_book import Book, Order
from engine.reference_ids import ClientKey, Content, Remembered
from engine.reference_state import State
from engine.state_rows import HEADER_BYTES, ROW_BYTES, narrow, wide


def dump_state(state: State) -> bytes:
    """Return the canonical bytes."""
    sections = [
        [_pack_asset(no, total) for no, total in sorted(state.balances.assets.items())],
        [_pack_market(state, market) for _, market in sorted(state.markets.items())],
        [
            state_rows.BALANCE.pack(
                customer, asset, wide(b.available), wide(b.locked), wide(b.held)
            )
            for customer, asset, b in state.balances.rows()
        ],
        [_pack_order(order) for order in _orders_in_books(state)],
        [
            state_rows.HOLD.pack(hold.number, hold.customer_no, hold.asset_no, wide(hold.amount))
            for _, hold in sorted(state.holds.items())
        ],
        [_pack_client_id(state, key, time_ns) for time_ns, key in state.client_ids.closed],
        [_pack_client_id(state, key, 0) for key in _open_keys(state)],
        [state_rows.SLOT.pack(slot) for slot in state.slots.free],
    ]
    return state_rows.pack_state(
        state.limits,
        sequence=state.sequence,
        time_ns=state.time_ns,
        funding_number=state.funding_number,
        slot_top=state.slots.top,
        sections=sections,
    )


def load_state(data: bytes, limits: Limits) -> State:
    """Return the state of a dump. Corrupt: not a dump, cut short, or made under other limits."""
    header = state_rows.unpack_header(data, limits)
    state = State(limits)
    state.sequence, state.time_ns = header.sequence, header.time_ns
    state.funding_number, state.slots.top = header.funding_number, header.slot_top
    rows = _Rows(data)
    try:
        for load, count in zip(_LOADERS, header.counts[:-1], strict=True):
            for row in rows.take(count):
                load(state, row)
    except (KeyError, ValueError) as error:
        raise Corrupt(f"state dump names something that is not in it: {error}") from None
    state.slots.free = [slot for (slot,) in state_rows.SLOT.iter_unpack(rows.rest())]
    if len(state.orders) != header.counts[6]:
        raise Corrupt("state dump counts its orders in two ways")
    for asset_no in state.balances.assets:
        total = state.balances.totals(asset_no)
        if total.available + total.locked + total.held + total.fees != total.supply:
            raise Corrupt(f"state dump's money does not add up: asset {asset_no}, {total}")
    return state


class _Rows:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = HEADER_BYTES

    def take(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield self._data[self._at : self._at + ROW_BYTES]
            self._at += ROW_BYTES

    def rest(self) -> bytes:
        return self._data[self._at :]


def _orders_in_books(state: State) -> Iterator[Order]:
    for _, book in sorted(state.books.items()):
        yield from book.bids.walk()
        yield from book.asks.walk()


def _open_keys(state: State) -> Iterator[ClientKey]:
    for _, order in sorted(state.orders.items()):
        yield ClientKey(order.customer_no, order.client_order_id)


def _pack_asset(asset_no: int, total: AssetTotal) -> bytes:
    return state_rows.ASSET.pack(asset_no, wide(total.supply), wide(total.fees))


def _load_asset(state: State, row: bytes) -> None:
    asset_no, supply, fees = state_rows.ASSET.unpack(row)
    state.balances.assets[asset_no] = AssetTotal(narrow(supply), narrow(fees))


def _pack_market(state: State, market: Market) -> bytes:
    return state_rows.MARKET.pack(
        market.market_no,
        market.base_asset_no,
        market.quote_asset_no,
        market.status,
        market.maker_ppm,
        market.taker_ppm,
        wide(market.tick_minor),
        wide(market.lot_minor),
        market.collar_ppm,
        state.books[market.market_no].last_ticks,
    )


def _load_market(state: State, row: bytes) -> None:
    market_no, base, quote, status, maker_ppm, taker_ppm, tick, lot, collar_ppm, last_ticks = (
        state_rows.MARKET.unpack(row)
    )
    state.books[market_no] = Book()
    state.books[market_no].last_ticks = last_ticks
    state.markets[market_no] = Market(
        market_no=market_no,
        base_asset_no=base,
        quote_asset_no=quote,
        tick_minor=narrow(tick),
        lot_minor=narrow(lot),
        maker_ppm=maker_ppm,
        taker_ppm=taker_ppm,
        status=MarketStatus(status),
        collar_ppm=collar_ppm,
    )


def _load_balance(state: State, row: bytes) -> None:
    customer_no, asset_no, available, locked, held = state_rows.BALANCE.unpack(row)
    account = state.balances.account(customer_no, asset_no)
    account.available, account.locked = narrow(available), narrow(locked)
    account.held = narrow(held)


def _pack_order(order: Order) -> bytes:
    return state_rows.ORDER.pack(
        order.order_id,
        order.customer_no,
        order.market_no,
        order.side,
        order.post_only | order.stp << 1,
        order.price_ticks,
        order.quantity_lots,
        order.filled_lots,
        order.remaining_lots,
        wide(order.client_order_id),
    )


def _load_order(state: State, row: bytes) -> None:
    order_id, customer_no, market_no, side, flags, price, quantity, filled, remaining, client = (
        state_rows.ORDER.unpack(row)
    )
    order = Order(
        order_id=order_id,
        customer_no=customer_no,
        client_order_id=narrow(client),
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
    number, customer_no, asset_no, amount = state_rows.HOLD.unpack(row)
    state.holds[number] = LiveHold(
        number=number, customer_no=customer_no, asset_no=asset_no, amount=narrow(amount)
    )


def _pack_client_id(state: State, key: ClientKey, closed_ns: int) -> bytes:
    remembered = state.client_ids.orders[key]
    content = remembered.content
    return state_rows.CLIENT_ID.pack(
        key.customer_no,
        content.market_no,
        content.side | content.kind << 2 | content.tif << 4,
        content.post_only | content.stp << 1,
        remembered.order_id,
        content.price_ticks,
        content.quantity_lots,
        closed_ns,
        wide(key.client_order_id),
    )


def _load_client_id(state: State, row: bytes) -> None:
    customer_no, market_no, options, flags, order_id, price, quantity, closed_ns, client = (
        state_rows.CLIENT_ID.unpack(row)
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
    key = ClientKey(customer_no, narrow(client))
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
