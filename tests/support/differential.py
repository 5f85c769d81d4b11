"""L09: the native engine beside the reference: equal events and equal hashes, batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from engine.base import Engine
from engine.events import Event
from engine.invariants import check_invariants
from engine.laboratory.differential import compare_engines, reference_and_native
from engine.laboratory.weather import Rough
from engine.native.engine import NativeEngine
from engine.reference import ReferenceEngine

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
    seen: Counter[str] = Counter()
    reference, native = reference_and_native(weather.limits)
    batches = 0

    def saw(events: Sequence[Event]) -> None:
        seen.update(_answer(event) for event in events)

    def after_batch(_reference: Engine, native: Engine) -> None:
        nonlocal batches
        batches += 1
        if batches % INVARIANTS_EVERY == 0:
            check_invariants(native)

    found = compare_engines(
        weather, seed, commands, lambda _: (reference, native), saw=saw, after_batch=after_batch
    )
    if found is not None:
        first = found.steps[-1].batch
        raise Difference(f"{found.weather} seed {seed}, batch at {first}: {found.what}")
    _check_round_trip(reference, native, weather)
    return Compared(seen, native.state_hash())


def _check_round_trip(reference: Engine, native: Engine, weather: type[Rough]) -> None:
    dump = reference.dump()
    assert NativeEngine.load(dump, weather.limits).dump() == dump
    assert ReferenceEngine.load(native.dump(), weather.limits).dump() == dump


def _answer(event: Event) -> str:
    reason = getattr(event, "reason", None)
    return type(event).__name__ if reason is None else f"{type(event).__name__}:{reason.name}"
