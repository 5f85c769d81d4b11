"""Engines that differ are found, and the story that shows it becomes a short one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import Corrupt
from engine.base import Engine, Limits
from engine.commands import CancelAll, Capture, Command, PlaceOrder
from engine.enums import Side
from engine.events import Event, OrderCancelled, Trade
from engine.laboratory.differential import (
    Difference,
    Pair,
    compare_engines,
    reference_and_native,
    shrink,
)
from engine.laboratory.weather import WEATHER, Fine, Rough, TightLimits
from engine.reference import ReferenceEngine


class Generous(ReferenceEngine):
    """Says of every fill of a sell taker in market 2 that it was one tick better."""

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        return [
            replace(event, price_ticks=event.price_ticks + 1)
            if isinstance(event, Trade) and event.market_no == 2 and event.taker_side is Side.SELL
            else event
            for event in super().apply(command, sequence=sequence, time_ns=time_ns)
        ]


class Forgetful(ReferenceEngine):
    """Answers as it should, and has another state once a hold was captured."""

    captured = False

    def apply(self, command: Command, *, sequence: int, time_ns: int) -> list[Event]:
        events = super().apply(command, sequence=sequence, time_ns=time_ns)
        refused = any("Refused" in type(event).__name__ for event in events)
        self.captured = self.captured or (isinstance(command, Capture) and not refused)
        return events

    def dump(self) -> bytes:
        return super().dump() + (b"x" if self.captured else b"")


class Timid(ReferenceEngine):
    """Does not take a batch in which a customer cancels two orders at once."""

    def apply_records(self, records: bytes, *, first_sequence: int, time_ns: int) -> bytes:
        before = super().apply_records(records, first_sequence=first_sequence, time_ns=time_ns)
        if records[::64].count(18) and before[::64].count(23) >= 2:
            raise Corrupt("two at once")
        return before


def pair_with(faulty: type[ReferenceEngine]) -> Pair:
    def pair(limits: Limits) -> tuple[Engine, Engine]:
        return ReferenceEngine(limits), faulty(limits)

    return pair


def shown(weather: type[Rough], faulty: type[ReferenceEngine]) -> tuple[Difference, Difference]:
    """Return the first difference and what is left of it."""
    found = compare_engines(weather, 5, 5_000, pair_with(faulty))
    assert found is not None
    return found, shrink(found, pair_with(faulty))


@pytest.mark.parametrize("weather", WEATHER)
def test_the_engines_of_the_product_agree(weather: type[Rough]) -> None:
    assert compare_engines(weather, 11, 400) is None


@pytest.mark.parametrize("weather", [Fine, TightLimits])
def test_a_wrong_event_is_shown_by_the_commands_that_it_needs(weather: type[Rough]) -> None:
    found, small = shown(weather, Generous)
    # Two assets, a market, two people's money, two orders, perhaps one of them replaced.
    assert len(small.steps) <= 8 < len(found.steps)
    assert "Trade" in small.what
    assert sum(isinstance(step.command, PlaceOrder) for step in small.steps) == 2


def test_a_wrong_state_is_shown_with_the_hold_it_needs() -> None:
    found, small = shown(Fine, Forgetful)
    # An asset, money, a hold, its capture: the numbers of funding are told anew.
    assert len(small.steps) == 4 < len(found.steps)
    assert small.what.startswith("the states at 4 differ")


def test_a_batch_that_is_not_taken_is_a_difference() -> None:
    found, small = shown(Fine, Timid)
    assert len(small.steps) < len(found.steps)
    assert "two at once" in small.what
    assert any(isinstance(step.command, CancelAll) for step in small.steps)


def test_what_is_left_is_told_in_batches_that_show_it() -> None:
    _, small = shown(Fine, Generous)
    reference, faulty = pair_with(Generous)(small.limits)
    answers = []
    for engine in (reference, faulty):
        events = b""
        for batch in small.batches():
            events += engine.apply_records(
                batch.records, first_sequence=engine.sequence + 1, time_ns=batch.time_ns
            )
        answers.append(events)
    assert answers[0] != answers[1]


def test_engines_that_agree_leave_nothing_to_shrink() -> None:
    found, _ = shown(Fine, Generous)
    assert shrink(found, reference_and_native) == found


def test_who_watches_sees_every_event_and_both_engines() -> None:
    seen: list[Event] = []
    ends: list[bool] = []

    def after_batch(specification: Engine, tested: Engine) -> None:
        ends.append(specification.sequence == tested.sequence)

    compare_engines(Fine, 3, 500, saw=seen.extend, after_batch=after_batch)
    assert any(isinstance(event, OrderCancelled) for event in seen)
    assert ends
    assert all(ends)
