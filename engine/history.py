"""What was, asked of the journal: the engine and its books at any sequence, and what commands did.

Everything begins at the newest sound snapshot that is not after what is asked for, and replays the
journal from there; so the work is bounded by the distance between two snapshots, as far back as
snapshots are kept. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import Corrupt, Reason, Refused
from engine.applied import AppliedBlock
from engine.base import Depth, Engine
from engine.blocks import GENESIS, Block
from engine.events import Projected
from engine.files import Storage
from engine.journal import JournalReader
from engine.records import RECORD_BYTES
from engine.recovery import EngineFactory
from engine.sequencer import apply_block
from engine.snapshot import sound_snapshots


@dataclass(frozen=True, slots=True)
class Replayed:
    """One block on the way, and what it caused; the engine stands after it."""

    block: Block
    applied: AppliedBlock


class Replay:
    """An engine on its way through the journal."""

    def __init__(self, storage: Storage, *, factory: EngineFactory, after: int) -> None:
        """Stand at the newest sound snapshot that is not after a sequence, else at the start.

        Refused: not_found when the journal was pruned, and no snapshot is kept that far back.
        Corrupt: the journal's files contradict each other, or the snapshot is no state.
        """
        self._reader = JournalReader(storage)
        self.engine: Engine
        self.position: Projected
        """The end of the last block that was begun."""
        for snapshot in sound_snapshots(storage, up_to=after):
            self.engine, self.position = factory.load(snapshot.dump), snapshot.position
            if self.engine.sequence != self.position.sequence:
                raise Corrupt(f"snapshot at {self.position} holds state {self.engine.sequence}")
            break
        else:
            if self._reader.start != GENESIS:
                begins = self._reader.start.sequence + 1
                raise Refused(Reason.NOT_FOUND, f"the journal begins at sequence {begins}")
            self.engine, self.position = factory.new(), GENESIS

    @property
    def torn(self) -> str | None:
        """Return where the journal ended in a block that was never whole, once that was read."""
        return self._reader.torn

    def blocks(self) -> Iterator[Replayed]:
        """Apply and yield block by block to the end of the journal.

        Corrupt: damaged, or the snapshot's position is not in it.
        """
        for block in self._after(self.position):
            applied = apply_block(self.engine, block)
            self.position = block.end
            yield Replayed(block, applied)

    def go_to(self, sequence: int) -> None:
        """Apply everything up to a sequence, in the middle of a block if need be.

        Refused: not_found when the journal ends before it. Corrupt: see blocks.
        """
        for block in self._after(self.position):
            if self.engine.sequence == sequence:
                return
            count = min(block.count, sequence - self.engine.sequence)
            self.engine.apply_records(
                block.records[: count * RECORD_BYTES],
                first_sequence=block.first_sequence,
                time_ns=block.time_ns,
            )
            self.position = block.end
        if self.engine.sequence != sequence:
            raise Refused(Reason.NOT_FOUND, f"the journal ends at {self.engine.sequence}")

    def _after(self, start: Projected) -> Iterator[Block]:
        """Yield the blocks after a position, which must be in the journal."""
        is_there = self._reader.start_for(start.sequence) == start
        for block in self._reader.blocks_from(start.sequence):
            if block.first_sequence > start.sequence:
                if not is_there:
                    break
                yield block
            is_there = is_there or block.end == start
        if not is_there:
            raise Corrupt(f"the snapshot stands at {start}, which is not in the journal")


def depth_at(
    storage: Storage, *, factory: EngineFactory, market_no: int, sequence: int, levels: int
) -> Depth:
    """Return the best levels of a market as they stood after a command, long ago or just now.

    Refused: not_found when the journal does not reach it; unknown_market when there was none then.
    Corrupt: the journal is damaged on the way, or the snapshot is not of it.
    """
    replay = Replay(storage, factory=factory, after=sequence)
    replay.go_to(sequence)
    return replay.engine.depth(market_no, levels)
