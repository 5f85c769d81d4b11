"""L09: cancels and replaces, and whose place in the queue is kept."""

from __future__ import annotations

import pytest

from engine.enums import CancelReason
from engine.events import (
    OrderCancelled,
    OrderReplaced,
    OrdersCancelled,
)
from tests.unit.engine.world import (
    ALICE,
    BASE,
    BOB,
    CAROL,
    QUOTE,
    World,
    accepted,
    market,
    trades,
    why,
)

pytestmark = pytest.mark.usefixtures("each_engine")


def test_a_cancel_gives_the_lock_back_exactly() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 77, 13))
    world.sell(BOB, 77, 4)
    [event] = world.cancel(ALICE, order_id)
    assert isinstance(event, OrderCancelled)
    assert (event.cancelled_lots, event.reason) == (9, CancelReason.REQUESTED)
    assert world.balance(ALICE, QUOTE) == (10**6 - 77 * 4, 0, 0)


def test_an_order_of_somebody_else_is_unknown() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 100, 1))
    assert why(world.cancel(BOB, order_id)) == "unknown_order"
    assert why(world.replace(BOB, order_id, 100, 2)) == "unknown_order"
    assert why(world.cancel(ALICE, order_id + 1)) == "unknown_order"
    assert world.bids() == [(100, 1)]


def test_cancel_all_closes_in_order_of_acceptance_in_one_market_or_everywhere() -> None:
    world = World()
    world.do(market(market_no=2))
    first = accepted(world.buy(ALICE, 1, 1))
    second = accepted(world.buy(ALICE, 3, 1, market_no=2))
    third = accepted(world.buy(ALICE, 2, 1))
    accepted(world.buy(BOB, 2, 1))
    events = world.cancel_all(ALICE, market_no=1)
    assert [e.order_id for e in events if isinstance(e, OrderCancelled)] == [first, third]
    events = world.cancel_all(ALICE)
    assert [e.order_id for e in events if isinstance(e, OrderCancelled)] == [second]
    assert isinstance(events[-1], OrdersCancelled)
    assert events[-1].count == 1
    assert world.bids() == [(2, 1)]


def test_a_smaller_quantity_at_the_same_price_keeps_the_place() -> None:
    world = World()
    order_id = accepted(world.sell(ALICE, 100, 5))
    world.sell(BOB, 100, 5)
    [event] = world.replace(ALICE, order_id, 100, 4)
    assert isinstance(event, OrderReplaced)
    assert event.kept_priority
    assert world.balance(ALICE, BASE) == (10**6 - 4, 4, 0)
    assert trades(world.buy(CAROL, 100, 4)) == [(ALICE, 100, 4)]


@pytest.mark.parametrize(("price", "lots"), [(100, 5), (100, 6), (101, 4)])
def test_any_other_replace_goes_to_the_back(price: int, lots: int) -> None:
    world = World()
    order_id = accepted(world.sell(ALICE, 100, 5))
    world.sell(BOB, 100, 5)
    world.sell(BOB, 101, 1)
    [event] = world.replace(ALICE, order_id, price, lots)
    assert isinstance(event, OrderReplaced)
    assert not event.kept_priority
    makers = [maker for maker, _, _ in trades(world.buy(CAROL, 101, 6 + lots))]
    assert makers == ([BOB, ALICE, BOB] if price == 100 else [BOB, BOB, ALICE])


def test_a_replaced_order_may_trade_at_once_under_its_old_id() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 90, 5))
    world.sell(BOB, 100, 2)
    events = world.replace(ALICE, order_id, 105, 5)
    assert trades(events) == [(BOB, 100, 2)]
    assert world.bids() == [(105, 3)]
    assert world.balance(ALICE, QUOTE) == (10**6 - 200 - 315, 315, 0)
    assert [o.order_id for o in world.engine.open_orders(ALICE)] == [order_id]


def test_a_replace_counts_what_is_already_filled() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 100, 10))
    world.sell(BOB, 100, 4)
    assert why(world.replace(ALICE, order_id, 100, 4)) == "invalid_quantity"
    world.replace(ALICE, order_id, 100, 5)
    order = world.engine.order(order_id)
    assert order is not None
    assert (order.quantity_lots, order.filled_lots, order.remaining_lots) == (5, 4, 1)


@pytest.mark.parametrize(
    ("price", "lots", "reason"),
    [
        (0, 1, "invalid_price"),
        (-5, 1, "invalid_price"),
        (100, 0, "invalid_quantity"),
        (100, -1, "invalid_quantity"),
        (10**6, 2, "exceeds_available"),
        (1 << 62, 1 << 62, "amount_out_of_range"),
        (120, 1, "would_cross"),
    ],
)
def test_a_refused_replace_leaves_the_order_as_it_was(price: int, lots: int, reason: str) -> None:
    world = World()
    if reason == "would_cross":
        world.sell(BOB, 120, 1)
    order_id = accepted(world.buy(ALICE, 100, 10, post_only=reason == "would_cross"))
    before, balance = world.engine.order(order_id), world.balance(ALICE, QUOTE)
    assert why(world.replace(ALICE, order_id, price, lots)) == reason
    assert world.engine.order(order_id) == before
    assert world.balance(ALICE, QUOTE) == balance


def test_a_replace_may_use_the_money_its_own_order_locks() -> None:
    world = World(rich=1000)
    order_id = accepted(world.buy(ALICE, 100, 10))
    [event] = world.replace(ALICE, order_id, 200, 5)
    assert isinstance(event, OrderReplaced)
    assert world.balance(ALICE, QUOTE) == (0, 1000, 0)
    assert why(world.replace(ALICE, order_id, 201, 5)) == "exceeds_available"
