"""Money in and out of the engine, and L05: nothing overflows, nothing is rounded."""

from __future__ import annotations

import pytest

from core.errors import Corrupt
from engine.commands import Capture, Credit, Release
from engine.enums import CommandKind, RejectReason
from engine.events import (
    Captured,
    Credited,
    Debited,
    FundingRefused,
    FundingRepeated,
    Held,
    Released,
)
from engine.factory import engine_factory
from engine.reference import ReferenceEngine
from tests.unit.engine.world import (
    ALICE,
    BASE,
    BOB,
    ONLY_REFERENCE,
    QUOTE,
    World,
    accepted,
    cancelled,
    market,
)

pytestmark = pytest.mark.usefixtures("each_engine")


def test_a_credit_is_available_at_once() -> None:
    world = World(rich=0)
    event = world.credit(ALICE, QUOTE, 5)
    assert event == Credited(
        sequence=world.engine.sequence, number=1, customer_no=ALICE, asset_no=QUOTE, amount=5
    )
    assert world.balance(ALICE, QUOTE) == (5, 0, 0)


def test_a_repeated_number_has_no_effect() -> None:
    world = World(rich=0)
    world.credit(ALICE, QUOTE, 5)
    world.credit(ALICE, QUOTE, 6)
    for number in (1, 2):
        [event] = world.do(Credit(number=number, customer_no=ALICE, asset_no=QUOTE, amount=9))
        assert isinstance(event, FundingRepeated)
        assert event.number == number
    assert world.balance(ALICE, QUOTE) == (11, 0, 0)
    assert world.engine.funding_number == 2


def test_L10_a_number_that_leaves_a_gap_is_corrupt() -> None:
    world = World()
    before = world.engine.funding_number
    with pytest.raises(Corrupt, match="funding number"):
        world.do(Credit(number=before + 2, customer_no=ALICE, asset_no=QUOTE, amount=1))


def test_a_refused_number_is_used_up() -> None:
    world = World(rich=0)
    event = world.hold(ALICE, QUOTE, 1)
    assert isinstance(event, FundingRefused)
    assert (event.number, event.reason) == (1, RejectReason.EXCEEDS_AVAILABLE)
    assert (event.command, event.amount) == (CommandKind.HOLD, 1)
    assert isinstance(world.credit(ALICE, QUOTE, 1), Credited)
    assert world.engine.funding_number == 2


@ONLY_REFERENCE
@pytest.mark.parametrize(
    ("asset_no", "amount", "reason"),
    [
        (99, 1 << 96, "AMOUNT_OUT_OF_RANGE"),
        (99, 0, "UNKNOWN_ASSET"),
        (QUOTE, 0, "ZERO_AMOUNT"),
        (QUOTE, -1, "AMOUNT_OUT_OF_RANGE"),
    ],
)
def test_bad_amounts_are_refused_in_order_of_precedence(
    asset_no: int, amount: int, reason: str
) -> None:
    world = World(rich=0)
    for event in (
        world.credit(ALICE, asset_no, amount),
        world.hold(ALICE, asset_no, amount),
        world.debit(ALICE, asset_no, amount)[-1],
    ):
        assert isinstance(event, FundingRefused)
        assert event.reason.name == reason


def test_a_hold_is_captured_or_released_once_and_whole() -> None:
    world = World(rich=100)
    held = world.hold(ALICE, QUOTE, 60)
    assert isinstance(held, Held)
    assert world.balance(ALICE, QUOTE) == (40, 0, 60)
    assert [hold.number for hold in world.engine.live_holds()] == [held.number]
    other = world.end_hold(Capture, held.number, ALICE, QUOTE, 59)
    assert isinstance(other, FundingRefused)
    assert other.reason is RejectReason.EXISTS_WITH_OTHER_CONTENT
    assert isinstance(world.end_hold(Capture, held.number, ALICE, QUOTE, 60), Captured)
    assert world.balance(ALICE, QUOTE) == (40, 0, 0)
    for verb in (Capture, Release):
        again = world.end_hold(verb, held.number, ALICE, QUOTE, 60)
        assert isinstance(again, FundingRefused)
        assert again.reason is RejectReason.UNKNOWN_HOLD
        assert again.hold_number == held.number
    assert world.engine.live_holds() == []


def test_a_released_hold_is_available_again() -> None:
    world = World(rich=100)
    held = world.hold(ALICE, QUOTE, 60)
    assert isinstance(held, Held)
    assert isinstance(world.end_hold(Release, held.number, ALICE, QUOTE, 60), Released)
    assert world.balance(ALICE, QUOTE) == (100, 0, 0)


def test_locked_and_held_money_cannot_be_held_again() -> None:
    world = World(rich=100)
    accepted(world.buy(ALICE, 10, 6))
    assert isinstance(world.hold(ALICE, QUOTE, 30), Held)
    refused = world.hold(ALICE, QUOTE, 11)
    assert isinstance(refused, FundingRefused)
    assert world.balance(ALICE, QUOTE) == (10, 60, 30)


def test_a_debit_cancels_orders_takes_what_there_is_and_reports_the_rest() -> None:
    world = World(rich=100)
    accepted(world.buy(ALICE, 10, 6))
    accepted(world.sell(ALICE, 20, 5))
    accepted(world.buy(BOB, 10, 1))
    world.hold(ALICE, QUOTE, 30)
    events = world.debit(ALICE, QUOTE, 95)
    assert cancelled(events) == [(ALICE, 6, "DEBIT"), (ALICE, 5, "DEBIT")]
    assert isinstance(events[-1], Debited)
    assert (events[-1].amount_taken, events[-1].shortfall) == (70, 25)
    assert world.balance(ALICE, QUOTE) == (0, 0, 30)
    assert world.balance(ALICE, BASE) == (100, 0, 0)
    assert world.bids() == [(10, 1)]


def test_a_debit_of_somebody_without_money_is_all_shortfall() -> None:
    world = World(rich=0)
    [event] = world.debit(ALICE, QUOTE, 5)
    assert isinstance(event, Debited)
    assert (event.amount_taken, event.shortfall) == (0, 5)
    assert world.balance(ALICE, QUOTE) == (0, 0, 0)


def test_L05_no_credit_brings_an_asset_to_2_127() -> None:
    world = World(rich=0)
    largest = (1 << 96) - 1
    times = 1 << 31
    rich = ReferenceEngine.load(world.engine.dump())
    rich._state.balances.enter(ALICE, QUOTE, largest * times)
    world.engine = engine_factory(World.kind).load(rich.dump())
    room = (1 << 127) - 1 - largest * times
    assert isinstance(world.credit(BOB, QUOTE, room), Credited)
    refused = world.credit(BOB, QUOTE, 1)
    assert isinstance(refused, FundingRefused)
    assert refused.reason is RejectReason.BALANCE_OVERFLOW
    assert world.engine.totals(QUOTE).supply == (1 << 127) - 1


def test_L05_eighteen_decimals_on_both_sides_are_exact() -> None:
    ether = 10**18
    world = World(
        rich=0, opened=market(tick_minor=10**10, lot_minor=10**10, taker_ppm=1000, maker_ppm=500)
    )
    world.credit(ALICE, BASE, 10 * ether)
    world.credit(BOB, QUOTE, 25_000 * ether)
    lots, ticks = 10 * 10**8, 2_500  # tick_minor is quote per tick *per lot*
    accepted(world.sell(ALICE, ticks, lots))
    accepted(world.buy(BOB, ticks, lots))
    quote = ticks * lots * 10**10
    assert quote == 25_000 * ether
    assert world.balance(BOB, BASE) == (10 * ether - 10 * ether // 1000, 0, 0)
    assert world.balance(ALICE, QUOTE) == (quote - quote * 500 // 10**6, 0, 0)
    assert world.balance(BOB, QUOTE) == (0, 0, 0)


def test_L05_many_trades_of_one_unit_pay_a_whole_unit_of_fee_each() -> None:
    world = World(opened=market(maker_ppm=1_000, taker_ppm=1_000))
    for _ in range(1_000):
        world.sell(ALICE, 1, 1)
        world.buy(BOB, 1, 1)
    assert world.engine.totals(BASE).fees == 1_000
    assert world.engine.totals(QUOTE).fees == 1_000
    assert world.balance(ALICE, BASE)[0] == 10**6 - 1_000
    assert world.balance(ALICE, QUOTE)[0] == 10**6


def test_orders_just_below_2_96_pass_and_above_are_refused() -> None:
    world = World(rich=0, opened=market(tick_minor=1 << 40))
    for _ in range(2):
        world.credit(ALICE, QUOTE, (1 << 96) - 1)
    accepted(world.buy(ALICE, (1 << 28) - 1, 1 << 28))
    [event] = world.buy(ALICE, 1 << 28, 1 << 28)
    assert getattr(event, "reason", None) is RejectReason.AMOUNT_OUT_OF_RANGE
