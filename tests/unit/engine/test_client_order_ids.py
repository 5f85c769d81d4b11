"""L10: a retry of an order is answered, never executed again; and memory has an end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.clock import DAY_NS, SECOND_NS
from engine.base import ISSUE_LEAD_LIMIT_NS
from engine.enums import Side
from engine.events import OrderDuplicate
from engine.factory import engine_factory
from tests.unit.engine.world import ALICE, BOB, IOC, World, accepted, remembered_orders, trades, why

pytestmark = pytest.mark.usefixtures("each_engine")


def test_the_same_order_again_is_a_duplicate_of_the_first() -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 5)
    order_id = accepted(world.do(order))
    for _ in range(3):
        [event] = world.do(order)
        assert isinstance(event, OrderDuplicate)
        assert event.order_id == order_id
    assert world.bids() == [(100, 5)]


def test_a_retry_after_the_fill_trades_nothing() -> None:
    world = World()
    world.sell(BOB, 100, 5)
    order = world.order(ALICE, Side.BUY, 100, 5)
    assert trades(world.do(order)) == [(BOB, 100, 5)]
    world.sell(BOB, 100, 5)
    [event] = world.do(order)
    assert isinstance(event, OrderDuplicate)
    assert world.asks() == [(100, 5)]


@pytest.mark.parametrize(
    "changes",
    [
        {"price_ticks": 101},
        {"quantity_lots": 6},
        {"side": Side.SELL},
        {"market_no": 9},
        {"post_only": True},
        IOC,
    ],
)
def test_the_same_id_with_other_content_is_refused(changes: dict[str, object]) -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 5)
    accepted(world.do(order))
    other = replace(order, **changes)  # type: ignore[arg-type]
    assert why(world.do(other)) == "duplicate_other_content"


def test_a_replaced_order_is_known_by_what_was_first_sent() -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 5)
    order_id = accepted(world.do(order))
    world.replace(ALICE, order_id, 90, 5)
    [event] = world.do(order)
    assert isinstance(event, OrderDuplicate)
    assert world.bids() == [(90, 5)]


def test_ids_belong_to_a_customer() -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 5)
    accepted(world.do(order))
    accepted(world.do(replace(order, customer_no=BOB, price_ticks=99)))


def test_a_refused_order_does_not_burn_its_id() -> None:
    world = World(rich=0)
    order = world.order(ALICE, Side.BUY, 100, 5)
    assert why(world.do(order)) == "exceeds_available"
    world.credit(ALICE, 2, 500)
    accepted(world.do(order))


def test_an_order_issued_more_than_a_day_ago_is_refused() -> None:
    world = World()
    now = world.time_ns
    assert why(world.buy(ALICE, 1, 1, issued_ns=now - DAY_NS - 1)) == "issued_too_long_ago"
    accepted(world.buy(ALICE, 1, 1, issued_ns=now - DAY_NS))


def test_an_order_issued_too_far_ahead_is_refused() -> None:
    world = World()
    ahead = world.time_ns + ISSUE_LEAD_LIMIT_NS
    assert why(world.buy(ALICE, 1, 1, issued_ns=ahead + 1)) == "issued_in_future"
    accepted(world.buy(ALICE, 1, 1, issued_ns=ahead))


def test_an_open_order_is_remembered_for_as_long_as_it_is_open() -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 5)
    accepted(world.do(order))
    world.time_ns += 30 * DAY_NS
    [event] = world.do(order)
    assert isinstance(event, OrderDuplicate)


@pytest.mark.parametrize("lead_ns", [0, 1, ISSUE_LEAD_LIMIT_NS])
@pytest.mark.parametrize("later_ns", [0, 1, SECOND_NS, 60 * SECOND_NS, 61 * SECOND_NS, DAY_NS])
def test_no_retry_at_any_time_executes_a_closed_order_again(lead_ns: int, later_ns: int) -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 5, issued_ns=world.time_ns + lead_ns, **IOC)
    accepted(world.do(order))
    world.time_ns += DAY_NS + later_ns
    [event] = world.do(order)
    assert isinstance(event, OrderDuplicate) or why([event]) == "issued_too_long_ago"


def test_closed_orders_are_forgotten_after_a_day_and_memory_stays_bounded() -> None:
    world = World()
    for _ in range(50):
        world.time_ns += 2 * 3600 * SECOND_NS
        accepted(world.buy(ALICE, 100, 5, **IOC))
    assert remembered_orders(world.engine) == 13
    assert world.engine.order_id_of(customer_no=ALICE, client_order_id=50) is not None
    assert world.engine.order_id_of(customer_no=ALICE, client_order_id=1) is None


def test_memory_survives_dump_and_load() -> None:
    world = World()
    open_order = world.order(ALICE, Side.BUY, 100, 5)
    closed_order = world.order(ALICE, Side.BUY, 100, 5, **IOC)
    first, second = accepted(world.do(open_order)), accepted(world.do(closed_order))
    world.engine = engine_factory(World.kind).load(world.engine.dump())
    for order, order_id in ((open_order, first), (closed_order, second)):
        [event] = world.do(order)
        assert isinstance(event, OrderDuplicate)
        assert event.order_id == order_id
    world.time_ns += 2 * DAY_NS
    assert why(world.do(closed_order)) == "issued_too_long_ago"
    assert isinstance(world.do(open_order)[0], OrderDuplicate)
