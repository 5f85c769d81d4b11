"""Retired markets, prices outside the collar, sides with as many levels as they may have."""

from __future__ import annotations

import pytest

from engine.base import Limits
from engine.commands import (
    Command,
    HaltMarket,
    ResumeMarket,
    RetireMarket,
    SetMarketCollar,
    SetMarketFees,
)
from engine.enums import MarketStatus, SelfTrade, Side
from engine.events import (
    ConfigRefused,
    Event,
    MarketCollarSet,
    MarketRetired,
    OrderDuplicate,
    OrderReplaced,
)
from engine.factory import engine_factory
from tests.unit.engine.world import (
    ALICE,
    AT_MARKET,
    BOB,
    CAROL,
    FOK,
    IOC,
    MARKET,
    POST_ONLY,
    World,
    accepted,
    cancelled,
    market,
    stp,
    trades,
    why,
)

pytestmark = pytest.mark.usefixtures("each_engine")

OTHER = 2
RETIRE = RetireMarket(market_no=MARKET)


def collar(ppm: int, reference_ticks: int = 0, market_no: int = MARKET) -> SetMarketCollar:
    """Return the command."""
    return SetMarketCollar(market_no=market_no, collar_ppm=ppm, reference_ticks=reference_ticks)


def reference_of(events: list[Event]) -> int:
    """Return the price the collar lies around, as the only event tells it."""
    [event] = events
    assert isinstance(event, MarketCollarSet)
    return event.reference_ticks


# ------------------------------------------------------------------------ retire


def test_retiring_cancels_every_order_of_the_market_in_order_of_acceptance() -> None:
    world = World()
    world.do(market(market_no=OTHER))
    first = accepted(world.buy(BOB, 90, 1))
    world.sell(ALICE, 110, 2)
    world.buy(ALICE, 99, 3)
    kept = accepted(world.buy(ALICE, 5, 4, market_no=OTHER))
    world.replace(BOB, first, 95, 5)  # its place in the queue is new, its acceptance is not
    events = world.do(RETIRE)
    assert cancelled(events) == [
        (BOB, 5, "MARKET_RETIRED"),
        (ALICE, 2, "MARKET_RETIRED"),
        (ALICE, 3, "MARKET_RETIRED"),
    ]
    assert events[-1] == MarketRetired(sequence=world.engine.sequence, market_no=MARKET)
    assert (world.bids(), world.asks()) == ([], [])
    assert [order.order_id for order in world.engine.open_orders(ALICE)] == [kept]
    assert world.balance(BOB, 2) == (10**6, 0, 0)


def test_a_slot_freed_by_retiring_is_given_out_again_the_last_one_first() -> None:
    world = World()
    world.do(market(market_no=OTHER))
    for price in (3, 1, 2):
        world.buy(ALICE, price, 1)
    world.do(RETIRE)
    slots = [accepted(world.buy(ALICE, 1, 1, market_no=OTHER)) & 0xFFFFFF for _ in range(4)]
    assert slots == [2, 1, 0, 3]


def test_a_retired_market_takes_no_orders_and_answers_retries() -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 100, 1)
    order_id = accepted(world.do(order))
    world.do(RETIRE)
    assert why(world.buy(BOB, 100, 1)) == "market_retired"
    assert why(world.replace(ALICE, order_id, 99, 1)) == "unknown_order"
    assert why(world.cancel(ALICE, order_id)) == "unknown_order"
    assert isinstance(world.do(order)[0], OrderDuplicate)


@pytest.mark.parametrize(
    "command",
    [
        market(),
        SetMarketFees(market_no=MARKET, maker_ppm=1, taker_ppm=1),
        HaltMarket(market_no=MARKET),
        ResumeMarket(market_no=MARKET),
        collar(1),
        RETIRE,
    ],
)
def test_nothing_brings_a_retired_market_back(command: Command) -> None:
    world = World()
    world.do(HaltMarket(market_no=MARKET))
    world.do(RETIRE)
    [event] = world.do(command)
    assert isinstance(event, ConfigRefused)
    assert (event.reason.name, event.subject_no) == ("MARKET_RETIRED", MARKET)
    assert world.engine.markets()[MARKET].status is MarketStatus.RETIRED
    assert why(world.buy(ALICE, 100, 1)) == "market_retired"


def test_of_several_reasons_against_a_retired_market_the_first_is_given() -> None:
    world = World()
    world.do(RETIRE)
    reasons: list[tuple[Command, str]] = [
        (market(tick_minor=2), "EXISTS_WITH_OTHER_CONTENT"),
        (market(tick_minor=0), "AMOUNT_OUT_OF_RANGE"),
        (SetMarketFees(market_no=MARKET, maker_ppm=0, taker_ppm=10**6 + 1), "AMOUNT_OUT_OF_RANGE"),
        (collar(10**8 + 1), "AMOUNT_OUT_OF_RANGE"),
        (RetireMarket(market_no=9), "UNKNOWN_MARKET"),
    ]
    for command, reason in reasons:
        [event] = world.do(command)
        assert isinstance(event, ConfigRefused)
        assert event.reason.name == reason
    assert why(world.buy(ALICE, 0, 0)) == "market_retired"
    assert why(world.buy(ALICE, 1, 1, issued_ns=0)) == "issued_too_long_ago"


def test_a_retired_market_stays_retired_in_a_dump() -> None:
    world = World()
    world.do(RETIRE)
    world.engine = engine_factory(World.kind).load(world.engine.dump())
    assert world.engine.markets()[MARKET].is_retired
    assert why(world.buy(ALICE, 1, 1)) == "market_retired"


# ------------------------------------------------------------------------ collar


def test_no_price_is_too_far_before_there_is_one_to_be_far_from() -> None:
    world = World()
    assert reference_of(world.do(collar(1))) == 0
    accepted(world.buy(ALICE, 1, 1))
    accepted(world.sell(BOB, 100_000, 1))


@pytest.mark.parametrize(
    ("ppm", "last", "nearest_refused"),
    [
        (100_000, 1_000, (899, 1_101)),
        (100_000, 1_004, (903, 1_105)),
        (1, 999_999, (999_998, 1_000_000)),
        (1, 1_000_000, (999_998, 1_000_002)),
        (999_999, 100, (0, 200)),
        (1_000_000, 100, (0, 201)),
        (100_000_000, 3, (0, 304)),
    ],
)
def test_the_collar_takes_prices_on_its_edge_and_none_beyond(
    ppm: int, last: int, nearest_refused: tuple[int, int]
) -> None:
    world = World(rich=10**12)
    assert reference_of(world.do(collar(ppm, last))) == last
    low, high = nearest_refused
    accepted(world.buy(ALICE, low + 1, 1))
    accepted(world.sell(ALICE, high - 1, 1))
    reason = "outside_collar" if low else "invalid_price"
    assert why(world.buy(ALICE, low, 1)) == reason
    assert why(world.sell(BOB, low, 1)) == reason
    assert why(world.buy(BOB, high, 1)) == "outside_collar"
    assert why(world.sell(ALICE, high, 1)) == "outside_collar"


def test_the_collar_moves_with_every_trade_but_not_within_a_command() -> None:
    world = World(rich=10**9)
    for price in (100, 105, 110):
        world.sell(ALICE, price, 1)
    world.do(collar(100_000, 100))
    assert trades(world.buy(BOB, 110, 3)) == [(ALICE, 100, 1), (ALICE, 105, 1), (ALICE, 110, 1)]
    assert reference_of(world.do(collar(100_000))) == 110
    assert why(world.buy(BOB, 98, 1)) == "outside_collar"
    accepted(world.buy(BOB, 99, 1))
    accepted(world.buy(BOB, 121, 1))


def test_orders_stay_where_they_are_when_the_collar_passes_over_them() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 50, 2))
    world.do(collar(100_000, 100))
    assert why(world.replace(ALICE, order_id, 51, 1)) == "outside_collar"
    assert why(world.replace(ALICE, order_id, 50, 1)) == "outside_collar"
    assert world.bids() == [(50, 2)]
    assert isinstance(world.replace(ALICE, order_id, 90, 1)[0], OrderReplaced)


def test_a_market_order_is_judged_by_its_protection_price() -> None:
    world = World()
    world.sell(ALICE, 100, 1)
    world.do(collar(100_000, 100))
    assert why(world.buy(BOB, 111, 1, **AT_MARKET)) == "outside_collar"
    assert trades(world.buy(BOB, 110, 1, **AT_MARKET)) == [(ALICE, 100, 1)]


def test_self_trade_prevention_moves_no_collar() -> None:
    world = World()
    world.do(collar(100_000, 100))
    world.sell(ALICE, 105, 1)
    world.buy(ALICE, 105, 1, **stp(SelfTrade.DECREMENT))
    assert reference_of(world.do(collar(100_000))) == 100


def test_a_collar_is_lifted_and_put_around_another_price_by_command() -> None:
    world = World()
    world.do(collar(100_000, 100))
    assert reference_of(world.do(collar(0))) == 100
    accepted(world.buy(ALICE, 1, 1))
    assert reference_of(world.do(collar(100_000, 1_000))) == 1_000
    assert why(world.buy(ALICE, 100, 1)) == "outside_collar"
    assert world.engine.markets()[MARKET].collar_ppm == 100_000


def test_the_collar_stands_between_the_price_and_the_quantity() -> None:
    world = World(rich=0)
    world.do(collar(1, 100))
    assert why(world.buy(ALICE, 0, 0)) == "invalid_price"
    assert why(world.buy(ALICE, 99, 0, **POST_ONLY, **FOK)) == "outside_collar"
    assert why(world.buy(ALICE, 100, 0)) == "invalid_quantity"
    world.do(HaltMarket(market_no=MARKET))
    assert why(world.buy(ALICE, 99, 1)) == "market_halted"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (collar(10**8 + 1), "AMOUNT_OUT_OF_RANGE"),
        (collar((1 << 32) - 1), "AMOUNT_OUT_OF_RANGE"),
        (collar(1, -1), "AMOUNT_OUT_OF_RANGE"),
        (collar(1, -(1 << 63)), "AMOUNT_OUT_OF_RANGE"),
        (collar(1, -1, market_no=9), "AMOUNT_OUT_OF_RANGE"),
        (collar(1, market_no=9), "UNKNOWN_MARKET"),
        (collar(1, market_no=0), "UNKNOWN_MARKET"),
    ],
)
def test_a_collar_that_makes_no_sense_is_refused(command: Command, reason: str) -> None:
    world = World()
    before = dict(world.engine.markets())
    [event] = world.do(command)
    assert isinstance(event, ConfigRefused)
    assert event.reason.name == reason
    assert dict(world.engine.markets()) == before


def test_the_widest_collar_around_the_highest_price_overflows_nothing() -> None:
    highest = (1 << 63) - 1
    world = World(opened=market(lot_minor=1), rich=(1 << 95))
    assert reference_of(world.do(collar(10**8, highest))) == highest
    accepted(world.buy(ALICE, 1, 1))
    accepted(world.buy(ALICE, highest, 1))
    world.do(collar(1, highest))
    assert why(world.buy(ALICE, 1, 1)) == "outside_collar"
    assert why(world.buy(ALICE, highest - highest // 10**6 - 1, 1)) == "outside_collar"
    accepted(world.buy(ALICE, highest - highest // 10**6, 1))


def test_the_collar_and_its_price_stay_in_a_dump() -> None:
    world = World()
    world.do(collar(100_000, 100))
    world.engine = engine_factory(World.kind).load(world.engine.dump())
    assert why(world.buy(ALICE, 111, 1)) == "outside_collar"
    assert reference_of(world.do(collar(100_000))) == 100


# ------------------------------------------------------------------------ levels


def test_a_side_has_no_more_levels_than_its_limit() -> None:
    world = World(limits=Limits(levels_per_side=2))
    far = accepted(world.buy(ALICE, 90, 1))
    world.buy(ALICE, 91, 1)
    assert why(world.buy(BOB, 92, 1)) == "too_many_levels"
    assert why(world.buy(BOB, 1, 1, **POST_ONLY)) == "too_many_levels"
    accepted(world.buy(BOB, 91, 1))
    accepted(world.sell(CAROL, 100, 1))
    assert why(world.replace(ALICE, far, 89, 1)) == "too_many_levels"
    assert world.bids() == [(91, 2), (90, 1)]
    assert isinstance(world.replace(ALICE, far, 91, 1)[0], OrderReplaced)
    accepted(world.buy(BOB, 92, 1))


def test_orders_that_never_rest_need_no_level() -> None:
    world = World(limits=Limits(levels_per_side=1))
    world.buy(ALICE, 90, 1)
    world.sell(CAROL, 100, 3)
    assert trades(world.buy(BOB, 101, 1, **IOC)) == [(CAROL, 100, 1)]
    assert trades(world.buy(BOB, 102, 1, **FOK)) == [(CAROL, 100, 1)]
    assert trades(world.buy(BOB, 103, 1, **AT_MARKET)) == [(CAROL, 100, 1)]


def test_a_level_is_wanted_whatever_the_order_would_trade_at_once() -> None:
    world = World(limits=Limits(levels_per_side=1))
    world.buy(ALICE, 90, 1)
    world.sell(CAROL, 100, 1)
    assert why(world.buy(BOB, 100, 1)) == "too_many_levels"


def test_levels_are_counted_by_market_and_again_after_a_dump() -> None:
    limits = Limits(levels_per_side=1)
    world = World(limits=limits)
    world.do(market(market_no=2))
    accepted(world.buy(ALICE, 90, 1))
    accepted(world.buy(ALICE, 91, 1, market_no=2))
    world.engine = engine_factory(World.kind, limits).load(world.engine.dump())
    assert why(world.buy(ALICE, 91, 1)) == "too_many_levels"
    world.do(RETIRE)
    assert why(world.buy(ALICE, 90, 1, market_no=2)) == "too_many_levels"


def test_the_levels_stand_behind_the_orders_and_before_the_book() -> None:
    world = World(limits=Limits(levels_per_side=1, open_orders_per_customer=1))
    world.buy(ALICE, 90, 1)
    world.sell(CAROL, 100, 1)
    assert why(world.buy(ALICE, 91, 1)) == "too_many_orders"
    assert why(world.buy(BOB, 100, 1, **POST_ONLY)) == "too_many_levels"
    assert why(world.buy(BOB, 91, 10**9)) == "too_many_levels"


def test_no_order_rests_under_a_limit_of_no_levels() -> None:
    world = World(limits=Limits(levels_per_side=0))
    assert why(world.buy(ALICE, 90, 1)) == "too_many_levels"


def test_memory_is_promised_before_it_is_needed() -> None:
    world = World()
    assert world.engine.has_room(0)
    assert world.engine.has_room(65_536)
    before = world.engine.dump()
    assert not world.engine.has_room(-1)
    assert world.engine.dump() == before
