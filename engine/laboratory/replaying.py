"""Commands that were written down, applied again: a journal, a segment, or a recording."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core.clock import Clock
from core.errors import Reason, Refused
from engine.base import SEQUENCE_LIMIT, Engine, Limits
from engine.blocks import GENESIS, Block, is_segment, parse_segment
from engine.factory import EngineKind, engine_factory
from engine.files import DiskStorage, Storage
from engine.journal import JournalReader
from engine.laboratory.recording import is_recording, read_recording
from engine.records import RECORD_BYTES
from engine.recovery import EngineFactory
from engine.reference import DEFAULT_LIMITS
from engine.replay_check import oldest_snapshot
from engine.snapshot import sound_snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Blocks to apply, in order, each checked when it is read."""

    what: str
    limits: Limits
    count: int | None
    """How many commands, where that is known before they are read."""
    blocks: Callable[[], Iterator[Block]]
    begin: bytes | None = None
    """The state before the first block, dumped; None: a new engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of it, and how long each part took."""

    engine: Engine
    commands: int
    events: int
    blocks: int
    read_ns: int
    """Reading and checking."""
    apply_ns: int
    """The engine's own time."""
    events_hash: bytes
    """SHA-256 of all event records."""


def open_source(path: Path, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Return what a path holds.

    A folder is a journal; where that was pruned it begins with its oldest snapshot. A file is a
    segment (the first of its journal: what came before another one is not in it) or a recording,
    which brings its own limits. Refused: not_found, malformed.
    Corrupt: see JournalReader and read_recording.
    """
    if path.is_dir():
        return _journal(DiskStorage(path), f"the journal in {path}", limits)
    if not path.is_file():
        raise Refused(Reason.NOT_FOUND, f"there is no {path}")
    data = path.read_bytes()
    if is_recording(data):
        recording = read_recording(data, path.name)
        return Source(
            what=f"{recording.count} commands of {recording.name}, seed {recording.seed}",
            limits=recording.limits,
            count=recording.count,
            blocks=lambda: iter(read_recording(data, path.name).blocks),
        )
    if is_segment(path.name):
        segment = parse_segment(path.name, data)
        if segment.cut != GENESIS:
            raise Refused(
                Reason.MALFORMED,
                f"{path.name} continues from {segment.cut}: replay the whole folder",
            )
        return _journal(_OneSegment(path), f"segment {path.name}", limits)
    raise Refused(Reason.MALFORMED, f"{path} is neither a journal, a segment nor a recording")


class _OneSegment(DiskStorage):
    """A journal of which there is only its first segment."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self._name = path.name

    def names(self) -> list[str]:
        """Return the one name."""
        return [self._name]


def _journal(storage: Storage, what: str, limits: Limits) -> Source:
    if not any(map(is_segment, storage.names())):
        raise Refused(Reason.NOT_FOUND, f"{what}: there is none")
    reader = JournalReader(storage)
    begin, after = None, 0
    if reader.start != GENESIS:
        snapshot = oldest_snapshot(storage, reader.start)
        begin, after = snapshot.dump, snapshot.position.sequence

    def blocks() -> Iterator[Block]:
        for block in JournalReader(storage).blocks_from(after):
            if block.first_sequence > after:
                yield block

    return Source(what=what, limits=limits, count=None, blocks=blocks, begin=begin)


def replay_blocks(
    source: Source,
    kind: EngineKind,
    *,
    clock: Clock,
    until: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Apply a source from its beginning; `until` is the last sequence that is applied.

    `told` hears the sequence after every block. Corrupt: a damaged block, or one that the engine
    does not take. Refused: not_found when `until` lies beyond the end. Unavailable: see
    engine_factory.
    """
    factory = engine_factory(kind, source.limits)
    engine = factory.new() if source.begin is None else factory.load(source.begin)
    start = engine.sequence
    blocks = events = read_ns = apply_ns = 0
    digest = hashlib.sha256()
    before = clock.monotonic_ns()
    for whole in source.blocks():
        block = _cut(whole, until)
        if block is None:
            break
        between = clock.monotonic_ns()
        records = engine.apply_records(
            block.records, first_sequence=block.first_sequence, time_ns=block.time_ns
        )
        after = clock.monotonic_ns()
        read_ns, apply_ns = read_ns + between - before, apply_ns + after - between
        blocks, events = blocks + 1, events + len(records) // RECORD_BYTES
        digest.update(records)
        told(engine.sequence)
        before = clock.monotonic_ns()
    if until is not None and engine.sequence < until:
        raise Refused(Reason.NOT_FOUND, f"{source.what} ends at sequence {engine.sequence}")
    return Replayed(
        engine=engine,
        commands=engine.sequence - start,
        events=events,
        blocks=blocks,
        read_ns=read_ns,
        apply_ns=apply_ns,
        events_hash=digest.digest(),
    )


def newest_state(
    storage: Storage, factory: EngineFactory, *, told: Callable[[int], None] = lambda _: None
) -> Engine:
    """Return the engine at the end of a journal: the newest snapshot, then the blocks after it.

    For looking only: nothing is written, and a snapshot that the journal does not contain is not
    noticed. Corrupt: see JournalReader.
    """
    engine = (
        next(
            (factory.load(found.dump) for found in sound_snapshots(storage, up_to=SEQUENCE_LIMIT)),
            None,
        )
        or factory.new()
    )
    start = engine.sequence
    for block in JournalReader(storage).blocks_from(start):
        if block.first_sequence > start:
            engine.apply_records(
                block.records, first_sequence=block.first_sequence, time_ns=block.time_ns
            )
            told(engine.sequence)
    return engine


def _cut(block: Block, until: int | None) -> Block | None:
    if until is None or block.last_sequence <= until:
        return block
    if block.first_sequence > until:
        return None
    kept = (until - block.first_sequence + 1) * RECORD_BYTES
    return replace(block, records=block.records[:kept])
