"""Workloads: the seed decides every byte, and the mix is what the page says."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from engine.commands import PlaceOrder
from engine.enums import CommandKind, OrderKind, TimeInForce
from engine.events import OrderAccepted, OrderRejected, Trade
from engine.factory import EngineKind, engine_factory
from engine.laboratory.draws import Draws
from engine.laboratory.measuring import in_batches, opened
from engine.laboratory.workloads import CUSTOMERS, NOW_NS, SHAPES, Workload, make, size_of
from engine.records import command_kind, unpack_commands, unpack_events

SMALL = 3_000


def drawn(name: str, seed: int = 1, commands: int = SMALL, waiting: int = 2_000) -> Workload:
    engine = engine_factory(EngineKind.NATIVE).new()
    return make(name, seed=seed, commands=commands, engine=engine, waiting=waiting)


def test_draws_are_those_of_the_published_generator() -> None:
    draws = Draws(1234567)
    # The first values of splitmix64 for this seed, as Rosetta Code and java.util.SplittableRandom
    # give them.
    assert [draws.next() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


WRITTEN_IN_CPP = {
    "w1": "00485d40ec53895f05ff9bbb8c2fc658801feb15e58fc084e601c443b11dc6ac",
    "crash": "9f93ee0774d45738e6f5a04c4af9c736caf9aa0dd9002e4f7a3d5751806cb087",
}
"""SHA-256 of what tests/benchmarks/native/workload.hpp writes for seed 1 and 20 000 commands."""


@pytest.mark.parametrize("name", WRITTEN_IN_CPP)
def test_both_languages_draw_the_same_bytes(name: str) -> None:
    work = make(name, seed=1, commands=20_000, engine=engine_factory(EngineKind.NATIVE).new())
    assert hashlib.sha256(work.opening + work.timed).hexdigest() == WRITTEN_IN_CPP[name]


def test_either_engine_running_along_gives_the_same_bytes() -> None:
    found = {
        make("w1", seed=7, commands=300, waiting=200, engine=engine_factory(kind).new())
        for kind in (EngineKind.NATIVE, EngineKind.REFERENCE)
    }
    assert len(found) == 1
    [work] = found
    assert work.count == 300
    assert work.opening_count + 300 == size_of("w1", commands=300, waiting=200)


def test_another_seed_gives_other_commands() -> None:
    assert drawn("w1", seed=1).timed != drawn("w1", seed=2).timed


def test_an_unknown_workload_is_refused() -> None:
    with pytest.raises(KeyError):
        make("w2", seed=1, commands=1, engine=engine_factory(EngineKind.NATIVE).new())


def kinds(work: Workload) -> Counter[str]:
    """Return how often each kind of command is timed, per thousand."""
    found: Counter[str] = Counter()
    for command in unpack_commands(work.timed):
        name = command_kind(command).name
        if isinstance(command, PlaceOrder):
            name = "WAITS" if command.tif is TimeInForce.GTC else "IOC"
            name = "MARKET" if command.kind is OrderKind.MARKET else name
        found[name] += 1
    return Counter({name: round(count * 1000 / work.count) for name, count in found.items()})


@pytest.mark.parametrize("name", ["w1", "w100", "crash"])
def test_the_mix_is_what_the_page_says(name: str) -> None:
    found = kinds(drawn(name, commands=8_000))
    wanted = {"WAITS": 600, "IOC": 50, "MARKET": 25, "CANCEL_ORDER": 300, "REPLACE_ORDER": 25}
    assert found.keys() == wanted.keys()
    assert all(abs(found[kind] - share) <= 20 for kind, share in wanted.items()), found


def test_the_adversary_places_cancels_and_sweeps() -> None:
    found = kinds(drawn("adv", commands=8_000))
    wanted = {"WAITS": 480, "CANCEL_ORDER": 480, "IOC": 40}
    assert found.keys() == wanted.keys()
    assert all(abs(found[kind] - share) <= 20 for kind, share in wanted.items()), found


@pytest.mark.parametrize("name", SHAPES)
def test_commands_are_accepted_and_hit_open_orders(name: str) -> None:
    work = drawn(name)
    engine = opened(engine_factory(EngineKind.NATIVE).new(), work)
    before = engine.sequence
    events = unpack_events(
        engine.apply_records(work.timed, first_sequence=before + 1, time_ns=NOW_NS)
    )
    seen = Counter(type(event) for event in events)
    placed = sum(isinstance(command, PlaceOrder) for command in unpack_commands(work.timed))
    assert seen[OrderAccepted] == placed
    assert seen[Trade] > 0
    # Only a replace below what is filled already is refused.
    refused = [event for event in events if isinstance(event, OrderRejected)]
    assert all(event.command is CommandKind.REPLACE_ORDER for event in refused)
    assert len(refused) < SMALL // 100
    assert len(engine.customers()) == CUSTOMERS


def test_a_hundred_markets_are_asked_as_zipf_says() -> None:
    work = drawn("w100", commands=8_000)
    asked = Counter(
        command.market_no
        for command in unpack_commands(work.timed)
        if isinstance(command, PlaceOrder)
    )
    assert asked[1] > 1.5 * asked[2] > 2 * asked[5] > 2 * asked[40] > 0
    assert len(asked) > 90


def test_a_crash_moves_the_price_far() -> None:
    prices = [
        command.price_ticks
        for command in unpack_commands(drawn("crash", commands=8_000).timed)
        if isinstance(command, PlaceOrder)
    ]
    assert max(prices) - min(prices) > 10_000


def test_measuring_counts_what_was_done() -> None:
    work = drawn("w1")
    engine = opened(engine_factory(EngineKind.NATIVE).new(), work)
    heard: list[int] = []
    timed = in_batches(engine, work, 64, commands=1_000, told=heard.append)
    assert (timed.commands, timed.calls, heard[-1]) == (1_000, 16, 1_000)
    assert timed.latencies.count == timed.calls
    assert timed.events >= 1_000
    assert engine.sequence == work.opening_count + 1_000
