"""Batches whose answer is much larger than they are, and orders that meet their own customer's."""

from __future__ import annotations

import pytest

from engine.base import Limits
from engine.commands import AddAsset, CancelAll, Command, Credit, Debit, RetireMarket
from engine.enums import CancelReason, SelfTrade, Side
from engine.events import (
    ConfigRefused,
    Debited,
    Event,
    MarketAdded,
    MarketRetired,
    OrderAccepted,
    OrderCancelled,
    OrderDuplicate,
    OrderRejected,
    OrdersCancelled,
)
from engine.invariants import check_invariants
from engine.records import pack_command, unpack_events
from tests.unit.engine.world import (
    ALICE,
    BASE,
    BOB,
    CAROL,
    MARKET,
    QUOTE,
    World,
    accepted,
    cancelled,
    market,
    stp,
    trades,
    why,
)

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.mark.parametrize(
    ("how", "traded", "closed", "bids", "asks"),
    [
        (SelfTrade.CANCEL_NEWEST, 2, [(BOB, 5)], [], [(100, 3), (101, 9)]),
        (SelfTrade.CANCEL_OLDEST, 7, [(BOB, 3)], [], [(101, 4)]),
        (SelfTrade.CANCEL_BOTH, 2, [(BOB, 3), (BOB, 5)], [], [(101, 9)]),
        (SelfTrade.DECREMENT, 4, [(BOB, 0)], [], [(101, 7)]),
    ],
)
def test_a_replace_that_meets_an_own_order_does_what_the_order_asked_for(
    how: SelfTrade,
    traded: int,
    closed: list[tuple[int, int]],
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
) -> None:
    world = World()
    world.sell(ALICE, 100, 2)
    world.sell(BOB, 100, 3)
    world.sell(ALICE, 101, 9)
    taker = accepted(world.buy(BOB, 50, 1, **stp(how)))
    events = world.replace(BOB, taker, 101, 7)
    assert sum(lots for _, _, lots in trades(events)) == traded
    assert [each[:2] for each in cancelled(events)] == closed
    assert (world.bids(), world.asks()) == (bids, asks)


def answers(world: World, *commands: Command) -> list[Event]:
    """Apply commands as one batch."""
    batch = b"".join(map(pack_command, commands))
    answer = world.engine.apply_records(
        batch, first_sequence=world.engine.sequence + 1, time_ns=world.time_ns
    )
    check_invariants(world.engine)
    return unpack_events(answer)


def test_a_market_retires_in_the_middle_of_a_batch() -> None:
    world = World()
    world.do(market(market_no=2))
    before = world.order(ALICE, Side.BUY, 100, 5)
    after = world.order(BOB, Side.SELL, 100, 5)
    elsewhere = world.order(BOB, Side.SELL, 100, 5, market_no=2)
    found = answers(
        world, before, RetireMarket(market_no=MARKET), after, elsewhere, before,
        RetireMarket(market_no=MARKET), market(), market(market_no=3),
    )  # fmt: skip
    assert [type(event) for event in found] == [
        OrderAccepted, OrderCancelled, MarketRetired, OrderRejected, OrderAccepted,
        OrderDuplicate, ConfigRefused, ConfigRefused, MarketAdded,
    ]  # fmt: skip


@pytest.mark.parametrize("between", [0, 1, 6, 7, 8, 20, 40])
def test_orders_of_a_market_that_was_opened_just_before_them_lock_its_assets(between: int) -> None:
    world = World()
    world.do(AddAsset(asset_no=0))  # what a market that is not yet open would seem to trade
    for customer_no in (ALICE, BOB):
        world.credit(customer_no, 0, 50)
    opened = market(market_no=5, base_asset_no=BASE, quote_asset_no=QUOTE)
    fillers = [CancelAll(customer_no=CAROL)] * between
    buy = world.order(ALICE, Side.BUY, 5, 3, market_no=5)
    sell = world.order(BOB, Side.SELL, 5, 2, market_no=5)
    answers(world, *fillers, opened, buy, sell, *fillers)
    assert world.balance(ALICE, 0) == world.balance(BOB, 0) == (50, 0, 0)
    assert world.balance(ALICE, QUOTE) == (10**6 - 15, 5, 0)
    assert world.balance(BOB, BASE) == (10**6 - 2, 0, 0)


ORDERS = 6_000


@pytest.fixture
def crowded(each_engine: None) -> World:
    """Return a world in which one customer has as many orders open as anybody may have."""
    limits = Limits(open_orders=ORDERS, open_orders_per_customer=ORDERS)
    world = World(rich=0, limits=limits)
    world.credit(ALICE, QUOTE, 10**9)
    places = [world.order(ALICE, Side.BUY, 1 + n * 7 % 997, 1) for n in range(ORDERS)]
    for start in range(0, ORDERS, 2_000):
        answers(world, *places[start : start + 2_000])
    assert why(world.buy(ALICE, 1, 1)) == "too_many_orders"
    return world


@pytest.mark.parametrize(
    ("command", "reason", "last"),
    [
        (
            Debit(number=3, customer_no=ALICE, asset_no=QUOTE, amount=10**9),
            CancelReason.DEBIT,
            Debited,
        ),
        (CancelAll(customer_no=ALICE), CancelReason.REQUESTED, OrdersCancelled),
        (RetireMarket(market_no=MARKET), CancelReason.MARKET_RETIRED, MarketRetired),
    ],
)
def test_one_command_answers_with_every_order_there_is_cancelled(
    crowded: World, command: Command, reason: CancelReason, last: type[Event]
) -> None:
    before, after = (market(market_no=no) for no in (2, 3))
    credit = Credit(number=2, customer_no=BOB, asset_no=QUOTE, amount=1)
    found = answers(crowded, credit, before, command, after)
    assert len(found) == ORDERS + 4
    closed = found[2:-2]
    assert all(isinstance(event, OrderCancelled) and event.reason is reason for event in closed)
    order_ids = [event.order_id for event in closed if isinstance(event, OrderCancelled)]
    assert order_ids == sorted(order_ids)
    assert isinstance(found[-2], last)
    assert isinstance(found[-1], MarketAdded)
    assert crowded.engine.open_orders(ALICE) == []
    available, locked, _ = crowded.balance(ALICE, QUOTE)
    assert (available, locked) == ((0, 0) if isinstance(command, Debit) else (10**9, 0))


def test_a_batch_of_sweeps_that_each_cancel_everything_again(crowded: World) -> None:
    places = [crowded.order(ALICE, Side.BUY, 5, 1, market_no=MARKET) for _ in range(500)]
    everything = CancelAll(customer_no=ALICE)
    batch: list[Command] = [everything]
    for order in places:
        batch += [order, everything]
    found = answers(crowded, *batch)
    assert len(found) == ORDERS + 1 + 3 * len(places)
