"""Exact amounts of fills, and the commands that configure markets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.commands import AddAsset, AddMarket, HaltMarket, ResumeMarket, SetMarketFees
from engine.enums import RejectReason, Side
from engine.events import (
    AssetAdded,
    ConfigRefused,
    MarketAdded,
    MarketFeesSet,
    MarketHalted,
    MarketResumed,
    Trade,
)
from engine.market import fill_amounts, market_of
from tests.unit.engine.world import ALICE, BASE, BOB, MARKET, ONLY_REFERENCE, QUOTE, World, market

pytestmark = pytest.mark.usefixtures("each_engine")

TRADE = Trade(
    sequence=1,
    market_no=MARKET,
    taker_order_id=1,
    maker_order_id=2,
    taker_customer_no=ALICE,
    maker_customer_no=BOB,
    taker_side=Side.BUY,
    price_ticks=7,
    quantity_lots=11,
    taker_ppm=200_000,
    maker_ppm=100_000,
)
BOOK = market_of(market(tick_minor=3, lot_minor=5))


def test_a_buying_taker_pays_the_taker_rate_in_base() -> None:
    fill = fill_amounts(TRADE, BOOK)
    assert (fill.buyer_customer_no, fill.seller_customer_no) == (ALICE, BOB)
    assert (fill.base_minor, fill.quote_minor) == (55, 231)
    assert (fill.buyer_fee_base, fill.seller_fee_quote) == (11, 24)
    assert (fill.base_asset_no, fill.quote_asset_no) == (BASE, QUOTE)


def test_a_selling_taker_pays_the_taker_rate_in_quote() -> None:
    fill = fill_amounts(replace(TRADE, taker_side=Side.SELL), BOOK)
    assert (fill.buyer_customer_no, fill.seller_customer_no) == (BOB, ALICE)
    assert (fill.buyer_fee_base, fill.seller_fee_quote) == (6, 47)


def test_a_trade_of_another_market_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="market"):
        fill_amounts(TRADE, replace(BOOK, market_no=2))


@given(
    price=st.integers(1, 1 << 40),
    parts=st.lists(st.integers(1, 1 << 20), min_size=1, max_size=6),
    tick=st.integers(1, 1 << 20),
    lot=st.integers(1, 1 << 20),
)
def test_filling_in_parts_moves_the_same_amounts_as_at_once(
    price: int, parts: list[int], tick: int, lot: int
) -> None:
    book = replace(BOOK, tick_minor=tick, lot_minor=lot)
    whole = replace(TRADE, price_ticks=price, quantity_lots=sum(parts))
    fills = [fill_amounts(replace(whole, quantity_lots=part), book) for part in parts]
    assert sum(fill.base_minor for fill in fills) == fill_amounts(whole, book).base_minor
    assert sum(fill.quote_minor for fill in fills) == fill_amounts(whole, book).quote_minor


@given(side=st.sampled_from(Side), price=st.integers(1, 1 << 62), lots=st.integers(1, 1 << 62))
def test_a_lock_is_what_the_order_gives_at_its_limit(side: Side, price: int, lots: int) -> None:
    given_minor = BOOK.lock_minor(side=side, price_ticks=price, quantity_lots=lots)
    if side is Side.BUY:
        assert given_minor == BOOK.quote_minor(price_ticks=price, quantity_lots=lots)
        assert BOOK.given_asset_no(side) == BOOK.received_asset_no(Side.SELL) == QUOTE
    else:
        assert given_minor == BOOK.base_minor(lots)
        assert BOOK.given_asset_no(side) == BOOK.received_asset_no(Side.BUY) == BASE


# ------------------------------------------------------------------- configuration


def test_adding_again_with_the_same_content_is_answered_again() -> None:
    world = World()
    [event] = world.do(AddAsset(asset_no=BASE))
    assert isinstance(event, AssetAdded)
    [event] = world.do(market())
    assert isinstance(event, MarketAdded)


@ONLY_REFERENCE
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (market(tick_minor=2), RejectReason.EXISTS_WITH_OTHER_CONTENT),
        (market(market_no=2, base_asset_no=9), RejectReason.UNKNOWN_ASSET),
        (market(market_no=2, base_asset_no=QUOTE), RejectReason.INVALID_COMBINATION),
        (market(market_no=2, tick_minor=0), RejectReason.AMOUNT_OUT_OF_RANGE),
        (market(market_no=2, lot_minor=1 << 96), RejectReason.AMOUNT_OUT_OF_RANGE),
        (market(market_no=2, maker_ppm=1_000_001), RejectReason.AMOUNT_OUT_OF_RANGE),
        (market(market_no=0), RejectReason.AMOUNT_OUT_OF_RANGE),
    ],
)
def test_a_market_that_makes_no_sense_is_refused(command: AddMarket, reason: RejectReason) -> None:
    world = World()
    before = dict(world.engine.markets())
    [event] = world.do(command)
    assert isinstance(event, ConfigRefused)
    assert (event.reason, event.subject_no) == (reason, command.market_no)
    assert dict(world.engine.markets()) == before


def test_new_fee_rates_apply_to_later_fills_only() -> None:
    world = World()
    world.sell(ALICE, 100, 2)
    [first] = [e for e in world.buy(BOB, 100, 1) if isinstance(e, Trade)]
    [event] = world.do(SetMarketFees(market_no=MARKET, maker_ppm=1, taker_ppm=2))
    assert isinstance(event, MarketFeesSet)
    [second] = [e for e in world.buy(BOB, 100, 1) if isinstance(e, Trade)]
    assert (first.maker_ppm, first.taker_ppm) == (0, 0)
    assert (second.maker_ppm, second.taker_ppm) == (1, 2)
    assert world.engine.totals(BASE).fees == 1


def test_fee_rates_above_the_whole_and_unknown_markets_are_refused() -> None:
    world = World()
    for command, reason in (
        (SetMarketFees(market_no=9, maker_ppm=0, taker_ppm=1_000_001), "AMOUNT_OUT_OF_RANGE"),
        (SetMarketFees(market_no=9, maker_ppm=0, taker_ppm=0), "UNKNOWN_MARKET"),
        (HaltMarket(market_no=9), "UNKNOWN_MARKET"),
        (ResumeMarket(market_no=9), "UNKNOWN_MARKET"),
    ):
        [event] = world.do(command)
        assert isinstance(event, ConfigRefused)
        assert event.reason.name == reason


def test_halting_twice_is_halting_once() -> None:
    world = World()
    for command, kind in (
        (HaltMarket(market_no=MARKET), MarketHalted),
        (HaltMarket(market_no=MARKET), MarketHalted),
        (ResumeMarket(market_no=MARKET), MarketResumed),
        (ResumeMarket(market_no=MARKET), MarketResumed),
    ):
        [event] = world.do(command)
        assert isinstance(event, kind)
        assert world.engine.markets()[MARKET].is_halted == (kind is MarketHalted)
