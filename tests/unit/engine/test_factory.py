"""Which engine does the work, and the memory it begins with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.events import OrderAccepted
from engine.factory import EngineKind, NativeFactory, engine_factory, native_is_built
from engine.recovery import ReferenceFactory
from tests.unit.engine.world import ALICE, World


def test_the_native_engine_is_chosen_where_it_is_built() -> None:
    assert native_is_built()
    assert isinstance(engine_factory(), NativeFactory)
    assert isinstance(engine_factory(EngineKind.REFERENCE), ReferenceFactory)
    world = World()
    assert isinstance(world.buy(ALICE, 1, 1)[0], OrderAccepted)
    assert engine_factory(EngineKind.NATIVE).load(world.engine.dump()).sequence > 0


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("orders", "is_taken"), [(0, False), (200_000, True)])
def test_memory_for_orders_to_come_is_taken_at_the_start_when_it_is_asked_for(
    orders: int, is_taken: bool
) -> None:
    before = _resident_bytes()
    engine = engine_factory(EngineKind.NATIVE, reserve_orders=orders).new()
    assert (_resident_bytes() - before > 20_000_000) == is_taken
    assert engine.sequence == 0
