"""The native core at its seam: records, batches, edges, limits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from core.clock import DAY_NS
from core.errors import Corrupt, Reason, Refused
from engine.base import Limits
from engine.commands import AddAsset, AddMarket, Command, Credit, HaltMarket
from engine.enums import Side
from engine.events import AssetAdded, ConfigRefused, Event, OrderFilled, Trade
from engine.factory import EngineKind
from engine.invariants import check_invariants
from engine.native import _core
from engine.native.engine import NativeEngine
from engine.records import (
    COMMAND_LAYOUTS,
    RECORD_BYTES,
    RECORD_VERSION,
    pack_command,
    unpack_events,
)
from engine.reference import ReferenceEngine
from tests.unit.engine.native_pair import busy
from tests.unit.engine.world import (
    ALICE,
    BASE,
    BOB,
    CAROL,
    IOC,
    MARKET,
    QUOTE,
    START_NS,
    World,
    accepted,
    trades,
    why,
)


@pytest.fixture(autouse=True)
def _native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "kind", EngineKind.NATIVE)


def records(*commands: Command) -> bytes:
    """Return the records one after another."""
    return b"".join(map(pack_command, commands))


# ------------------------------------------------------------------------ records


def test_both_sides_were_written_for_the_same_records() -> None:
    assert (_core.RECORD_BYTES, _core.RECORD_VERSION) == (RECORD_BYTES, RECORD_VERSION)


def test_every_kind_of_command_is_answered_as_the_reference_answers_it() -> None:
    native, reference, _ = busy()
    kinds = {layout.kind for layout in COMMAND_LAYOUTS}
    for kind, filler in itertools.product(kinds, (0, 1, 2, 3)):
        record = bytes([kind, RECORD_VERSION]) + bytes([filler]) * 62
        at, now = native.sequence + 1, native.time_ns
        try:
            expected = reference.apply_records(record, first_sequence=at, time_ns=now)
        except Corrupt:
            with pytest.raises(Corrupt):
                native.check_records(record, first_sequence=at, time_ns=now)
            with pytest.raises(Corrupt):
                native.apply_records(record, first_sequence=at, time_ns=now)
            continue
        native.check_records(record, first_sequence=at, time_ns=now)
        assert native.apply_records(record, first_sequence=at, time_ns=now) == expected
    assert native.dump() == reference.dump()


@pytest.mark.parametrize("offset", [0, 1, 48, 49, 50, 51, 52])
@pytest.mark.parametrize("value", [0, 5, 37, 255])
def test_a_number_outside_its_list_is_corrupt_and_nothing_of_the_batch_is_applied(
    offset: int, value: int
) -> None:
    world = World()
    good = pack_command(world.order(ALICE, Side.BUY, 100, 5))
    bad = good[:offset] + bytes([value]) + good[offset + 1 :]
    reference = ReferenceEngine.load(world.engine.dump())
    at = world.engine.sequence + 1
    try:
        expected = reference.apply_records(good + bad, first_sequence=at, time_ns=world.time_ns)
    except Corrupt:
        before = world.engine.dump()
        with pytest.raises(Corrupt):
            world.engine.apply_records(good + bad, first_sequence=at, time_ns=world.time_ns)
        assert world.engine.dump() == before
    else:
        events = world.engine.apply_records(good + bad, first_sequence=at, time_ns=world.time_ns)
        assert events == expected


def test_records_may_begin_anywhere_in_memory() -> None:
    native, reference, drawn = busy()
    for shift in range(8):
        record = pack_command(drawn.next())
        at = native.sequence + 1
        shifted = memoryview(bytes(shift) + record)[shift:]
        expected = reference.apply_records(record, first_sequence=at, time_ns=drawn.time_ns)
        drawn.observe(unpack_events(expected))
        answered = native.apply_records(shifted, first_sequence=at, time_ns=drawn.time_ns)
        assert answered == expected


@pytest.mark.parametrize("length", [1, 63, 65, 127])
def test_records_that_are_not_whole_are_corrupt(length: int) -> None:
    with pytest.raises(Corrupt):
        NativeEngine().apply_records(bytes(length), first_sequence=1, time_ns=START_NS)


def test_what_is_no_bytes_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        NativeEngine().apply_records(
            "order",  # type: ignore[arg-type]
            first_sequence=1,
            time_ns=START_NS,
        )


# ------------------------------------------------------------------------- batches


def test_a_batch_of_one_call_is_answered_command_by_command() -> None:
    native = NativeEngine()
    batch = records(AddAsset(asset_no=1), HaltMarket(market_no=7), AddAsset(asset_no=2))
    answered = native.apply_records(batch, first_sequence=1, time_ns=START_NS)
    first, second, third = unpack_events(answered)
    assert isinstance(first, AssetAdded)
    assert isinstance(second, ConfigRefused)
    assert isinstance(third, AssetAdded)
    assert (native.sequence, native.time_ns) == (3, START_NS)


def test_an_empty_batch_changes_nothing() -> None:
    native, _, _ = busy()
    before = native.dump()
    assert (
        native.apply_records(
            b"", first_sequence=native.sequence + 1, time_ns=native.time_ns + 10 * DAY_NS
        )
        == b""
    )
    assert native.dump() == before


@pytest.mark.parametrize("first", [0, 1, 3, 1 << 40, (1 << 64) - 1])
def test_a_gap_in_the_sequence_is_corrupt(first: int) -> None:
    native = NativeEngine()
    native.apply(AddAsset(asset_no=1), sequence=1, time_ns=START_NS)
    with pytest.raises(Corrupt):
        native.apply_records(records(AddAsset(asset_no=2)), first_sequence=first, time_ns=START_NS)
    assert native.assets() == (1,)


def test_time_that_goes_back_is_corrupt() -> None:
    native = NativeEngine()
    native.apply(AddAsset(asset_no=1), sequence=1, time_ns=START_NS)
    with pytest.raises(Corrupt):
        native.apply(AddAsset(asset_no=2), sequence=2, time_ns=START_NS - 1)


def test_a_gap_in_the_funding_numbers_inside_a_batch_leaves_the_state_alone() -> None:
    native, _, _ = busy()
    number, before = native.funding_number, native.dump()
    batch = [Credit(number=number + n, customer_no=1, asset_no=1, amount=5) for n in (1, 2, 4)]
    with pytest.raises(Corrupt):
        native.apply_records(
            records(*batch), first_sequence=native.sequence + 1, time_ns=native.time_ns
        )
    assert native.dump() == before


def test_a_batch_has_a_written_maximum() -> None:
    native = NativeEngine()
    batch = records(AddAsset(asset_no=1)) * (_core.BATCH_MAX + 1)
    with pytest.raises(Corrupt):
        native.apply_records(batch, first_sequence=1, time_ns=START_NS)
    answered = native.apply_records(batch[:-RECORD_BYTES], first_sequence=1, time_ns=START_NS)
    assert len(answered) == _core.BATCH_MAX * RECORD_BYTES


def test_one_command_may_close_every_order_there_is() -> None:
    world = World(rich=10**9)
    for price in range(1, 3_001):
        accepted(world_quickly(world, ALICE, Side.SELL, price + 1_000, 1))
    events = world_quickly(world, BOB, Side.BUY, 10_000, 3_000)
    assert sum(isinstance(event, Trade) for event in events) == 3_000
    assert sum(isinstance(event, OrderFilled) for event in events) == 3_001
    check_invariants(world.engine)


def world_quickly(world: World, customer: int, side: Side, price: int, lots: int) -> list[Event]:
    """Place an order without looking at every invariant."""
    order = world.order(customer, side, price, lots)
    sequence = world.engine.sequence + 1
    return world.engine.apply(order, sequence=sequence, time_ns=world.time_ns)


# --------------------------------------------------------------------------- edges


def test_L05_both_amounts_of_an_order_may_be_the_largest_there_is() -> None:
    largest = (1 << 96) - 1
    opened = AddMarket(
        market_no=MARKET,
        base_asset_no=BASE,
        quote_asset_no=QUOTE,
        tick_minor=largest,
        lot_minor=largest,
        maker_ppm=10**6,
        taker_ppm=10**6,
    )
    world = World(rich=0, opened=opened)
    world.credit(ALICE, BASE, largest)
    world.credit(BOB, QUOTE, largest)
    accepted(world.sell(ALICE, 1, 1))
    assert trades(world.buy(BOB, 1, 1)) == [(ALICE, 1, 1)]
    assert world.engine.totals(BASE).fees == world.engine.totals(QUOTE).fees == largest
    assert why(world.sell(ALICE, 2, 1)) == "amount_out_of_range"
    assert why(world.sell(ALICE, 1, 2)) == "amount_out_of_range"


@pytest.mark.parametrize("ppm", [0, 1, 499_999, 999_999, 1_000_000])
@pytest.mark.parametrize(
    "lot", [1, 2, 10**6, (1 << 32) - 1, 1 << 32, (1 << 64) // 10**6, 1 << 64, (1 << 96) - 1]
)
def test_L05_fees_are_rounded_up_exactly(lot: int, ppm: int) -> None:
    opened = AddMarket(
        market_no=MARKET,
        base_asset_no=BASE,
        quote_asset_no=QUOTE,
        tick_minor=1,
        lot_minor=lot,
        maker_ppm=0,
        taker_ppm=ppm,
    )
    world = World(rich=0, opened=opened)
    world.credit(ALICE, BASE, lot)
    world.credit(BOB, QUOTE, 1)
    accepted(world.sell(ALICE, 1, 1))
    accepted(world.buy(BOB, 1, 1))
    assert world.engine.totals(BASE).fees == -(-lot * ppm // 10**6)


@pytest.mark.parametrize("step", [1, 1 << 17, 1 << 18, (1 << 18) + 1, 1 << 40])
@pytest.mark.parametrize("side", list(Side))
def test_levels_are_found_however_far_apart_they_are(side: Side, step: int) -> None:
    reference = World()
    prices = [(1 << 50) + step * (n * 7 % 200) for n in range(200)]
    for kind in (EngineKind.REFERENCE, EngineKind.NATIVE):
        World.kind = kind
        world = World(rich=0)
        for asset in (BASE, QUOTE):
            for _ in range(4):
                world.credit(ALICE, asset, (1 << 96) - 1)
                world.credit(BOB, asset, (1 << 96) - 1)
        for price in prices:
            accepted(world_quickly(world, ALICE, side, price, 2))
        for price in prices[::3]:
            found = world.engine.depth(MARKET, 1000)
            assert len(found.bids) + len(found.asks) >= 1
            world_quickly(world, BOB, Side(3 - side), price, 3)
        check_invariants(world.engine)
        if kind is EngineKind.REFERENCE:
            reference = world
        else:
            assert world.engine.dump() == reference.engine.dump()


def test_a_book_whose_price_drifts_away_from_its_window_stays_whole() -> None:
    native, reference = NativeEngine(), ReferenceEngine()
    world = World(rich=0)
    opening: list[Command] = [
        AddAsset(asset_no=BASE),
        AddAsset(asset_no=QUOTE),
        replace(market_content(), tick_minor=1, lot_minor=1),
    ]
    accounts = itertools.product((ALICE, BOB), (BASE, QUOTE))
    for number, (customer, asset) in enumerate(accounts, 1):
        opening.append(
            Credit(number=number, customer_no=customer, asset_no=asset, amount=(1 << 96) - 1)
        )
    for n in range(3_000):
        price = (1 << 30) - n * 500
        opening.append(world.order(ALICE, Side.SELL, price, 3, issued_ns=START_NS))
        if n % 5 == 4:
            opening.append(world.order(BOB, Side.BUY, price + 900, 4, issued_ns=START_NS, **IOC))
    batch = records(*opening)
    expected = reference.apply_records(batch, first_sequence=1, time_ns=START_NS)
    assert native.apply_records(batch, first_sequence=1, time_ns=START_NS) == expected
    assert native.dump() == reference.dump()
    assert native.depth(MARKET, 10_000) == reference.depth(MARKET, 10_000)


def market_content() -> AddMarket:
    """Return a market of the two assets."""
    return AddMarket(
        market_no=MARKET,
        base_asset_no=BASE,
        quote_asset_no=QUOTE,
        tick_minor=1,
        lot_minor=1,
        maker_ppm=0,
        taker_ppm=0,
    )


# ---------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "limits",
    [
        Limits(open_orders=(1 << 24) + 1),
        Limits(open_orders=-1),
        Limits(open_orders_per_customer=-1),
        Limits(remembered_orders=1 << 40),
    ],
)
def test_limits_beyond_the_core_are_refused_when_it_is_made(limits: Limits) -> None:
    with pytest.raises(ValueError, match="native engine cannot work"):
        NativeEngine(limits)


def test_no_order_is_taken_under_limits_of_nothing() -> None:
    world = World(limits=Limits(open_orders=0, remembered_orders=0))
    assert why(world.buy(ALICE, 1, 1)) == "too_many_orders"


def test_the_last_free_slot_is_used_and_no_further_one() -> None:
    world = World(limits=Limits(open_orders=3))
    orders = [accepted(world.buy(ALICE, 1, 1)) for _ in range(3)]
    assert why(world.buy(BOB, 1, 1)) == "too_many_orders"
    world.cancel(ALICE, orders[1])
    assert accepted(world.buy(CAROL, 1, 1)) & 0xFFFFFF == 1


# -------------------------------------------------------------------------- questions


def test_all_questions_are_answered_as_the_reference_answers_them() -> None:
    native, reference, drawn = busy()
    assert native.assets() == reference.assets()
    assert dict(native.markets()) == dict(reference.markets())
    assert native.customers() == reference.customers()
    assert native.live_holds() == reference.live_holds()
    assert native.all_open_orders() == reference.all_open_orders()
    for customer in (0, *drawn.customers, 99, 1 << 40, -1):
        assert native.balances(customer) == reference.balances(customer)
        assert native.open_orders(customer) == reference.open_orders(customer)
    for asset in native.assets():
        assert native.totals(asset) == reference.totals(asset)
    for market in native.markets():
        for levels in (0, 1, 3, 1_000):
            assert native.depth(market, levels) == reference.depth(market, levels)
    for order in (*native.all_open_orders(), None):
        order_id = order.order_id if order else 77
        assert native.order(order_id) == reference.order(order_id)
    for placed in drawn.placed[-500:]:
        key = {"customer_no": placed.customer_no, "client_order_id": placed.client_order_id}
        assert native.order_id_of(**key) == reference.order_id_of(**key)


def test_what_is_unknown_is_refused_or_nothing() -> None:
    native, _, _ = busy(100)
    for question in (lambda: native.totals(9), lambda: native.depth(9, 1)):
        with pytest.raises(Refused):
            question()
    assert native.order_id_of(customer_no=1, client_order_id=1 << 200) is None
    assert native.order(1 << 64) is None


def test_a_command_that_fits_no_record_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        NativeEngine().apply(AddAsset(asset_no=1 << 16), sequence=1, time_ns=START_NS)
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
