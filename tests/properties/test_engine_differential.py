"""L09: the reference engine against a naive one that shares no code with it.

STRONGROOM_TEST_COMMANDS sets how many commands are drawn in all; the default fits `make test`.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from engine import events as e
from engine.invariants import check_invariants
from engine.laboratory.drawn import ASSETS, Commands
from engine.laboratory.weather import FewLevels, Fine, Rough, TightLimits
from engine.reference import ReferenceEngine
from tests.unit.engine.naive import Naive, Row

COMMANDS = int(os.environ.get("STRONGROOM_TEST_COMMANDS", "24000"))
SEEDS = range(8)


class Names:
    """Turns the engine's events into the naive engine's rows: orders by customer and client id."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[int, int]] = {}

    def row(self, event: e.Event) -> Row:
        """Return the row of one event."""
        match event:
            case e.OrderAccepted():
                self._of[event.order_id] = (event.customer_no, event.client_order_id)
                return ("accepted", *self._of[event.order_id])
            case e.OrderRejected():
                return ("rejected", event.reason.name)
            case e.OrderDuplicate():
                assert self._of[event.order_id] == (event.customer_no, event.client_order_id)
                return ("duplicate", *self._of[event.order_id])
            case e.Trade():
                taker, maker = self._of[event.taker_order_id], self._of[event.maker_order_id]
                assert (taker[0], maker[0]) == (event.taker_customer_no, event.maker_customer_no)
                return ("trade", *taker, *maker, event.price_ticks, event.quantity_lots)
            case e.OrderReduced():
                return ("reduced", *self._of[event.order_id], event.reduced_lots)
            case e.OrderReplaced():
                order = self._of[event.order_id]
                return ("replaced", *order, event.remaining_lots, event.kept_priority)
            case e.OrderFilled():
                return ("filled", *self._of[event.order_id])
            case e.OrderCancelled():
                order = self._of[event.order_id]
                return ("cancelled", *order, event.cancelled_lots, event.reason.name)
            case e.OrdersCancelled():
                return ("all", event.count)
            case _:
                return self._money(event)

    def _money(self, event: e.Event) -> Row:
        match event:
            case e.Credited():
                return ("credited", event.number, event.amount)
            case e.Debited():
                return ("debited", event.number, event.amount_taken, event.shortfall)
            case e.Held():
                return ("held", event.number, event.amount)
            case e.Captured():
                return ("captured", event.number, event.hold_number, event.amount)
            case e.Released():
                return ("released", event.number, event.hold_number, event.amount)
            case e.FundingRefused():
                return ("refused", event.number, event.reason.name)
            case e.FundingRepeated():
                return ("repeated", event.number)
            case e.ConfigRefused():
                return ("config", event.reason.name)
            case e.MarketCollarSet():
                return ("config", "", event.reference_ticks)
            case _:
                return ("config", "")


def assert_same_balances(engine: ReferenceEngine, naive: Naive, drawn: Commands) -> None:
    for customer_no in drawn.customers:
        balances = engine.balances(customer_no)
        for asset_no in ASSETS:
            naively = (
                naive.free(customer_no, asset_no),
                naive.locked(customer_no, asset_no),
                naive.held(customer_no, asset_no),
            )
            assert tuple(balances.get(asset_no, (0, 0, 0))) == naively


@pytest.mark.parametrize(
    ("weather", "seed"), [*((Fine, seed) for seed in SEEDS), (TightLimits, 8), (FewLevels, 9)]
)
def test_L09_the_engine_and_a_naive_one_say_the_same(weather: type[Rough], seed: int) -> None:
    drawn, engine, names = weather(seed), ReferenceEngine(weather.limits), Names()
    naive = Naive(weather.limits)
    seen: Counter[object] = Counter()
    opening = list(drawn.opening())
    for n in range(len(opening) + COMMANDS // len(SEEDS)):
        command = opening[n] if n < len(opening) else drawn.next()
        events = engine.apply(command, sequence=n + 1, time_ns=drawn.time_ns)
        drawn.observe(events)
        rows = [names.row(event) for event in events]
        assert rows == naive.apply(command, drawn.time_ns), f"seed {seed} command {n}: {command}"
        seen.update(row[0] if row[0] not in {"rejected", "refused"} else row[:3:2] for row in rows)
        seen.update(row[1] for row in rows if row[0] in {"rejected", "config"})
        seen.update(row[-1] for row in rows if row[0] == "cancelled")
        if n % 100 == 0:
            check_invariants(engine)
            assert_same_balances(engine, naive, drawn)
    assert_same_balances(engine, naive, drawn)
    check_invariants(engine)
    if COMMANDS >= 24_000 and weather is Fine:
        rare = {"duplicate", "trade", "reduced", "replaced", "repeated", "WOULD_CROSS"}
        rare |= {"WOULD_NOT_FILL", "EXCEEDS_AVAILABLE", "MARKET_HALTED", "UNKNOWN_ORDER"}
        rare |= {"MARKET_RETIRED", "OUTSIDE_COLLAR"}
        assert rare <= set(seen), f"never happened: {rare - set(seen)}"
