"""Market data equals the books it is made from, and a reader of deltas sees the same."""

from __future__ import annotations

import pytest

from core.clock import SECOND_NS
from core.errors import Refused
from engine.applied import AppliedBlock
from engine.enums import CancelReason, Side
from engine.events import Event
from engine.marketdata import BookDepth, MarketData
from engine.orderlog import OrderLog, OrderStatus
from engine.records import pack_event
from engine.reference import ReferenceEngine
from tests.unit.engine.commands import MARKETS, Commands
from tests.unit.engine.world import ALICE, BOB, IOC, MARKET, World, accepted

ALL = 10**6


def block_of(events: list[Event], time_ns: int = 0) -> AppliedBlock:
    """Return a block that holds these events."""
    return AppliedBlock(
        epoch=1,
        first_sequence=events[0].sequence,
        last_sequence=events[-1].sequence,
        time_ns=time_ns,
        hash=bytes(32),
        event_records=b"".join(map(pack_event, events)),
    )


def levels(engine: ReferenceEngine, market_no: int) -> tuple[object, object]:
    """Return bids and asks of the engine as (price, lots)."""
    depth = engine.depth(market_no, ALL)
    return (
        tuple((level.price_ticks, level.quantity_lots) for level in depth.bids),
        tuple((level.price_ticks, level.quantity_lots) for level in depth.asks),
    )


class Reader:
    """A subscriber that keeps a book from one depth and the deltas after it."""

    def __init__(self, depth: BookDepth) -> None:
        self.update = depth.update
        self.bids, self.asks = dict(depth.bids), dict(depth.asks)

    def follow(self, data: MarketData, market_no: int) -> None:
        """Apply what is new."""
        deltas = data.deltas_after(market_no, self.update)
        assert deltas is not None
        for delta in deltas:
            assert delta.update == self.update + 1
            self.update = delta.update
            for mine, changed in ((self.bids, delta.bids), (self.asks, delta.asks)):
                for price, lots in changed:
                    mine[price] = lots
                    if not lots:
                        del mine[price]
            if self.bids and self.asks:
                assert max(self.bids) < min(self.asks), "no reader ever sees a crossed book"

    def levels(self) -> tuple[object, object]:
        """Return bids and asks, best first."""
        return tuple(sorted(self.bids.items(), reverse=True)), tuple(sorted(self.asks.items()))


def test_depth_and_deltas_equal_the_engines_book_after_every_block() -> None:
    drawn, engine, data, log = Commands(11), ReferenceEngine(), MarketData(), OrderLog()
    opening, readers = list(drawn.opening()), dict[int, Reader]()
    changes = 0
    while engine.sequence < 4_000:
        events: list[Event] = []
        for _ in range(drawn.random.randrange(1, 20)):
            command = opening.pop(0) if opening else drawn.next()
            answer = engine.apply(command, sequence=engine.sequence + 1, time_ns=drawn.time_ns)
            drawn.observe(answer)
            events += answer
        data.apply(block_of(events, drawn.time_ns))
        log.apply(block_of(events, drawn.time_ns))
        for market_no in () if opening else MARKETS:
            depth = data.depth(market_no, ALL)
            assert (depth.bids, depth.asks) == levels(engine, market_no)
            reader = readers.setdefault(market_no, Reader(depth))
            reader.follow(data, market_no)
            assert reader.levels() == levels(engine, market_no)
            changes += reader.update
    assert changes
    for order in engine.all_open_orders():
        record = log.order(order.order_id)
        assert record is not None
        assert record.status is OrderStatus.OPEN
        same = ("price_ticks", "quantity_lots", "filled_lots", "remaining_lots", "post_only")
        assert all(getattr(record, name) == getattr(order, name) for name in same)


def test_a_feed_that_begins_at_a_recovered_engine_goes_on_with_its_book() -> None:
    world = World()
    order_id = accepted(world.buy(ALICE, 99, 5))
    world.sell(BOB, 99, 2)
    data, log = MarketData(), OrderLog()
    data.begin(world.engine)
    log.begin(world.engine)
    assert data.depth(MARKET, 5).bids == ((99, 3),)
    assert data.deltas_after(MARKET, 0) == []
    events = world.sell(BOB, 99, 1)
    data.apply(block_of(events))
    log.apply(block_of(events))
    [delta] = data.deltas_after(MARKET, 0) or []
    assert (delta.bids, delta.asks, delta.update) == (((99, 2),), (), 1)
    record = log.order(order_id)
    assert record is not None
    assert (record.filled_lots, record.remaining_lots, record.filled_ticks_lots) == (3, 2, None)


def test_a_command_that_leaves_the_book_as_it_was_makes_no_delta() -> None:
    world, data = World(), MarketData()
    data.begin(world.engine)
    data.apply(block_of(world.buy(ALICE, 99, 5, **IOC)))
    assert data.depth(MARKET, 5).update == 0


def test_a_reader_that_fell_too_far_behind_is_told_to_take_a_depth() -> None:
    world, data = World(), MarketData(deltas_max=3)
    data.begin(world.engine)
    for price in range(1, 6):
        data.apply(block_of(world.buy(ALICE, price, 1)))
    assert data.deltas_after(MARKET, 1) is None
    assert [d.update for d in data.deltas_after(MARKET, 2) or []] == [3, 4, 5]
    assert data.deltas_after(MARKET, 5) == []
    assert data.deltas_after(MARKET, 6) is None


def test_trades_and_candles_are_bounded_and_newest_where_promised() -> None:
    world, data = World(), MarketData(trades_max=4, candles_max=2)
    data.begin(world.engine)
    minute = 60 * SECOND_NS
    for time_ns, price in ((1, 10), (2, 12), (3, 9), (minute, 11), (5 * minute + 7, 20)):
        data.apply(block_of(world.sell(BOB, price, 2), time_ns))
        data.apply(block_of(world.buy(ALICE, price, 2), time_ns))
    trades = data.trades(MARKET, 3)
    assert [(t.trade_no, t.price_ticks, t.quantity_lots) for t in trades] == [
        (5, 20, 2),
        (4, 11, 2),
        (3, 9, 2),
    ]
    assert len(data.trades(MARKET, 100)) == 4
    assert trades[0].taker_side is Side.BUY
    assert [candle.start_ns for candle in data.candles(MARKET, 9)] == [minute, 5 * minute]
    data = MarketData()
    data.begin(world.engine)
    for time_ns, price in ((1, 10), (2, 12), (3, 9)):
        data.apply(block_of(world.sell(BOB, price, 2), time_ns))
        data.apply(block_of(world.buy(ALICE, price, 2), time_ns))
    [candle] = data.candles(MARKET, 9)
    assert (candle.open_ticks, candle.high_ticks, candle.low_ticks, candle.close_ticks) == (
        10,
        12,
        9,
        9,
    )
    assert (candle.volume_lots, candle.trades) == (6, 3)
    assert data.candles(MARKET, 0) == []
    assert data.trades(MARKET, 0) == []


def test_an_unknown_market_is_refused() -> None:
    for ask in (MarketData().depth, MarketData().trades, MarketData().candles):
        with pytest.raises(Refused, match="unknown_market"):
            ask(9, 1)


def test_a_closed_order_is_known_until_too_many_closed_after_it() -> None:
    world, log = World(), OrderLog(closed_max=2)
    log.begin(world.engine)
    ids = []
    for _ in range(3):
        events = world.buy(ALICE, 100, 5, **IOC)
        ids.append(accepted(events))
        log.apply(block_of(events))
    assert log.order(ids[0]) is None
    record = log.order(ids[2])
    assert record is not None
    assert (record.status, record.cancel_reason) == (OrderStatus.CANCELLED, CancelReason.UNFILLED)
    assert [order.order_id for order in log.closed_of(ALICE, 5)] == [ids[2], ids[1]]
    assert log.closed_of(ALICE, 1)[0].order_id == ids[2]
    assert log.closed_of(BOB, 5) == []


def test_a_filled_order_remembers_what_it_paid() -> None:
    world, log = World(), OrderLog()
    log.begin(world.engine)
    for events in (world.sell(BOB, 100, 2), world.sell(BOB, 101, 2), world.buy(ALICE, 105, 3)):
        log.apply(block_of(events))
    record = log.order(accepted(events))
    assert record is not None
    assert (record.status, record.filled_lots, record.filled_ticks_lots) == (
        OrderStatus.FILLED,
        3,
        301,
    )
