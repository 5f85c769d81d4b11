"""Market data equals the books it is made from, and a reader of deltas sees the same."""

from __future__ import annotations

import pytest

from core.clock import SECOND_NS
from core.errors import Refused
from engine.bookclient import BookClient, BookMismatch
from engine.enums import Side
from engine.events import Event, Trade
from engine.laboratory.weather import WEATHER, Rough
from engine.levels import checksum
from engine.marketdata import MarketData
from engine.reference import ReferenceEngine
from engine.trades import Tape
from tests.unit.engine.books import ALL, block_of, book_of, story
from tests.unit.engine.world import ALICE, BOB, IOC, MARKET, World


@pytest.mark.parametrize("weather", WEATHER)
def test_a_reader_of_deltas_has_the_engines_book_after_every_command(weather: type[Rough]) -> None:
    told = story(weather, seed=11, commands=1_200)
    changes = 0
    for market_no in told.engine.markets():
        opened = told.opened(market_no)
        copy = BookClient(told.data.depth_at(market_no, opened, ALL) or pytest.fail("not kept"))
        deltas = told.deltas(market_no)
        assert [delta.update for delta in deltas] == [*range(opened + 1, opened + 1 + len(deltas))]
        changes += len(deltas)
        at = iter(deltas)
        following = next(at, None)
        for sequence in range(opened, told.engine.sequence + 1):
            bids, asks = told.book(market_no, sequence)
            if following is not None and following.sequence == sequence:
                assert following.checksum == checksum(bids, asks), "not what the two sides share"
                copy.apply(following)
                following = next(at, None)
            assert (copy.bids(ALL), copy.asks(ALL)) == (bids, asks)
            assert not (bids and asks) or bids[0][0] < asks[0][0], "no reader sees a crossed book"
        assert following is None
        depth = told.data.depth(market_no, ALL)
        assert (depth.bids, depth.asks) == book_of(told.engine, market_no)
        assert (depth.update, depth.sequence) == (copy.update, told.engine.sequence)
    assert changes > 150


@pytest.mark.parametrize("weather", WEATHER)
def test_the_depth_of_any_command_is_what_the_engine_showed_then(weather: type[Rough]) -> None:
    told = story(weather, seed=12, commands=500)
    for market_no in told.engine.markets():
        for sequence in range(told.opened(market_no), told.engine.sequence + 1):
            depth = told.data.depth_at(market_no, sequence, ALL)
            assert depth is not None
            assert (depth.bids, depth.asks) == told.book(market_no, sequence)
            assert depth.checksum == checksum(*told.book(market_no, sequence))
            [*later] = told.data.deltas_after(market_no, depth.update) or ()
            assert all(delta.sequence > sequence for delta in later)
        assert told.data.depth_at(market_no, told.opened(market_no) - 1, ALL) is None
        assert told.data.depth_at(market_no, told.engine.sequence + 1, ALL) is None


def test_a_feed_that_begins_at_a_recovered_engine_goes_on_with_its_book() -> None:
    world = World()
    world.buy(ALICE, 99, 5)
    world.sell(BOB, 99, 2)
    data = MarketData()
    data.begin(world.engine)
    began = world.engine.sequence
    assert data.depth(MARKET, 5).bids == ((99, 3),)
    assert data.deltas_after(MARKET, began) == []
    data.apply(block_of(world.sell(BOB, 99, 1)))
    [delta] = data.deltas_after(MARKET, began) or []
    assert (delta.bids, delta.asks) == (((99, 2),), ())
    assert (delta.update, delta.previous_sequence, delta.sequence) == (began + 1, began, began + 1)


def test_a_command_that_leaves_the_book_as_it_was_makes_no_delta() -> None:
    world, data = World(), MarketData()
    data.begin(world.engine)
    before = data.depth(MARKET, 5)
    data.apply(block_of(world.buy(ALICE, 99, 5, **IOC)))
    after = data.depth(MARKET, 5)
    assert (after.update, after.sequence) == (before.update, before.sequence + 1)


def test_a_reader_that_fell_too_far_behind_is_told_to_take_a_depth() -> None:
    world, data = World(), MarketData(deltas_max=3)
    data.begin(world.engine)
    began = world.engine.sequence
    for price in range(1, 6):
        data.apply(block_of(world.buy(ALICE, price, 1)))
    assert data.deltas_after(MARKET, began + 1) is None
    kept = data.deltas_after(MARKET, began + 2) or []
    assert [delta.update for delta in kept] == [began + 3, began + 4, began + 5]
    assert data.deltas_after(MARKET, began + 2, 2) == kept[:2]
    assert data.deltas_after(MARKET, began + 5) == []
    assert data.deltas_after(MARKET, began + 6) is None
    assert data.depth_at(MARKET, began + 1, 9) is None
    oldest = data.depth_at(MARKET, began + 2, 9)
    assert oldest is not None
    assert oldest.bids == ((2, 1), (1, 1))


def test_no_number_of_a_process_is_given_again_to_another_book_by_the_next() -> None:
    world, old = World(), MarketData()
    old.begin(world.engine)
    for price in (1, 2, 3):
        old.apply(block_of(world.buy(ALICE, price, 1)))
        old.apply(block_of(world.buy(ALICE, 99, 5, **IOC)))
    reader = BookClient(old.depth(MARKET, ALL))
    new = MarketData()
    new.begin(world.engine)
    new.apply(block_of(world.buy(ALICE, 4, 1)))
    assert reader.update is not None
    assert new.deltas_after(MARKET, reader.update) is None, "it was away for too long"
    with pytest.raises(BookMismatch, match="gap"):
        reader.apply((new.deltas_after(MARKET, new.depth(MARKET, 0).update - 1) or [])[0])


def test_a_reader_whose_every_command_changed_the_book_goes_on_over_a_restart() -> None:
    world, old = World(), MarketData()
    old.begin(world.engine)
    old.apply(block_of(world.buy(ALICE, 1, 1)))
    reader = BookClient(old.depth(MARKET, ALL))
    new = MarketData()
    new.begin(world.engine)
    new.apply(block_of(world.buy(ALICE, 4, 1)))
    assert reader.update is not None
    for delta in new.deltas_after(MARKET, reader.update) or pytest.fail("too old"):
        reader.apply(delta)
    assert reader.bids(ALL) == ((4, 1), (1, 1))


def test_trades_and_candles_are_bounded_and_newest_where_promised() -> None:
    world, data = World(), MarketData(trades_max=4, candles_max=2)
    data.begin(world.engine)
    minute = 60 * SECOND_NS
    for time_ns, price in ((1, 10), (2, 12), (3, 9), (minute, 11), (5 * minute + 7, 20)):
        data.apply(block_of(world.sell(BOB, price, 2), time_ns))
        data.apply(block_of(world.buy(ALICE, price, 2), time_ns))
    trades = data.trades(MARKET, 3)
    assert [(t.price_ticks, t.quantity_lots) for t in trades] == [(20, 2), (11, 2), (9, 2)]
    assert [t.sequence for t in trades] == [
        world.engine.sequence, world.engine.sequence - 2, world.engine.sequence - 4
    ]  # fmt: skip
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


def test_a_minute_that_is_not_known_from_its_beginning_has_no_candle() -> None:
    tape, minute = Tape(trades_max=9, candles_max=9), 60 * SECOND_NS
    tape.begin_at(minute + 1)
    for n, time_ns in enumerate((minute + 5, 2 * minute, 2 * minute + 5), 1):
        tape.record(sequence=n, n=1, time_ns=time_ns, price=n, lots=1, taker_side=Side.BUY)
    assert [trade.sequence for trade in tape.trades(MARKET, 9)] == [3, 2, 1]
    assert [(each.start_ns, each.open_ticks) for each in tape.candles(9)] == [(2 * minute, 2)]
    tape.begin_at(2 * minute)
    assert tape.candles(9)[0].trades == 2


@pytest.mark.parametrize("weather", WEATHER)
def test_a_trade_is_named_as_in_the_books(weather: type[Rough]) -> None:
    drawn, engine = weather(5), ReferenceEngine(weather.limits)
    data, expected = MarketData(), []
    opening = list(drawn.opening())
    while engine.sequence < 700:
        events: list[Event] = []
        for _ in range(7):
            command = opening.pop(0) if opening else drawn.next()
            answer = engine.apply(command, sequence=engine.sequence + 1, time_ns=drawn.time_ns)
            drawn.observe(answer)
            events += answer
            expected += [
                (event.market_no, event.sequence, n, event.price_ticks, event.quantity_lots,
                 event.taker_side)
                for n, event in enumerate(answer) if isinstance(event, Trade)
            ]  # fmt: skip
        data.apply(block_of(events, drawn.time_ns))
    found = [trade for market_no in engine.markets() for trade in data.trades(market_no, ALL)]
    assert {(t.sequence, t.n) for t in found} == {each[1:3] for each in expected}
    assert sorted(
        (t.market_no, t.sequence, t.n, t.price_ticks, t.quantity_lots, t.taker_side) for t in found
    ) == sorted(expected)
    assert expected


def test_an_unknown_market_is_refused() -> None:
    data = MarketData()
    for ask in (data.depth, data.trades, data.candles, data.deltas_after):
        with pytest.raises(Refused, match="unknown_market"):
            ask(9, 1)
    with pytest.raises(Refused, match="unknown_market"):
        data.depth_at(9, 0, 1)
