"""Dumps of the native core: the same bytes as the reference's, and nothing but sound ones load."""

from __future__ import annotations

import contextlib
import struct

import pytest

from core.errors import Corrupt
from engine.base import Limits
from engine.commands import CancelAll
from engine.invariants import check_invariants
from engine.native.engine import NativeEngine
from engine.reference import DEFAULT_LIMITS, ReferenceEngine
from engine.state_rows import HEADER_BYTES, ROW_BYTES, unpack_header
from tests.unit.engine.native_pair import busy


def test_dumps_go_both_ways_and_life_goes_on_the_same() -> None:
    native, reference, drawn = busy()
    crossed = (NativeEngine.load(reference.dump()), ReferenceEngine.load(native.dump()))
    for _ in range(500):
        command, at = drawn.next(), native.sequence + 1
        events = native.apply(command, sequence=at, time_ns=drawn.time_ns)
        for other in (reference, *crossed):
            assert other.apply(command, sequence=at, time_ns=drawn.time_ns) == events
        drawn.observe(events)
    assert {engine.dump() for engine in (native, reference, *crossed)} == {native.dump()}
    check_invariants(crossed[0])


def test_a_dump_made_under_other_limits_is_corrupt() -> None:
    dump = NativeEngine(Limits(open_orders=5)).dump()
    with pytest.raises(Corrupt):
        NativeEngine.load(dump)
    assert NativeEngine.load(dump, Limits(open_orders=5)).dump() == dump


def test_a_dump_cut_anywhere_is_corrupt() -> None:
    dump = busy(300)[0].dump()
    for length in [*range(0, 200, 7), *range(200, len(dump), 61), len(dump) - 1]:
        with pytest.raises(Corrupt):
            NativeEngine.load(dump[:length])
    with pytest.raises(Corrupt):
        NativeEngine.load(dump + b"\0")


def test_a_damaged_dump_is_corrupt_or_loads_and_never_breaks_the_process() -> None:
    native, _, drawn = busy(600)
    dump = native.dump()
    refused = 0
    for n in range(1_500):
        at = drawn.random.randrange(len(dump))
        damaged = bytearray(dump)
        damaged[at] ^= 1 << drawn.random.randrange(8)
        if n % 2:
            place = drawn.random.randrange(len(dump) // 8) * 8
            struct.pack_into("<Q", damaged, place, drawn.random.choice([0, 1, (1 << 64) - 1]))
        try:
            loaded = NativeEngine.load(bytes(damaged))
        except Corrupt:
            refused += 1
        else:
            loaded.dump()
            for customer in range(1, 9):
                command = CancelAll(customer_no=customer)
                sequence = loaded.sequence + 1
                # A checked build may notice here what loading does not look for.
                with contextlib.suppress(Corrupt):
                    loaded.apply(command, sequence=sequence, time_ns=max(0, loaded.time_ns))
    assert refused > 50


@pytest.mark.parametrize("kind", [NativeEngine, ReferenceEngine])
def test_a_dump_whose_money_does_not_add_up_does_not_load(
    kind: type[NativeEngine | ReferenceEngine],
) -> None:
    native, _, _ = busy(600)
    dump = native.dump()
    assert kind.load(dump).dump() == dump
    assets, markets, balances, *_ = unpack_header(dump, DEFAULT_LIMITS).counts
    first = HEADER_BYTES + ROW_BYTES * (assets + markets)
    for row in range(balances):
        richer = bytearray(dump)
        richer[first + ROW_BYTES * row + 8] ^= 1  # the lowest bit of what is available
        with pytest.raises(Corrupt, match="does not add up"):
            kind.load(bytes(richer))
