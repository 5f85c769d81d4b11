"""The journal replayed from its beginning beside every snapshot it has: I12, shown to an operator.

A pruned journal is replayed from the oldest snapshot that stands in it.

One engine or several go through the same blocks. At the position of a snapshot each must have the
state hash that stands in it; several engines must give the same events after every block, byte for
byte. Memory holds one block and the engines.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.errors import Corrupt, Reason, Refused
from engine.base import Engine
from engine.blocks import GENESIS, Block
from engine.events import Projected
from engine.files import Storage
from engine.journal import JournalReader
from engine.records import RECORD_BYTES
from engine.recovery import EngineFactory
from engine.snapshot import Snapshot, read_snapshot, sequence_of, snapshot_names


class Verdict(enum.StrEnum):
    """What a snapshot is worth."""

    EQUAL = "equal"
    DIFFERENT = "different"
    """The replayed state is another one: I12 is broken."""
    ELSEWHERE = "elsewhere"
    """Its position is not in the journal: it belongs to what a later leader cut off."""
    DAMAGED = "damaged"
    """Its bytes are not what was written; recovery passes it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCheck:
    """One snapshot beside the replay."""

    name: str
    sequence: int
    verdict: Verdict


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What a replay came to."""

    begin: int
    """The sequence that was begun after."""
    end: Projected
    """The last block that was begun."""
    sequence: int
    """The last command that was applied; it may lie within that block."""
    blocks: int = 0
    events: int = 0
    state_hash: bytes = b""
    snapshots: list[SnapshotCheck] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Where the engines did not agree, and the replay ended; empty: everywhere the same."""
    torn: str | None = None

    @property
    def is_sound(self) -> bool:
        """Return whether every engine agreed with the others and with every whole snapshot."""
        bad = {Verdict.DIFFERENT, Verdict.ELSEWHERE}
        return not self.differences and not any(s.verdict in bad for s in self.snapshots)


def replay_beside_snapshots(
    storage: Storage,
    factories: Mapping[str, EngineFactory],
    *,
    until: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Replay to the end, or to a command; `told` hears the sequence after every block.

    Refused: not_found when the journal ends before it. Corrupt: damaged, naming segment and offset.
    """
    reader = JournalReader(storage)
    engines, begin = _begin(storage, reader, factories)
    end = reader.start_for(begin.sequence)
    found = Replayed(begin=begin.sequence, end=end, sequence=end.sequence)
    expected = _expected(storage, found, until)
    _compare(engines, expected.pop(begin.sequence, []) if end == begin else [], found)
    for block in reader.blocks_from(begin.sequence):
        if until is not None and block.first_sequence > until:
            break
        if block.first_sequence > begin.sequence:
            _apply(engines, block, until, found)
        else:
            found.end, found.sequence = block.end, block.last_sequence
        _compare(engines, expected.pop(found.sequence, []), found)
        told(found.sequence)
        if found.differences:
            return found
    for waiting in expected.values():
        found.snapshots += [_judged(name, at, Verdict.ELSEWHERE) for name, at, _ in waiting]
    if until is not None and found.sequence < until:
        raise Refused(Reason.NOT_FOUND, f"the journal ends at sequence {found.sequence}")
    found.state_hash = _state_hash(engines, found)
    found.snapshots.sort(key=lambda each: each.name)
    found.torn = reader.torn
    return found


_Waiting = tuple[str, Projected, bytes]


def _begin(
    storage: Storage, reader: JournalReader, factories: Mapping[str, EngineFactory]
) -> tuple[dict[str, Engine], Projected]:
    if reader.start == GENESIS:
        return {name: factory.new() for name, factory in factories.items()}, GENESIS
    snapshot = oldest_snapshot(storage, reader.start)
    engines = {name: factory.load(snapshot.dump) for name, factory in factories.items()}
    return engines, snapshot.position


def oldest_snapshot(storage: Storage, start: Projected) -> Snapshot:
    """Return where a pruned journal is replayed from. Corrupt: it has no sound snapshot."""
    for name in reversed(snapshot_names(storage)):
        if sequence_of(name) < start.sequence:
            continue
        try:
            return read_snapshot(storage, name)
        except Corrupt:
            continue
    raise Corrupt(f"the journal begins after {start.sequence}, and no snapshot stands there")


def _expected(storage: Storage, found: Replayed, until: int | None) -> dict[int, list[_Waiting]]:
    """Return by sequence what the snapshots hold: name, position, state hash."""
    expected: dict[int, list[_Waiting]] = {}
    for name in snapshot_names(storage):
        if not found.end.sequence <= sequence_of(name) <= (until or sequence_of(name)):
            continue
        try:
            snapshot = read_snapshot(storage, name)
        except Corrupt:
            position = Projected(epoch=0, sequence=sequence_of(name), hash=b"")
            found.snapshots.append(_judged(name, position, Verdict.DAMAGED))
        else:
            at = snapshot.position
            expected.setdefault(at.sequence, []).append((name, at, snapshot.state_hash))
    return expected


def _judged(name: str, position: Projected, verdict: Verdict) -> SnapshotCheck:
    return SnapshotCheck(name=name, sequence=position.sequence, verdict=verdict)


def _apply(engines: Mapping[str, Engine], block: Block, until: int | None, found: Replayed) -> None:
    count = block.count if until is None else min(block.count, until - block.first_sequence + 1)
    records = block.records[: count * RECORD_BYTES]
    answers = {
        name: engine.apply_records(
            records, first_sequence=block.first_sequence, time_ns=block.time_ns
        )
        for name, engine in engines.items()
    }
    if len(set(answers.values())) > 1:
        last = block.first_sequence + count - 1
        found.differences.append(f"events of the commands {block.first_sequence} to {last}")
    found.end, found.sequence = block.end, block.first_sequence + count - 1
    found.blocks += 1
    found.events += len(next(iter(answers.values()))) // RECORD_BYTES


def _compare(engines: Mapping[str, Engine], waiting: list[_Waiting], found: Replayed) -> None:
    if not waiting:
        return
    state_hash = _state_hash(engines, found)
    for name, position, expected in waiting:
        is_here = position == found.end and position.sequence == found.sequence
        verdict = Verdict.EQUAL if state_hash == expected else Verdict.DIFFERENT
        found.snapshots.append(_judged(name, position, verdict if is_here else Verdict.ELSEWHERE))


def _state_hash(engines: Mapping[str, Engine], found: Replayed) -> bytes:
    hashes = [engine.state_hash() for engine in engines.values()]
    if len(set(hashes)) > 1:
        found.differences.append(f"state after command {found.sequence}")
    return hashes[0]
