"""Both engines with the same past."""

from __future__ import annotations

from engine.laboratory.drawn import Commands
from engine.native.engine import NativeEngine
from engine.reference import ReferenceEngine


def busy(commands: int = 2_000, seed: int = 3) -> tuple[NativeEngine, ReferenceEngine, Commands]:
    """Return both engines with the same past."""
    drawn, native, reference = Commands(seed), NativeEngine(), ReferenceEngine()
    opening = list(drawn.opening())
    for n in range(commands):
        command = opening[n] if n < len(opening) else drawn.next()
        events = native.apply(command, sequence=n + 1, time_ns=drawn.time_ns)
        assert reference.apply(command, sequence=n + 1, time_ns=drawn.time_ns) == events
        drawn.observe(events)
    return native, reference, drawn
