"""L09: what orders do to each other."""

from __future__ import annotations

import pytest

from engine.base import Limits
from engine.commands import HaltMarket, ResumeMarket
from engine.enums import OrderKind, SelfTrade, TimeInForce
from engine.events import (
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    Trade,
)
from tests.unit.engine.world import (
    ALICE,
    AT_MARKET,
    BASE,
    BOB,
    CAROL,
    DAVE,
    FOK,
    IOC,
    MARKET,
    ONLY_REFERENCE,
    POST_ONLY,
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


def test_a_better_price_trades_first_and_then_the_older_order() -> None:
    world = World()
    world.sell(ALICE, 102, 5)
    world.sell(BOB, 101, 5)
    world.sell(CAROL, 101, 5)
    assert trades(world.buy(DAVE, 102, 12)) == [(BOB, 101, 5), (CAROL, 101, 5), (ALICE, 102, 2)]
    assert world.asks() == [(102, 3)]


def test_a_sell_meets_the_highest_bid_first() -> None:
    world = World()
    world.buy(ALICE, 99, 5)
    world.buy(BOB, 100, 5)
    assert trades(world.sell(DAVE, 99, 7)) == [(BOB, 100, 5), (ALICE, 99, 2)]
    assert world.bids() == [(99, 3)]


def test_orders_that_do_not_cross_wait() -> None:
    world = World()
    assert [type(event) for event in world.buy(ALICE, 99, 5)] == [OrderAccepted]
    assert [type(event) for event in world.sell(BOB, 100, 5)] == [OrderAccepted]
    assert (world.bids(), world.asks()) == ([(99, 5)], [(100, 5)])


def test_every_order_gets_one_closing_event_after_its_fills() -> None:
    world = World()
    maker = accepted(world.sell(ALICE, 100, 5))
    events = world.buy(BOB, 100, 5)
    taker = accepted(events)
    assert [type(event) for event in events] == [OrderAccepted, Trade, OrderFilled, OrderFilled]
    assert [e.order_id for e in events if isinstance(e, OrderFilled)] == [maker, taker]
    assert world.engine.order(maker) is None
    assert world.engine.order(taker) is None


def test_a_partly_filled_maker_keeps_its_place() -> None:
    world = World()
    world.sell(ALICE, 100, 5)
    world.sell(BOB, 100, 5)
    world.buy(CAROL, 100, 2)
    assert trades(world.buy(CAROL, 100, 4)) == [(ALICE, 100, 3), (BOB, 100, 1)]


def test_the_rest_of_an_immediate_order_is_cancelled() -> None:
    world = World()
    world.sell(ALICE, 100, 3)
    events = world.buy(BOB, 100, 5, **IOC)
    assert trades(events) == [(ALICE, 100, 3)]
    assert cancelled(events) == [(BOB, 2, "UNFILLED")]
    assert world.bids() == []
    assert world.balance(BOB, QUOTE) == (10**6 - 300, 0, 0)


def test_an_immediate_order_that_meets_nobody_is_accepted_and_closed() -> None:
    world = World()
    events = world.buy(BOB, 100, 5, **IOC)
    assert [type(event) for event in events] == [OrderAccepted, OrderCancelled]
    assert world.balance(BOB, QUOTE) == (10**6, 0, 0)


def test_fill_or_kill_fills_over_several_levels_or_not_at_all() -> None:
    world = World()
    world.sell(ALICE, 100, 3)
    world.sell(CAROL, 101, 3)
    assert why(world.buy(BOB, 101, 7, **FOK)) == "would_not_fill"
    assert why(world.buy(BOB, 100, 4, **FOK)) == "would_not_fill"
    assert world.asks() == [(100, 3), (101, 3)]
    assert trades(world.buy(BOB, 101, 6, **FOK)) == [(ALICE, 100, 3), (CAROL, 101, 3)]


@pytest.mark.parametrize(
    "how", [SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH, SelfTrade.DECREMENT]
)
def test_fill_or_kill_that_would_meet_an_own_order_first_is_refused(how: SelfTrade) -> None:
    world = World()
    world.sell(BOB, 100, 1)
    world.sell(ALICE, 101, 9)
    assert why(world.buy(BOB, 101, 5, **FOK, **stp(how))) == "would_not_fill"
    assert world.asks() == [(100, 1), (101, 9)]


def test_fill_or_kill_counts_only_others_when_own_orders_give_way() -> None:
    world = World()
    world.sell(BOB, 100, 3)
    world.sell(ALICE, 101, 4)
    how = stp(SelfTrade.CANCEL_OLDEST)
    assert why(world.buy(BOB, 101, 5, **FOK, **how)) == "would_not_fill"
    assert world.asks() == [(100, 3), (101, 4)]
    events = world.buy(BOB, 101, 4, **FOK, **how)
    assert cancelled(events) == [(BOB, 3, "SELF_TRADE")]
    assert trades(events) == [(ALICE, 101, 4)]


def test_fill_or_kill_does_not_reach_an_own_order_behind_its_fill() -> None:
    world = World()
    world.sell(ALICE, 100, 4)
    world.sell(BOB, 100, 4)
    assert trades(world.buy(BOB, 100, 4, **FOK)) == [(ALICE, 100, 4)]


def test_post_only_never_takes() -> None:
    world = World()
    world.sell(ALICE, 100, 3)
    assert why(world.buy(BOB, 100, 1, **POST_ONLY)) == "would_cross"
    assert why(world.buy(ALICE, 100, 1, **POST_ONLY)) == "would_cross"
    accepted(world.buy(BOB, 99, 1, **POST_ONLY))
    assert why(world.sell(CAROL, 99, 1, **POST_ONLY)) == "would_cross"


def test_a_market_order_stops_at_its_protection_price_and_locks_there() -> None:
    world = World()
    world.sell(ALICE, 100, 2)
    world.sell(CAROL, 200, 2)
    events = world.buy(BOB, 150, 4, **AT_MARKET)
    assert trades(events) == [(ALICE, 100, 2)]
    assert cancelled(events) == [(BOB, 2, "UNFILLED")]
    world.do(market(market_no=2, tick_minor=10**6))
    assert why(world.buy(BOB, 150, 1, market_no=2, **AT_MARKET)) == "exceeds_available"


@pytest.mark.parametrize(
    "options",
    [
        {"kind": OrderKind.MARKET, "tif": TimeInForce.GTC},
        {"kind": OrderKind.MARKET, "tif": TimeInForce.FOK},
        {"kind": OrderKind.MARKET, "tif": TimeInForce.IOC, "post_only": True},
        {"tif": TimeInForce.IOC, "post_only": True},
        {"tif": TimeInForce.FOK, "post_only": True},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object]) -> None:
    assert why(World().buy(ALICE, 100, 1, **options)) == "invalid_combination"


def test_an_accepted_buy_locks_quote_at_its_limit_and_a_better_price_gives_back() -> None:
    world = World()
    world.buy(BOB, 110, 10)
    assert world.balance(BOB, QUOTE) == (10**6 - 1100, 1100, 0)
    world.cancel_all(BOB)
    assert world.balance(BOB, QUOTE) == (10**6, 0, 0)
    world.sell(ALICE, 100, 4)
    world.buy(BOB, 110, 10)
    assert world.balance(BOB, QUOTE) == (10**6 - 400 - 660, 660, 0)
    assert world.balance(BOB, BASE) == (10**6 + 4, 0, 0)


def test_an_order_above_what_is_available_is_refused_and_locks_nothing() -> None:
    world = World(rich=1000)
    assert why(world.buy(ALICE, 101, 10)) == "exceeds_available"
    accepted(world.buy(ALICE, 100, 10))
    assert why(world.buy(ALICE, 1, 1)) == "exceeds_available"
    assert why(world.sell(ALICE, 10**6, 1001)) == "exceeds_available"
    assert world.balance(ALICE, QUOTE) == (0, 1000, 0)


def test_fees_come_out_of_what_each_side_receives_rounded_up() -> None:
    world = World(opened=market(maker_ppm=1_000, taker_ppm=2_500, lot_minor=1_000))
    world.sell(ALICE, 333, 3)
    [trade] = [e for e in world.buy(BOB, 333, 3) if isinstance(e, Trade)]
    assert (trade.taker_ppm, trade.maker_ppm) == (2_500, 1_000)
    assert world.balance(BOB, BASE) == (10**6 + 3_000 - 8, 0, 0)  # 7.5 up
    assert world.balance(ALICE, QUOTE) == (10**6 + 999 - 1, 0, 0)  # 0.999 up
    assert world.engine.totals(BASE).fees == 8
    assert world.engine.totals(QUOTE).fees == 1


# ------------------------------------------------------------ self-trade prevention


def test_cancel_newest_keeps_the_resting_order_and_earlier_fills() -> None:
    world = World()
    world.sell(BOB, 99, 1)
    world.sell(ALICE, 100, 5)
    events = world.buy(ALICE, 100, 3, **stp(SelfTrade.CANCEL_NEWEST))
    assert trades(events) == [(BOB, 99, 1)]
    assert cancelled(events) == [(ALICE, 2, "SELF_TRADE")]
    assert (world.bids(), world.asks()) == ([], [(100, 5)])


def test_cancel_oldest_takes_the_resting_order_out_and_goes_on() -> None:
    world = World()
    world.sell(ALICE, 100, 5)
    world.sell(BOB, 100, 2)
    events = world.buy(ALICE, 100, 3, **stp(SelfTrade.CANCEL_OLDEST))
    assert cancelled(events) == [(ALICE, 5, "SELF_TRADE")]
    assert trades(events) == [(BOB, 100, 2)]
    assert (world.bids(), world.asks()) == ([(100, 1)], [])


def test_cancel_both_closes_the_older_first() -> None:
    world = World()
    world.sell(ALICE, 100, 5)
    events = world.buy(ALICE, 100, 3, **stp(SelfTrade.CANCEL_BOTH))
    assert cancelled(events) == [(ALICE, 5, "SELF_TRADE"), (ALICE, 3, "SELF_TRADE")]
    assert (world.bids(), world.asks()) == ([], [])


@pytest.mark.parametrize(("resting", "incoming"), [(5, 3), (3, 5), (4, 4)])
def test_decrement_shrinks_both_by_the_smaller(resting: int, incoming: int) -> None:
    world = World()
    world.sell(ALICE, 100, resting)
    events = world.buy(ALICE, 100, incoming, **stp(SelfTrade.DECREMENT))
    smaller = min(resting, incoming)
    reduced = [(e.reduced_lots, e.remaining_lots) for e in events if isinstance(e, OrderReduced)]
    assert reduced == [(smaller, resting - smaller), (smaller, incoming - smaller)]
    assert trades(events) == []
    closed = cancelled(events)
    assert closed == [(ALICE, 0, "SELF_TRADE")] * (2 if resting == incoming else 1)
    assert world.asks() == ([(100, resting - smaller)] if resting > incoming else [])
    assert world.bids() == ([(100, incoming - smaller)] if incoming > resting else [])


def test_decremented_lots_never_come_back_with_a_replace() -> None:
    world = World()
    order_id = accepted(world.sell(ALICE, 100, 5))
    world.buy(ALICE, 100, 3, **stp(SelfTrade.DECREMENT))
    assert why(world.replace(ALICE, order_id, 100, 3)) == "invalid_quantity"
    world.replace(ALICE, order_id, 100, 4)
    assert world.asks() == [(100, 1)]


# ------------------------------------------------------------------- halts, limits


def test_a_halted_market_takes_cancels_only() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 100, 1))
    world.do(HaltMarket(market_no=MARKET))
    assert why(world.sell(BOB, 100, 1)) == "market_halted"
    assert why(world.replace(ALICE, order_id, 101, 1)) == "market_halted"
    assert cancelled(world.cancel(ALICE, order_id)) == [(ALICE, 1, "REQUESTED")]
    world.do(ResumeMarket(market_no=MARKET))
    accepted(world.sell(BOB, 100, 1))


def test_limits_on_open_and_remembered_orders_refuse() -> None:
    world = World(limits=Limits(open_orders=3, open_orders_per_customer=2, remembered_orders=5))
    first = accepted(world.buy(ALICE, 1, 1))
    world.buy(ALICE, 1, 1)
    assert why(world.buy(ALICE, 1, 1)) == "too_many_orders"
    world.buy(BOB, 1, 1)
    assert why(world.buy(CAROL, 1, 1)) == "too_many_orders"
    world.cancel(ALICE, first)
    accepted(world.buy(CAROL, 1, 1, **IOC))
    accepted(world.buy(CAROL, 1, 1, **IOC))
    assert why(world.buy(CAROL, 1, 1, **IOC)) == "too_many_orders"


def test_of_several_reasons_the_first_of_the_list_is_given() -> None:
    world = World(rich=0)
    huge = 1 << 62
    assert why(world.buy(ALICE, huge, huge, post_only=True, **FOK)) == "amount_out_of_range"
    assert why(world.buy(ALICE, 1, 1, market_no=9, issued_ns=0)) == "issued_too_long_ago"
    assert why(world.buy(ALICE, 0, 0, market_no=9)) == "unknown_market"
    assert why(world.buy(ALICE, 0, 0, post_only=True, **FOK)) == "invalid_price"
    assert why(world.buy(ALICE, 1, 0, post_only=True, **FOK)) == "invalid_quantity"
    assert why(world.buy(ALICE, 1, 1, post_only=True, **FOK)) == "invalid_combination"
    assert why(world.buy(ALICE, 1, 1, **FOK)) == "would_not_fill"
    assert why(world.buy(ALICE, 1, 1)) == "exceeds_available"


@ONLY_REFERENCE
@pytest.mark.parametrize(("price", "lots"), [(1 << 63, 1), (1, 1 << 63), (-1, 1), (1, -1)])
def test_what_does_not_fit_the_wire_never_rests(price: int, lots: int) -> None:
    world = World(rich=10**20)
    assert why(world.buy(ALICE, price, lots)) in {"invalid_price", "invalid_quantity"}


def test_an_order_id_is_its_sequence_and_the_slot_freed_last() -> None:
    world = World()
    first, second, third = (accepted(world.buy(ALICE, 1, 1)) for _ in range(3))
    assert [order_id & 0xFFFFFF for order_id in (first, second, third)] == [0, 1, 2]
    world.cancel(ALICE, first)
    world.cancel(ALICE, third)
    slots = []
    for _ in range(3):
        order_id = accepted(world.buy(ALICE, 1, 1))
        assert order_id >> 24 == world.engine.sequence
        slots.append(order_id & 0xFFFFFF)
    assert slots == [2, 0, 3]
