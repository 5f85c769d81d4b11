"""I3 and I11, recomputed from what the engine answers rather than from what it keeps."""

from __future__ import annotations

from collections import defaultdict

from engine.base import Engine, OpenOrder
from engine.market import Market

ALL_LEVELS = 1 << 30


def broken_invariants(engine: Engine) -> list[str]:
    """Return one sentence per broken invariant: signs (I3), conservation, locks and books (I11)."""
    customers = engine.customers()
    orders = [order for customer in customers for order in engine.open_orders(customer)]
    return [
        *_bad_signs(engine, customers),
        *_bad_sums(engine),
        *_bad_locks(engine, customers, orders),
        *_bad_holds(engine, customers),
        *_bad_orders(orders),
        *_bad_books(engine, orders),
    ]


def check_invariants(engine: Engine) -> None:
    """Raise AssertionError naming every broken invariant."""
    broken = broken_invariants(engine)
    assert not broken, "; ".join(broken)


def _bad_signs(engine: Engine, customers: tuple[int, ...]) -> list[str]:
    return [
        f"I3: customer {customer} asset {asset} {balance}"
        for customer in customers
        for asset, balance in engine.balances(customer).items()
        if min(balance) < 0
    ]


def _bad_sums(engine: Engine) -> list[str]:
    broken = []
    for asset in engine.assets():
        total = engine.totals(asset)
        if total.available + total.locked + total.held + total.fees != total.supply:
            broken.append(f"I11: asset {asset} is not conserved: {total}")
    return broken


def _bad_locks(engine: Engine, customers: tuple[int, ...], orders: list[OpenOrder]) -> list[str]:
    implied: dict[tuple[int, int], int] = defaultdict(int)
    for order in orders:
        market: Market = engine.markets()[order.market_no]
        implied[order.customer_no, market.given_asset_no(order.side)] += market.lock_minor(
            side=order.side, price_ticks=order.price_ticks, quantity_lots=order.remaining_lots
        )
    locked = {
        (customer, asset): balance.locked
        for customer in customers
        for asset, balance in engine.balances(customer).items()
        if balance.locked
    }
    return [] if locked == implied else [f"locked {locked} but orders imply {dict(implied)}"]


def _bad_holds(engine: Engine, customers: tuple[int, ...]) -> list[str]:
    implied: dict[tuple[int, int], int] = defaultdict(int)
    for hold in engine.live_holds():
        implied[hold.customer_no, hold.asset_no] += hold.amount
    held = {
        (customer, asset): balance.held
        for customer in customers
        for asset, balance in engine.balances(customer).items()
        if balance.held
    }
    return [] if held == implied else [f"held {held} but live holds imply {dict(implied)}"]


def _bad_orders(orders: list[OpenOrder]) -> list[str]:
    return [
        f"I11: order {order}"
        for order in orders
        if order.remaining_lots <= 0
        or order.filled_lots < 0
        or order.filled_lots + order.remaining_lots > order.quantity_lots
    ]


def _bad_books(engine: Engine, orders: list[OpenOrder]) -> list[str]:
    broken = []
    for market_no in engine.markets():
        depth = engine.depth(market_no, ALL_LEVELS)
        if depth.bids and depth.asks and depth.bids[0].price_ticks >= depth.asks[0].price_ticks:
            broken.append(f"I11: market {market_no} is crossed")
        shown = sum(level.orders for level in (*depth.bids, *depth.asks))
        if shown != sum(order.market_no == market_no for order in orders):
            broken.append(f"market {market_no} shows {shown} orders")
    return broken
