"""The shape of a state adds up to the state."""

from __future__ import annotations

import pytest

from engine.base import Engine
from engine.commands import HaltMarket
from engine.enums import Side
from engine.factory import EngineKind, engine_factory
from engine.laboratory.measuring import opened
from engine.laboratory.shape import StateShape, depth_bins, queue_bins, shape_of
from engine.laboratory.workloads import NOW_NS, make
from engine.records import pack_command


@pytest.fixture(scope="module")
def engine() -> Engine:
    factory = engine_factory(EngineKind.NATIVE)
    work = make("w1", seed=3, commands=0, waiting=3_000, engine=factory.new())
    return opened(factory.new(), work)


@pytest.fixture(scope="module")
def shape(engine: Engine) -> StateShape:
    return shape_of(engine)


def test_books_hold_every_open_order(engine: Engine, shape: StateShape) -> None:
    [market] = shape.markets
    orders = [order for no in engine.customers() for order in engine.open_orders(no)]
    assert market.orders == shape.orders == len(orders)
    assert market.levels == len({(order.side, order.price_ticks) for order in orders})
    assert market.best_bid_ticks == max(o.price_ticks for o in orders if o.side is Side.BUY)
    assert market.best_ask_ticks == min(o.price_ticks for o in orders if o.side is Side.SELL)


def test_parts_are_the_whole_dump(engine: Engine, shape: StateShape) -> None:
    assert sum(part.bytes for part in shape.parts) == len(engine.dump())
    rows = {part.name: part.rows for part in shape.parts}
    assert (rows["assets"], rows["markets"], rows["balances"]) == (2, 1, 20_000)


@pytest.mark.parametrize(("bins", "levels"), [(12, 200), (3, 7), (1, 1), (500, 10_000)])
def test_bins_hold_the_nearest_levels_once(shape: StateShape, bins: int, levels: int) -> None:
    [market] = shape.markets
    found = depth_bins(market, bins=bins, levels=levels)
    for side, book in ((Side.BUY, market.bids), (Side.SELL, market.asks)):
        mine = [one for one in found if one.side is side]
        assert len(mine) <= bins
        assert sum(one.lots for one in mine) == sum(level.quantity_lots for level in book[:levels])
        assert sum(one.orders for one in mine) == sum(level.orders for level in book[:levels])
    edges = [(one.from_ticks, one.to_ticks) for one in found]
    assert edges == sorted(edges, reverse=True)
    assert len({to - low for low, to in edges}) == 1


def test_queues_count_every_level_once(shape: StateShape) -> None:
    found = queue_bins(shape.markets)
    assert sum(one.levels for one in found) == shape.markets[0].levels
    assert [one.from_orders for one in found] == [1 << n for n in range(len(found))]


def test_an_empty_engine_has_a_shape() -> None:
    found = shape_of(engine_factory(EngineKind.NATIVE).new())
    assert (found.markets, found.orders, queue_bins(found.markets)) == ((), 0, [])


def test_a_market_says_what_it_is() -> None:
    factory = engine_factory(EngineKind.NATIVE)
    work = make("w1", seed=3, commands=0, waiting=0, engine=factory.new())
    engine = opened(factory.new(), work)
    [market] = shape_of(engine).markets
    assert (market.status, market.best_bid_ticks, market.best_ask_ticks) == ("open", None, None)
    assert depth_bins(market, bins=4, levels=4) == []
    halt = pack_command(HaltMarket(market_no=1))
    engine.apply_records(halt, first_sequence=engine.sequence + 1, time_ns=NOW_NS)
    assert shape_of(engine).markets[0].status == "halted"
