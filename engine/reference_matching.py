"""Orders: match, rest, cancel, replace, and keep a customer from trading with themselves."""

from __future__ import annotations

from engine.commands import CancelAll, CancelOrder, PlaceOrder, ReplaceOrder
from engine.enums import (
    CancelReason,
    CommandKind,
    RejectReason,
    SelfTrade,
    Side,
    TimeInForce,
)
from engine.events import (
    OrderAccepted,
    OrderDuplicate,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    OrdersCancelled,
    Trade,
)
from engine.market import fill_amounts
from engine.reference_admission import why_not_place, why_not_replace
from engine.reference_book import Order, crosses
from engine.reference_ids import ClientKey, Remembered, content_of
from engine.reference_state import State

# ------------------------------------------------------------------------- place


def place_order(state: State, command: PlaceOrder) -> None:
    """Accept, match, and let the rest wait or go; or say why not; or name the first acceptance."""
    key = ClientKey(command.customer_no, command.client_order_id)
    known = state.client_ids.find(key)
    if known is not None and known.content == content_of(command):
        state.emit(
            OrderDuplicate(
                sequence=state.sequence,
                order_id=known.order_id,
                customer_no=command.customer_no,
                client_order_id=command.client_order_id,
                market_no=command.market_no,
            )
        )
        return
    reason = why_not_place(state, command, is_known=known is not None)
    if reason is not None:
        state.emit(
            OrderRejected(
                sequence=state.sequence,
                customer_no=command.customer_no,
                market_no=command.market_no,
                client_order_id=command.client_order_id,
                order_id=0,
                command=CommandKind.PLACE_ORDER,
                reason=reason,
            )
        )
        return
    order = _accept(state, command, key)
    _match(state, order)
    if order.remaining_lots and order.order_id in state.orders:
        if command.tif is TimeInForce.GTC:
            state.rest(order)
        else:
            state.cancel(order, CancelReason.UNFILLED, is_resting=False)


def _accept(state: State, command: PlaceOrder, key: ClientKey) -> Order:
    order = Order(
        order_id=state.slots.take(state.sequence),
        customer_no=command.customer_no,
        client_order_id=command.client_order_id,
        market_no=command.market_no,
        side=command.side,
        price_ticks=command.price_ticks,
        quantity_lots=command.quantity_lots,
        filled_lots=0,
        remaining_lots=command.quantity_lots,
        post_only=command.post_only,
        stp=command.stp,
    )
    asset_no, amount = state.lock_of(order)
    state.balances.lock(order.customer_no, asset_no, amount)
    state.register(order)
    state.client_ids.accepted(key, Remembered(order.order_id, content_of(command)))
    state.emit(
        OrderAccepted(
            sequence=state.sequence,
            order_id=order.order_id,
            customer_no=order.customer_no,
            client_order_id=order.client_order_id,
            market_no=order.market_no,
            side=order.side,
            price_ticks=order.price_ticks,
            quantity_lots=order.quantity_lots,
            kind=command.kind,
            tif=command.tif,
            post_only=command.post_only,
            stp=command.stp,
        )
    )
    return order


# ------------------------------------------------------------------------- match


def _match(state: State, taker: Order) -> None:
    opposite = state.books[taker.market_no].opposite(taker.side)
    while taker.remaining_lots:
        maker = opposite.best()
        if maker is None or not crosses(taker.side, taker.price_ticks, maker.price_ticks):
            return
        if maker.customer_no != taker.customer_no:
            _fill(state, taker, maker)
        elif not _prevent_self_trade(state, taker, maker):
            return
    if taker.order_id in state.orders:
        state.close_filled(taker)


def _fill(state: State, taker: Order, maker: Order) -> None:
    market = state.markets[taker.market_no]
    quantity_lots = min(taker.remaining_lots, maker.remaining_lots)
    trade = Trade(
        sequence=state.sequence,
        market_no=taker.market_no,
        taker_order_id=taker.order_id,
        maker_order_id=maker.order_id,
        taker_customer_no=taker.customer_no,
        maker_customer_no=maker.customer_no,
        taker_side=taker.side,
        price_ticks=maker.price_ticks,
        quantity_lots=quantity_lots,
        taker_ppm=market.taker_ppm,
        maker_ppm=market.maker_ppm,
    )
    buyer = taker if taker.side is Side.BUY else maker
    state.balances.settle(
        fill_amounts(trade, market),
        buyer_lock_minor=market.quote_minor(
            price_ticks=buyer.price_ticks, quantity_lots=quantity_lots
        ),
    )
    for order in (taker, maker):
        order.filled_lots += quantity_lots
        order.remaining_lots -= quantity_lots
    state.emit(trade)
    state.books[taker.market_no].last_ticks = trade.price_ticks
    if not maker.remaining_lots:
        state.unrest(maker)
        state.close_filled(maker)


def _prevent_self_trade(state: State, taker: Order, maker: Order) -> bool:
    """Act as the taker asked; return whether it goes on matching."""
    if taker.stp is SelfTrade.DECREMENT:
        return _decrement(state, taker, maker)
    if taker.stp is not SelfTrade.CANCEL_NEWEST:
        state.cancel(maker, CancelReason.SELF_TRADE, is_resting=True)
    if taker.stp is not SelfTrade.CANCEL_OLDEST:
        state.cancel(taker, CancelReason.SELF_TRADE, is_resting=False)
    return taker.stp is SelfTrade.CANCEL_OLDEST


def _decrement(state: State, taker: Order, maker: Order) -> bool:
    reduced_lots = min(taker.remaining_lots, maker.remaining_lots)
    for order in (maker, taker):
        asset_no, before = state.lock_of(order)
        order.remaining_lots -= reduced_lots
        _, after = state.lock_of(order)
        state.balances.lock(order.customer_no, asset_no, after - before)
        state.emit(
            OrderReduced(
                sequence=state.sequence,
                order_id=order.order_id,
                customer_no=order.customer_no,
                market_no=order.market_no,
                reduced_lots=reduced_lots,
                remaining_lots=order.remaining_lots,
            )
        )
        if not order.remaining_lots:
            state.cancel(order, CancelReason.SELF_TRADE, is_resting=order is maker)
    return taker.remaining_lots > 0


# -------------------------------------------------------------- cancel, replace


def cancel_order(state: State, command: CancelOrder) -> None:
    """Close one open order of this customer."""
    order = _own_order(state, command.customer_no, command.order_id)
    if order is None:
        _reject(state, command, CommandKind.CANCEL_ORDER, RejectReason.UNKNOWN_ORDER, 0)
    else:
        state.cancel(order, CancelReason.REQUESTED, is_resting=True)


def cancel_all(state: State, command: CancelAll) -> None:
    """Close all open orders of this customer in a market (0: everywhere), oldest first."""
    count = 0
    for order_id in state.open_order_ids(command.customer_no):
        order = state.orders[order_id]
        if command.market_no in (0, order.market_no):
            state.cancel(order, CancelReason.REQUESTED, is_resting=True)
            count += 1
    state.emit(
        OrdersCancelled(
            sequence=state.sequence,
            customer_no=command.customer_no,
            market_no=command.market_no,
            count=count,
        )
    )


def replace_order(state: State, command: ReplaceOrder) -> None:
    """Change price and total quantity; refused, the order stays exactly as it was."""
    order = _own_order(state, command.customer_no, command.order_id)
    if order is None:
        _reject(state, command, CommandKind.REPLACE_ORDER, RejectReason.UNKNOWN_ORDER, 0)
        return
    reason = why_not_replace(state, command, order)
    if reason is not None:
        _reject(state, command, CommandKind.REPLACE_ORDER, reason, order.market_no)
        return
    remaining_lots = command.quantity_lots - order.done_lots
    keeps_priority = (
        command.price_ticks == order.price_ticks and remaining_lots < order.remaining_lots
    )
    if not keeps_priority:
        state.unrest(order)
    asset_no, before = state.lock_of(order)
    order.price_ticks = command.price_ticks
    order.quantity_lots = command.quantity_lots
    order.remaining_lots = remaining_lots
    _, after = state.lock_of(order)
    state.balances.lock(order.customer_no, asset_no, after - before)
    state.emit(
        OrderReplaced(
            sequence=state.sequence,
            order_id=order.order_id,
            customer_no=order.customer_no,
            market_no=order.market_no,
            price_ticks=order.price_ticks,
            quantity_lots=order.quantity_lots,
            remaining_lots=remaining_lots,
            kept_priority=keeps_priority,
        )
    )
    if not keeps_priority:
        _match(state, order)
        if order.remaining_lots and order.order_id in state.orders:
            state.rest(order)


def _own_order(state: State, customer_no: int, order_id: int) -> Order | None:
    order = state.orders.get(order_id)
    return order if order is not None and order.customer_no == customer_no else None


def _reject(
    state: State,
    command: CancelOrder | ReplaceOrder,
    kind: CommandKind,
    reason: RejectReason,
    market_no: int,
) -> None:
    state.emit(
        OrderRejected(
            sequence=state.sequence,
            customer_no=command.customer_no,
            market_no=market_no,
            client_order_id=0,
            order_id=command.order_id,
            command=kind,
            reason=reason,
        )
    )
