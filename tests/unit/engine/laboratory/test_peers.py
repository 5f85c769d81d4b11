"""What engines from PyPI are told is what ours was told, and is told them in their own words."""

from __future__ import annotations

from typing import Any

import pytest

from engine.events import Event
from engine.laboratory import measuring
from engine.laboratory.workloads import NOW_NS, make
from engine.native.engine import NativeEngine
from engine.records import unpack_events
from tests.benchmarks.peers import VERSIONS, Asked, Ran, asked_of
from tests.benchmarks.peers_run import (
    BUY,
    COMMAND,
    DRIVERS,
    PLACE,
    SELL,
    UNKNOWN,
    Driver,
    Traded,
    say,
)


@pytest.fixture(scope="module")
def asked() -> Asked:
    work = make("w1", seed=1, commands=3_000, waiting=2_000, engine=NativeEngine())
    engine, events = NativeEngine(), list[Event]()
    for piece in measuring.pieces_of(work.opening, measuring.OPENING_BATCH):
        first = engine.sequence + 1
        events += unpack_events(engine.apply_records(piece, first_sequence=first, time_ns=NOW_NS))
    return asked_of(work, engine, events, 3_000)


class Plain(Driver):
    """The plainest book there is: one list, sorted for every order."""

    module = "json"

    def __init__(self) -> None:
        super().__init__()
        self.open: list[list[int]] = []

    def place(self, key: int, side: int, price: int, lots: int, customer: int) -> Any:
        traded_lots = money = 0
        sign = 1 if side == BUY else -1
        others = [order for order in self.open if order[1] != side]
        for order in sorted(others, key=lambda order: sign * order[2]):
            if not lots or sign * order[2] > sign * price:
                break
            fill = min(lots, order[3])
            order[3] -= fill
            lots -= fill
            traded_lots, money = traded_lots + fill, money + fill * order[2]
        self.open = [order for order in self.open if order[3]]
        if lots:
            self.open.append([key, side, price, lots])
        return traded_lots, money

    def cancel(self, key: int) -> Any:
        self.open = [order for order in self.open if order[0] != key]

    def read(self, found: Any) -> Traded:
        traded: Traded = found
        return traded


def test_a_plain_book_trades_as_ours_on_what_peers_are_told(asked: Asked) -> None:
    driver = Plain()
    found = [say(driver, *command) for command in COMMAND.iter_unpack(asked.commands)]
    traded = [(0, 0) if one is None else driver.read(one) for one in found[asked.prefill :]]
    assert len(traded) == len(asked.traded)
    same = sum(theirs == mine for theirs, mine in zip(traded, asked.traded, strict=True))
    # It knows no customers and no priority that is kept: a few of the three thousand.
    assert len(traded) - 30 <= same
    assert sum(lots > 0 for lots, _ in asked.traded) > 100


def test_before_the_clock_starts_orders_are_only_placed(asked: Asked) -> None:
    commands = list(COMMAND.iter_unpack(asked.commands))
    assert asked.prefill == 2_000
    assert {command[0] for command in commands[: asked.prefill]} == {PLACE}
    assert {command[1] for command in commands[: asked.prefill]} == {BUY, SELL}


def test_every_peer_has_a_version_and_a_driver() -> None:
    assert VERSIONS.keys() == DRIVERS.keys()


def test_a_conformance_line_says_what_is_equal() -> None:
    ours = ((0, 0), (5, 50), (0, 0), (2, 22))
    assert "100.0 % of commands trade the same, 2 of 2 that trade" in Ran(
        "x", 4, 1, ours, ""
    ).conformance(ours)
    other_price = Ran("x", 4, 1, ((0, 0), (5, 55), (0, 0), (2, 22)), "").conformance(ours)
    assert other_price.endswith(
        "75.0 % of commands trade the same, 1 of 2 that trade (100.0 % the same lots)"
    )
    silent = Ran("x", 4, 1, ((UNKNOWN, UNKNOWN),) * 4, "")
    assert silent.conformance(ours) == "returns no trades"
    assert Ran("x", 0, 0, (), "hangs").conformance(ours) == "hangs"
