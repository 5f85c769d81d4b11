"""dump, load and state_hash: one canonical form, on every run of every interpreter (L08, I12)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.errors import Corrupt, Refused
from engine.base import Limits
from engine.commands import AddAsset, Credit
from engine.invariants import check_invariants
from engine.laboratory.drawn import Commands
from engine.reference import ReferenceEngine
from tests.unit.engine.world import ALICE, MARKET, World

HASHES = """
from engine.reference import ReferenceEngine
from engine.laboratory.drawn import Commands
drawn, engine = Commands(5), ReferenceEngine()
opening = list(drawn.opening())
for n in range(3000):
    command = opening[n] if n < len(opening) else drawn.next()
    drawn.observe(engine.apply(command, sequence=n + 1, time_ns=drawn.time_ns))
    if n % 1000 == 999:
        print(engine.state_hash().hex())
"""


def busy_engine(commands: int = 2000) -> tuple[ReferenceEngine, Commands]:
    """Return an engine with a past."""
    drawn, engine = Commands(3), ReferenceEngine()
    opening = list(drawn.opening())
    for n in range(commands):
        command = opening[n] if n < len(opening) else drawn.next()
        drawn.observe(engine.apply(command, sequence=n + 1, time_ns=drawn.time_ns))
    return engine, drawn


def test_L08_the_hashes_do_not_depend_on_the_seed_of_dictionaries() -> None:
    answers = set()
    for seed in ("0", "1", "2", "77", "4294967295"):
        done = subprocess.run(
            [sys.executable, "-c", HASHES],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.add(done.stdout)
    [hashes] = answers
    assert len(set(hashes.split())) == 3


def test_a_loaded_engine_is_the_same_and_goes_on_the_same() -> None:
    engine, drawn = busy_engine()
    loaded = ReferenceEngine.load(engine.dump())
    assert loaded.dump() == engine.dump()
    check_invariants(loaded)
    for n in range(1000):
        command = drawn.next()
        sequence = engine.sequence + 1
        events = engine.apply(command, sequence=sequence, time_ns=drawn.time_ns)
        assert loaded.apply(command, sequence=sequence, time_ns=drawn.time_ns) == events
        drawn.observe(events)
        if n % 100 == 0:
            assert loaded.state_hash() == engine.state_hash()
    assert loaded.state_hash() == engine.state_hash()


def test_every_change_of_state_changes_the_hash() -> None:
    world = World()
    hashes = {world.engine.state_hash()}
    world.buy(ALICE, 100, 5)
    hashes.add(world.engine.state_hash())
    world.cancel_all(ALICE)
    hashes.add(world.engine.state_hash())
    world.time_ns += 1
    world.cancel_all(ALICE)
    hashes.add(world.engine.state_hash())
    assert len(hashes) == 4


def test_a_dump_that_is_cut_or_longer_is_corrupt() -> None:
    data = busy_engine(300)[0].dump()
    for damaged in (b"", data[:40], data[:-1], data + b"\0", b"X" + data[1:]):
        with pytest.raises(Corrupt):
            ReferenceEngine.load(damaged)


def test_a_dump_of_other_limits_is_corrupt() -> None:
    data = ReferenceEngine().dump()
    with pytest.raises(Corrupt, match="limits"):
        ReferenceEngine.load(data, Limits(open_orders=5))


def test_the_order_in_which_things_were_added_leaves_no_trace() -> None:
    dumps = set()
    for assets in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        engine = ReferenceEngine()
        for n, asset_no in enumerate(assets, 1):
            engine.apply(AddAsset(asset_no=asset_no), sequence=n, time_ns=7)
        for n, asset_no in enumerate(assets, 1):
            customer_no = {1: 8, 2: 16, 3: 1}[asset_no]  # a set of these does not come out sorted
            command = Credit(number=n, customer_no=customer_no, asset_no=asset_no, amount=5)
            engine.apply(command, sequence=3 + n, time_ns=7)
        dumps.add(engine.dump())
        assert engine.customers() == (1, 8, 16)
    assert len(dumps) == 1


def test_an_empty_engine_round_trips() -> None:
    assert ReferenceEngine.load(ReferenceEngine().dump()).dump() == ReferenceEngine().dump()


@pytest.mark.parametrize(("sequence", "time_ns"), [(1, 10**30), (3, 10**30), (2, -1)])
def test_a_step_out_of_order_is_corrupt(sequence: int, time_ns: int) -> None:
    engine, drawn = ReferenceEngine(), Commands(1)
    first, second, *_ = drawn.opening()
    engine.apply(first, sequence=1, time_ns=5)
    before = engine.dump()
    with pytest.raises(Corrupt):
        engine.apply(second, sequence=sequence, time_ns=time_ns)
    assert engine.dump() == before


def test_what_is_no_command_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="no command"):
        ReferenceEngine().apply("buy", sequence=1, time_ns=1)  # type: ignore[arg-type]


def test_questions_about_what_does_not_exist_are_refused() -> None:
    engine = World().engine
    with pytest.raises(Refused, match="unknown_market"):
        engine.depth(9, 1)
    with pytest.raises(Refused, match="unknown_asset"):
        engine.totals(9)
    assert engine.order(1) is None
    assert engine.balances(999) == {}
    assert engine.open_orders(999) == []


def test_depth_shows_the_best_levels_first_and_no_more_than_asked() -> None:
    world = World()
    for price in (98, 99, 97, 99):
        world.buy(ALICE, price, 2)
    depth = world.engine.depth(MARKET, 2)
    assert depth.bids == ((99, 4, 2), (98, 2, 1))
    assert depth.sequence == world.engine.sequence
