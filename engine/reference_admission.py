"""Whether an order may enter or change: every check in the order of RejectReason."""

from __future__ import annotations

from engine.base import ISSUE_AGE_LIMIT_NS, ISSUE_LEAD_LIMIT_NS
from engine.commands import PlaceOrder, ReplaceOrder
from engine.enums import OrderKind, RejectReason, SelfTrade, TimeInForce
from engine.market import WIRE_LIMIT, Market
from engine.reference_book import BookSide, Order, crosses
from engine.reference_state import State


def why_not_place(state: State, command: PlaceOrder, *, is_known: bool) -> RejectReason | None:
    """Return the first reason against an order; is_known: its client id stands for another one."""
    reason = _why_malformed(state, command, is_known=is_known)
    return reason or _why_not_now(state, command)


def _why_malformed(state: State, command: PlaceOrder, *, is_known: bool) -> RejectReason | None:
    """Return what is wrong with the order whatever the book and the balances are."""
    market = state.markets.get(command.market_no)
    age_ns = state.time_ns - command.issued_ns
    if market is not None and _too_large(market, command.price_ticks, command.quantity_lots):
        return RejectReason.AMOUNT_OUT_OF_RANGE
    if is_known:
        return RejectReason.DUPLICATE_OTHER_CONTENT
    if age_ns > ISSUE_AGE_LIMIT_NS:
        return RejectReason.ISSUED_TOO_LONG_AGO
    if age_ns < -ISSUE_LEAD_LIMIT_NS:
        return RejectReason.ISSUED_IN_FUTURE
    if market is None:
        return RejectReason.UNKNOWN_MARKET
    if market.is_retired:
        return RejectReason.MARKET_RETIRED
    if market.is_halted:
        return RejectReason.MARKET_HALTED
    if not 0 < command.price_ticks < WIRE_LIMIT:
        return RejectReason.INVALID_PRICE
    if _is_outside_collar(state, market, command.price_ticks):
        return RejectReason.OUTSIDE_COLLAR
    if not 0 < command.quantity_lots < WIRE_LIMIT:
        return RejectReason.INVALID_QUANTITY
    if not _is_valid_combination(command):
        return RejectReason.INVALID_COMBINATION
    return None


def _why_not_now(state: State, command: PlaceOrder) -> RejectReason | None:
    """Return what in the book or the balances stands against a well-formed order."""
    market = state.markets[command.market_no]
    if _is_full(state, command.customer_no):
        return RejectReason.TOO_MANY_ORDERS
    own = state.books[command.market_no].own(command.side)
    if command.tif is TimeInForce.GTC and _has_no_level_left(state, own, command.price_ticks):
        return RejectReason.TOO_MANY_LEVELS
    opposite = state.books[command.market_no].opposite(command.side)
    if command.post_only and opposite.would_take(command.price_ticks):
        return RejectReason.WOULD_CROSS
    if command.tif is TimeInForce.FOK and not _can_fill(state, command):
        return RejectReason.WOULD_NOT_FILL
    lock = market.lock_minor(
        side=command.side, price_ticks=command.price_ticks, quantity_lots=command.quantity_lots
    )
    available = state.balances.available(command.customer_no, market.given_asset_no(command.side))
    return RejectReason.EXCEEDS_AVAILABLE if lock > available else None


def why_not_replace(state: State, command: ReplaceOrder, order: Order) -> RejectReason | None:
    """Return what stands against changing an open order; one in a retired market is not open."""
    market = state.markets[order.market_no]
    if _too_large(market, command.price_ticks, command.quantity_lots):
        return RejectReason.AMOUNT_OUT_OF_RANGE
    if market.is_halted:
        return RejectReason.MARKET_HALTED
    if not 0 < command.price_ticks < WIRE_LIMIT:
        return RejectReason.INVALID_PRICE
    if _is_outside_collar(state, market, command.price_ticks):
        return RejectReason.OUTSIDE_COLLAR
    if not order.done_lots < command.quantity_lots < WIRE_LIMIT:
        return RejectReason.INVALID_QUANTITY
    own = state.books[order.market_no].own(order.side)
    if _has_no_level_left(state, own, command.price_ticks):
        return RejectReason.TOO_MANY_LEVELS
    opposite = state.books[order.market_no].opposite(order.side)
    if order.post_only and opposite.would_take(command.price_ticks):
        return RejectReason.WOULD_CROSS
    asset_no, locked = state.lock_of(order)
    lock = market.lock_minor(
        side=order.side,
        price_ticks=command.price_ticks,
        quantity_lots=command.quantity_lots - order.done_lots,
    )
    available = state.balances.available(order.customer_no, asset_no)
    return RejectReason.EXCEEDS_AVAILABLE if lock > available + locked else None


def _too_large(market: Market, price_ticks: int, quantity_lots: int) -> bool:
    if price_ticks <= 0 or quantity_lots <= 0:
        return False
    return not market.fits(price_ticks=price_ticks, quantity_lots=quantity_lots)


def _is_outside_collar(state: State, market: Market, price_ticks: int) -> bool:
    last_ticks = state.books[market.market_no].last_ticks
    return market.is_outside_collar(price_ticks=price_ticks, last_ticks=last_ticks)


def _is_valid_combination(command: PlaceOrder) -> bool:
    if command.post_only:
        return command.kind is OrderKind.LIMIT and command.tif is TimeInForce.GTC
    return command.kind is OrderKind.LIMIT or command.tif is TimeInForce.IOC


def _is_full(state: State, customer_no: int) -> bool:
    limits = state.limits
    return (
        len(state.orders) >= limits.open_orders
        or len(state.order_ids_of.get(customer_no, ())) >= limits.open_orders_per_customer
        or len(state.client_ids) >= limits.remembered_orders
    )


def _has_no_level_left(state: State, own: BookSide, price_ticks: int) -> bool:
    """Whatever the order would trade at once, so that nothing of it depends on the other side."""
    return own.level_count() >= state.limits.levels_per_side and not own.has_level(price_ticks)


def _can_fill(state: State, command: PlaceOrder) -> bool:
    """Walk the orders that would trade: own ones never fill, and most ways of self-trade prevention
    end the taker when it meets them."""
    opposite = state.books[command.market_no].opposite(command.side)
    missing_lots = command.quantity_lots
    for maker in opposite.walk():
        if not crosses(command.side, command.price_ticks, maker.price_ticks):
            return False
        if maker.customer_no == command.customer_no:
            if command.stp is not SelfTrade.CANCEL_OLDEST:
                return False
            continue
        missing_lots -= maker.remaining_lots
        if missing_lots <= 0:
            return True
    return False
