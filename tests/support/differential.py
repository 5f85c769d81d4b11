"""L09: the native engine beside the reference: equal events and equal hashes, batch by batch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from engine.events import Event
from engine.invariants import check_invariants
from engine.native.engine import NativeEngine
from engine.records import pack_command, pack_event, unpack_events
from engine.reference import ReferenceEngine
from tests.unit.engine.rough import Rough

BATCH_MAX = 120
INVARIANTS_EVERY = 25
"""Batches between two looks at the invariants of the native engine."""


class Difference(AssertionError):
    """The engines do not agree; seed and command number reproduce it."""


class Compared(NamedTuple):
    """How often each answer was given, and the hash of the state in the end."""

    seen: Counter[str]
    state_hash: bytes


def compare(weather: type[Rough], seed: int, commands: int) -> Compared:
    """Draw commands, apply them to both engines, look for a difference after every batch."""
    dice, drawn = random.Random(seed), weather(seed)
    reference, native = ReferenceEngine(weather.limits), NativeEngine(weather.limits)
    opening = list(drawn.opening())
    seen: Counter[str] = Counter()
    batches = 0
    while reference.sequence < len(opening) + commands:
        first = reference.sequence + 1
        records: list[bytes] = []
        expected: list[Event] = []
        for _ in range(dice.randrange(1, BATCH_MAX)):
            at = reference.sequence
            command = opening[at] if at < len(opening) else drawn.next()
            time_ns = max(drawn.time_ns, reference.time_ns) if not records else reference.time_ns
            events = reference.apply(command, sequence=at + 1, time_ns=time_ns)
            drawn.observe(events)
            records.append(pack_command(command))
            expected += events
        answered = native.apply_records(
            b"".join(records), first_sequence=first, time_ns=reference.time_ns
        )
        where = f"{weather.__name__} seed {seed}, batch at {first}"
        if answered != b"".join(map(pack_event, expected)):
            raise Difference(f"{where}: {_first_difference(expected, unpack_events(answered))}")
        if native.state_hash() != reference.state_hash():
            raise Difference(f"{where}: the states differ")
        batches += 1
        if batches % INVARIANTS_EVERY == 0:
            check_invariants(native)
        seen.update(_answer(event) for event in expected)
    _check_round_trip(reference, native, weather)
    return Compared(seen, native.state_hash())


def _first_difference(expected: Sequence[Event], answered: Sequence[Event]) -> str:
    for wanted, got in zip(expected, answered, strict=False):
        if wanted != got:
            return f"{wanted} became {got}"
    return f"{len(expected)} events became {len(answered)}"


def _check_round_trip(
    reference: ReferenceEngine, native: NativeEngine, weather: type[Rough]
) -> None:
    dump = reference.dump()
    assert NativeEngine.load(dump, weather.limits).dump() == dump
    assert ReferenceEngine.load(native.dump(), weather.limits).dump() == dump


def _answer(event: Event) -> str:
    reason = getattr(event, "reason", None)
    return type(event).__name__ if reason is None else f"{type(event).__name__}:{reason.name}"
