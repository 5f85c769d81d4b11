"""Restart: the newest snapshot that is not after the books, then the journal to its end.

Everything after the books' position is in the event log again, so the books get each event exactly
once more, and nothing that they have twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from core.clock import Clock
from core.errors import Corrupt
from engine.applied import AppliedBlock
from engine.base import Engine, Limits
from engine.blocks import GENESIS
from engine.eventlog import EventLog
from engine.events import Projected
from engine.files import Storage
from engine.journal import JournalReader, Tail
from engine.journal_writer import SEGMENT_BYTES_MAX, Journal
from engine.read_ahead import blocks_ahead
from engine.reference import DEFAULT_LIMITS, ReferenceEngine
from engine.sequencer import (
    BATCH_MAX,
    LAG_EVENTS_MAX,
    LINGER_NS,
    QUEUE_MAX,
    Sequencer,
    apply_block,
)
from engine.snapshot import sound_snapshots


class EngineFactory(Protocol):
    """Makes engines of one kind."""

    @property
    def kind(self) -> str:
        """Return which: reference or native."""
        ...

    def new(self) -> Engine:
        """Return an engine before its first command."""
        ...

    def load(self, dump: bytes) -> Engine:
        """Return the engine of a dump. Corrupt: it is damaged."""
        ...


@dataclass(frozen=True, slots=True)
class ReferenceFactory:
    """Makes reference engines under the same limits every time."""

    limits: Limits = DEFAULT_LIMITS

    @property
    def kind(self) -> str:
        """Return which: reference or native."""
        return "reference"

    def new(self) -> Engine:
        """Return an engine before its first command."""
        return ReferenceEngine(self.limits)

    def load(self, dump: bytes) -> Engine:
        """Return the engine of a dump. Corrupt: it is damaged, or made under other limits."""
        return ReferenceEngine.load(dump, self.limits)


def recover(
    storage: Storage,
    *,
    epoch: int,
    clock: Clock,
    lease: Callable[[], None],
    projected: Projected | None = None,
    factory: EngineFactory | None = None,
    lag_events_max: int = LAG_EVENTS_MAX,
    batch_max: int = BATCH_MAX,
    queue_max: int = QUEUE_MAX,
    linger_ns: int = LINGER_NS,
    segment_bytes_max: int = SEGMENT_BYTES_MAX,
    publish: Callable[[AppliedBlock], None] | None = None,
) -> Sequencer:
    """Return a sequencer that stands at the end of the journal and leads it from here on.

    `epoch` rises with every call (the lease's row counts it). Corrupt: the journal is damaged or
    does not contain the books' position with exactly that hash. Unavailable: a newer leader has
    been here, or the disk failed.
    """
    factory = factory or ReferenceFactory()
    found = _replay(storage, projected=projected or GENESIS, factory=factory)
    journal = Journal(
        storage, epoch=epoch, end=found.end, tail=found.tail, segment_bytes_max=segment_bytes_max
    )
    return Sequencer(
        found.engine,
        journal,
        engine_kind=factory.kind,
        clock=clock,
        lease=lease,
        log=found.log,
        lag_events_max=lag_events_max,
        batch_max=batch_max,
        queue_max=queue_max,
        linger_ns=linger_ns,
        publish=publish,
    )


def replay(
    storage: Storage, *, projected: Projected = GENESIS, factory: EngineFactory
) -> tuple[Engine, EventLog, Projected]:
    """Return the engine at the end of the journal, the events after the books, and that end.

    Corrupt: see recover.
    """
    found = _replay(storage, projected=projected, factory=factory)
    return found.engine, found.log, found.end


class _Replayed(NamedTuple):
    engine: Engine
    log: EventLog
    end: Projected
    tail: Tail | None


def _replay(storage: Storage, *, projected: Projected, factory: EngineFactory) -> _Replayed:
    reader = JournalReader(storage)
    engine, start = _starting_point(storage, up_to=projected.sequence, factory=factory)
    log = EventLog(projected_sequence=projected.sequence)
    if start.sequence < reader.start.sequence:
        raise Corrupt(
            f"the journal was pruned up to {reader.start}, and no sound snapshot between that and"
            f" the books at {projected} is left"
        )
    end = reader.start_for(start.sequence)
    passed = {position for position in (start, projected) if position == end}
    for block in blocks_ahead(reader, start.sequence):
        end = block.end
        if end in (start, projected):
            passed.add(end)
        if block.first_sequence > start.sequence:
            applied = apply_block(engine, block)
            if block.first_sequence > projected.sequence:
                log.append(applied)
    for position, whose in ((start, "snapshot"), (projected, "books")):
        if position not in passed:
            raise Corrupt(f"the {whose} stand at {position}, not in the journal up to {end}")
    return _Replayed(engine, log, end, reader.tail)


def _starting_point(
    storage: Storage, *, up_to: int, factory: EngineFactory
) -> tuple[Engine, Projected]:
    for snapshot in sound_snapshots(storage, up_to=up_to):
        engine = factory.load(snapshot.dump)
        if engine.sequence != snapshot.position.sequence:
            raise Corrupt(f"snapshot at {snapshot.position} holds state {engine.sequence}")
        return engine, snapshot.position
    return factory.new(), GENESIS
