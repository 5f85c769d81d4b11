"""Every arithmetic edge, at it and one beyond; after each command the invariants hold (I3, I11)."""

from __future__ import annotations

import struct

import pytest

from core.clock import DAY_NS
from core.errors import Corrupt, Reason, Refused
from engine.base import (
    ISSUE_AGE_LIMIT_NS,
    ISSUE_LEAD_LIMIT_NS,
    REMEMBER_NS,
    SEQUENCE_LIMIT,
)
from engine.commands import (
    AddAsset,
    CancelAll,
    Capture,
    Credit,
    RetireMarket,
    SetMarketFees,
)
from engine.enums import RejectReason, Side
from engine.events import (
    ConfigRefused,
    Credited,
    FundingRefused,
    FundingRepeated,
    MarketAdded,
    MarketRetired,
    OrderAccepted,
    OrderCancelled,
    OrderDuplicate,
)
from engine.factory import engine_factory
from engine.invariants import check_invariants
from engine.records import RECORD_BYTES, pack_command
from engine.reference import ReferenceEngine
from tests.unit.engine.world import (
    ALICE,
    BASE,
    BOB,
    CAROL,
    IOC,
    MARKET,
    QUOTE,
    World,
    accepted,
    cancelled,
    market,
    trades,
    why,
)

pytestmark = pytest.mark.usefixtures("each_engine")

LARGEST = (1 << 96) - 1
HIGHEST = (1 << 63) - 1


def rich_world(amount: int = LARGEST, **changes: int) -> World:
    """Return a market where two customers own as much as one command can bring."""
    world = World(rich=0, opened=market(**changes))
    for customer_no in (ALICE, BOB):
        for asset_no in (BASE, QUOTE):
            world.credit(customer_no, asset_no, amount)
    return world


# ------------------------------------------------------------- prices, quantities, units


@pytest.mark.parametrize("price", [0, -1, -HIGHEST, -HIGHEST - 1])
def test_no_price_below_one_tick_is_taken(price: int) -> None:
    world = rich_world()
    order_id = accepted(world.buy(ALICE, 1, 1))
    for side in Side:
        assert why(world.do(world.order(BOB, side, price, 1))) == "invalid_price"
        assert why(world.do(world.order(BOB, side, price, HIGHEST))) == "invalid_price"
    assert why(world.replace(ALICE, order_id, price, 1)) == "invalid_price"


@pytest.mark.parametrize("lots", [0, -1, -HIGHEST, -HIGHEST - 1])
def test_no_quantity_below_one_lot_is_taken(lots: int) -> None:
    world = rich_world()
    order_id = accepted(world.buy(ALICE, 1, 1))
    for side in Side:
        assert why(world.do(world.order(BOB, side, 1, lots))) == "invalid_quantity"
        assert why(world.do(world.order(BOB, side, HIGHEST, lots))) == "invalid_quantity"
    assert why(world.replace(ALICE, order_id, 1, lots)) == "invalid_quantity"


def test_the_highest_price_and_the_largest_quantity_trade_alone_and_not_together() -> None:
    world = rich_world()
    accepted(world.sell(ALICE, HIGHEST, 1))
    assert trades(world.buy(BOB, HIGHEST, 1)) == [(ALICE, HIGHEST, 1)]
    accepted(world.sell(ALICE, 1, HIGHEST))
    assert trades(world.buy(BOB, 1, HIGHEST)) == [(ALICE, 1, HIGHEST)]
    assert why(world.buy(BOB, HIGHEST, HIGHEST)) == "amount_out_of_range"
    assert why(world.sell(BOB, HIGHEST, HIGHEST)) == "amount_out_of_range"
    order_id = accepted(world.buy(BOB, 1, 1))
    assert why(world.replace(BOB, order_id, HIGHEST, HIGHEST)) == "amount_out_of_range"


@pytest.mark.parametrize(
    ("tick", "price", "lots", "is_taken"),
    [
        (3, ((1 << 48) - 1) // 3, (1 << 48) + 1, True),  # exactly 2^96 - 1
        (1, 1 << 48, 1 << 48, False),  # exactly 2^96
        (4, 1 << 47, 1 << 47, False),
        (1 << 64, 1 << 31, 2, False),  # whose lower 96 bits are zero
        (1 << 64, (1 << 32) - 1, 1, True),
        (1 << 64, 1 << 32, 1, False),
        (LARGEST, 1, 1, True),
        (LARGEST, 1, 2, False),
        (LARGEST, 2, 1, False),
        (LARGEST, HIGHEST, HIGHEST, False),  # 222 bits
        (1 << 95, 2, 1, False),
        ((1 << 95) - 1, 2, 1, True),
        (1 << 66, 1 << 62, 1, False),  # the product is 2^128: nothing is left of it in 128 bits
        (1 << 4, 1 << 62, 1 << 62, False),
    ],
)
def test_L05_a_notional_of_2_96_is_out_of_range_and_one_less_is_not(
    tick: int, price: int, lots: int, is_taken: bool
) -> None:
    world = rich_world(tick_minor=tick)
    resting, crossing = world.buy(ALICE, price, lots), world.sell(BOB, price, lots)
    if is_taken:
        assert isinstance(resting[0], OrderAccepted)
        assert trades(crossing) == [(ALICE, price, lots)]
    else:
        assert why(resting) == why(crossing) == "amount_out_of_range"


@pytest.mark.parametrize(
    ("lot", "lots", "is_taken"),
    [(LARGEST, 1, True), (LARGEST, 2, False), (1 << 95, 2, False), ((1 << 95) - 1, 2, True),
     (1 << 33, HIGHEST, True), (1 << 34, 1 << 62, False), (1 << 66, 1 << 62, False)],
)  # fmt: skip
def test_L05_a_quantity_of_2_96_is_out_of_range_and_one_less_is_not(
    lot: int, lots: int, is_taken: bool
) -> None:
    world = rich_world(lot_minor=lot)
    answer = world.sell(ALICE, 1, lots)
    assert (isinstance(answer[0], OrderAccepted)) == is_taken
    assert is_taken or why(answer) == "amount_out_of_range"


@pytest.mark.parametrize("name", ["tick_minor", "lot_minor"])
def test_a_market_of_no_units_or_of_too_many_is_refused(name: str) -> None:
    world = World(rich=0)
    [event] = world.do(market(market_no=2, **{name: 0}))
    assert isinstance(event, ConfigRefused)
    assert event.reason is RejectReason.AMOUNT_OUT_OF_RANGE
    assert isinstance(world.do(market(market_no=2, **{name: LARGEST}))[0], MarketAdded)
    with pytest.raises(Refused) as refused:
        pack_command(market(market_no=3, **{name: LARGEST + 1}))
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize(("maker", "taker"), [(10**6, 0), (0, 10**6), (10**6, 10**6)])
@pytest.mark.parametrize("taker_side", list(Side))
def test_fees_of_the_whole_leave_nothing_and_lose_nothing(
    maker: int, taker: int, taker_side: Side
) -> None:
    world = rich_world(tick_minor=LARGEST, lot_minor=LARGEST, maker_ppm=maker, taker_ppm=taker)
    buyer, seller = (BOB, ALICE) if taker_side is Side.BUY else (ALICE, BOB)
    world.do(world.order(ALICE, Side(3 - taker_side), 1, 1))
    assert trades(world.do(world.order(BOB, taker_side, 1, 1))) == [(ALICE, 1, 1)]
    buyer_ppm, seller_ppm = (taker, maker) if taker_side is Side.BUY else (maker, taker)
    assert world.engine.totals(BASE).fees == LARGEST * buyer_ppm // 10**6
    assert world.engine.totals(QUOTE).fees == LARGEST * seller_ppm // 10**6
    assert world.balance(buyer, QUOTE) == world.balance(seller, BASE) == (0, 0, 0)


@pytest.mark.parametrize("ppm", [10**6 + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_no_fee_is_more_than_the_whole(ppm: int) -> None:
    world = World()
    for command in (
        SetMarketFees(market_no=MARKET, maker_ppm=ppm, taker_ppm=0),
        SetMarketFees(market_no=MARKET, maker_ppm=0, taker_ppm=ppm),
        market(market_no=2, maker_ppm=ppm),
        market(market_no=2, taker_ppm=ppm),
    ):
        [event] = world.do(command)
        assert isinstance(event, ConfigRefused)
        assert event.reason is RejectReason.AMOUNT_OUT_OF_RANGE


# -------------------------------------------------------------------------------- money


@pytest.mark.parametrize("amount", [LARGEST, LARGEST - 1, 1])
def test_the_supply_of_an_asset_stays_below_2_127_whoever_owns_it(amount: int) -> None:
    world = World(rich=0)
    rich = ReferenceEngine.load(world.engine.dump())
    rich._state.balances.enter(ALICE, QUOTE, (1 << 127) - 1 - amount)
    world.engine = engine_factory(World.kind).load(rich.dump())
    assert isinstance(world.credit(BOB, QUOTE, amount), Credited)
    for customer_no in (ALICE, BOB, CAROL):
        refused = world.credit(customer_no, QUOTE, 1)
        assert isinstance(refused, FundingRefused)
        assert refused.reason is RejectReason.BALANCE_OVERFLOW
    assert isinstance(world.credit(BOB, BASE, 1), Credited)
    world.debit(ALICE, QUOTE, 1)
    assert isinstance(world.credit(BOB, QUOTE, 1), Credited)


def test_a_balance_at_the_limit_trades_without_overflow() -> None:
    world = World(rich=0, opened=market(tick_minor=LARGEST, maker_ppm=10**6, taker_ppm=1))
    rich = ReferenceEngine.load(world.engine.dump())
    rich._state.balances.enter(ALICE, QUOTE, (1 << 127) - 1)
    rich._state.balances.enter(BOB, BASE, (1 << 127) - 1)
    world.engine = engine_factory(World.kind).load(rich.dump())
    check_invariants(world.engine)
    accepted(world.sell(BOB, 1, 1))
    assert trades(world.buy(ALICE, 1, 1)) == [(BOB, 1, 1)]
    assert world.balance(ALICE, QUOTE)[0] == (1 << 127) - 1 - LARGEST


def test_an_amount_of_2_96_fits_no_record() -> None:
    for amount in (LARGEST + 1, 1 << 127, 1 << 128, -1):
        with pytest.raises(Refused) as refused:
            pack_command(Credit(number=1, customer_no=1, asset_no=1, amount=amount))
        assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize("number", [2, 3, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_funding_number_that_leaves_a_gap_is_corrupt_and_changes_nothing(number: int) -> None:
    world = World(rich=0)
    before = world.engine.dump()
    command = Credit(number=number, customer_no=1, asset_no=BASE, amount=1)
    with pytest.raises(Corrupt):
        world.engine.apply_records(
            pack_command(command),
            first_sequence=world.engine.sequence + 1,
            time_ns=world.time_ns,
        )
    assert world.engine.dump() == before


def test_the_last_funding_number_there_is_is_used_and_repeated() -> None:
    world = World(rich=0)
    late = ReferenceEngine.load(world.engine.dump())
    late._state.funding_number = (1 << 64) - 2
    world.engine = engine_factory(World.kind).load(late.dump())
    last = Credit(number=(1 << 64) - 1, customer_no=ALICE, asset_no=BASE, amount=7)
    assert isinstance(world.do(last)[0], Credited)
    assert isinstance(world.do(last)[0], FundingRepeated)
    assert world.balance(ALICE, BASE) == (7, 0, 0)


# ------------------------------------------------------------------------- names, ids


@pytest.mark.parametrize("customer_no", [0, 1, (1 << 31), (1 << 32) - 1])
@pytest.mark.parametrize("client", [0, 1, 1 << 64, (1 << 64) + 1, (1 << 127), (1 << 128) - 1])
def test_every_customer_and_client_id_is_as_good_as_any_other(
    customer_no: int, client: int
) -> None:
    world = World(rich=10**6)
    world.credit(customer_no, QUOTE, 100)
    order = world.order(customer_no, Side.BUY, 5, 2, client_order_id=client)
    order_id = accepted(world.do(order))
    assert isinstance(world.do(order)[0], OrderDuplicate)
    other = world.order(customer_no, Side.BUY, 5, 1, client_order_id=client)
    assert why(world.do(other)) == "duplicate_other_content"
    swapped = world.order(customer_no, Side.BUY, 5, 1, client_order_id=client ^ 1 << 64)
    accepted(world.do(swapped))
    found = world.engine.order_id_of(customer_no=customer_no, client_order_id=client)
    assert found == order_id
    assert cancelled(world.cancel(customer_no, order_id)) == [(customer_no, 2, "REQUESTED")]


@pytest.mark.parametrize("no", [0, 1 << 15, (1 << 16) - 1])
def test_every_asset_number_is_as_good_as_any_other_and_market_zero_is_none(no: int) -> None:
    world = World(rich=0)
    world.do(AddAsset(asset_no=no))
    opened = world.do(market(market_no=no, base_asset_no=no, lot_minor=2))
    if not no:
        assert isinstance(opened[0], ConfigRefused)
        assert opened[0].reason is RejectReason.AMOUNT_OUT_OF_RANGE
        return
    world.credit(ALICE, no, 10)
    world.credit(BOB, QUOTE, 10)
    accepted(world.sell(ALICE, 2, 5, market_no=no))
    assert trades(world.buy(BOB, 2, 5, market_no=no)) == [(ALICE, 2, 5)]
    assert world.balance(BOB, no) == (10, 0, 0)
    assert isinstance(world.do(RetireMarket(market_no=no))[-1], MarketRetired)


@pytest.mark.parametrize("order_id", [0, 1, (1 << 24) - 1, 1 << 24, 1 << 63, (1 << 64) - 1])
def test_an_order_id_that_was_never_given_is_unknown(order_id: int) -> None:
    world = World()
    accepted(world.buy(ALICE, 1, 1))
    assert why(world.cancel(ALICE, order_id)) == "unknown_order"
    assert why(world.replace(ALICE, order_id, 1, 1)) == "unknown_order"


@pytest.mark.parametrize("hold_number", [0, 1, (1 << 64) - 1])
def test_a_hold_that_was_never_made_is_unknown(hold_number: int) -> None:
    world = World()
    event = world.end_hold(Capture, hold_number, ALICE, BASE, 1)
    assert isinstance(event, FundingRefused)
    assert event.reason is RejectReason.UNKNOWN_HOLD


def at_sequence(world: World, sequence: int) -> None:
    """Let the world's engine stand at a sequence."""
    dump = bytearray(world.engine.dump())
    struct.pack_into("<Q", dump, 8, sequence)
    world.engine = engine_factory(World.kind).load(bytes(dump))


def test_the_last_sequence_is_used_and_no_further_one() -> None:
    world = World()
    at_sequence(world, SEQUENCE_LIMIT - 3)
    order_id = accepted(world.buy(ALICE, 5, 1))
    assert order_id >> 24 == SEQUENCE_LIMIT - 2
    assert isinstance(world.cancel(ALICE, order_id)[0], OrderCancelled)
    before = world.engine.dump()
    command = pack_command(CancelAll(customer_no=ALICE))
    for batch in (command, command * 2):
        with pytest.raises(Corrupt):
            world.engine.apply_records(batch, first_sequence=SEQUENCE_LIMIT, time_ns=world.time_ns)
    assert world.engine.dump() == before


def test_a_batch_that_would_pass_the_last_sequence_is_corrupt_as_a_whole() -> None:
    world = World()
    at_sequence(world, SEQUENCE_LIMIT - 3)
    before, command = world.engine.dump(), pack_command(CancelAll(customer_no=ALICE))
    first = SEQUENCE_LIMIT - 2
    with pytest.raises(Corrupt):
        world.engine.apply_records(command * 3, first_sequence=first, time_ns=world.time_ns)
    assert world.engine.dump() == before
    answer = world.engine.apply_records(command * 2, first_sequence=first, time_ns=world.time_ns)
    assert len(answer) == 2 * RECORD_BYTES


# --------------------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("time_ns", "issued_ns", "reason"),
    [
        (HIGHEST, -HIGHEST - 1, "issued_too_long_ago"),
        (HIGHEST, HIGHEST - ISSUE_AGE_LIMIT_NS - 1, "issued_too_long_ago"),
        (HIGHEST, HIGHEST - ISSUE_AGE_LIMIT_NS, None),
        (HIGHEST, HIGHEST, None),
        (HIGHEST - ISSUE_LEAD_LIMIT_NS, HIGHEST, None),
        (HIGHEST - ISSUE_LEAD_LIMIT_NS - 1, HIGHEST, "issued_in_future"),
        (DAY_NS, HIGHEST, "issued_in_future"),
        (DAY_NS, 0, None),
        (DAY_NS, -1, "issued_too_long_ago"),
        (0, -ISSUE_AGE_LIMIT_NS, None),
    ],
)
def test_the_age_of_an_order_overflows_nothing(
    time_ns: int, issued_ns: int, reason: str | None
) -> None:
    world = World(rich=0)
    dump = bytearray(world.engine.dump())
    struct.pack_into("<q", dump, 16, 0)
    world.engine, world.time_ns = engine_factory(World.kind).load(bytes(dump)), time_ns
    world.credit(ALICE, QUOTE, 10)
    answer = world.buy(ALICE, 1, 1, issued_ns=issued_ns)
    assert isinstance(answer[0], OrderAccepted) if reason is None else why(answer) == reason


@pytest.mark.parametrize("lead_ns", [0, ISSUE_LEAD_LIMIT_NS])
def test_a_closed_order_is_remembered_to_the_last_nanosecond_in_which_it_could_be_retried(
    lead_ns: int,
) -> None:
    world = World()
    order = world.order(ALICE, Side.BUY, 1, 1, issued_ns=world.time_ns + lead_ns, **IOC)
    accepted(world.do(order))
    closed_ns = world.time_ns
    world.time_ns = closed_ns + REMEMBER_NS
    assert isinstance(world.do(order)[0], OrderDuplicate)
    world.time_ns += 1
    assert why(world.do(order)) == "issued_too_long_ago"


def test_memory_ends_without_overflow_at_the_end_of_time() -> None:
    world = World()
    world.time_ns = HIGHEST - 1
    order = world.order(ALICE, Side.BUY, 1, 1, **IOC)
    accepted(world.do(order))
    world.time_ns = HIGHEST
    assert isinstance(world.do(order)[0], OrderDuplicate)
