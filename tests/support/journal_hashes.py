"""One journal, the state hash after every thousand commands: the same everywhere (L08).

`python -m tests.support.journal_hashes FOLDER KIND` prints them, one a line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from core.clock import ManualClock
from engine.factory import EngineKind, engine_factory
from engine.files import DiskStorage, Storage
from engine.journal import JournalReader
from engine.laboratory.drawn import Commands
from engine.records import RECORD_BYTES
from engine.recovery import recover

ROOT = Path(__file__).resolve().parents[2]
EVERY = 1_000
HASH_SEEDS = ("0", "1", "2", "77", "4294967295")


def make_journal(folder: Path, commands: int, seed: int = 1) -> None:
    """Execute drawn commands in blocks of many sizes."""
    drawn = Commands(seed)
    clock = ManualClock(drawn.time_ns)
    room = recover(
        DiskStorage(folder), epoch=1, clock=clock, lease=lambda: None,
        factory=engine_factory(), lag_events_max=1 << 62,
    )  # fmt: skip
    waiting = list(drawn.opening())
    while room.position.sequence < commands:
        count = min(drawn.random.choice([1, 7, 60, 400]), commands - room.position.sequence)
        batch = [waiting.pop(0) if waiting else drawn.next() for _ in range(count)]
        clock.step(max(0, drawn.time_ns - clock.now_ns()))
        for events in room.execute(batch):
            drawn.observe(events)
    room.stop()


def hashes(storage: Storage, kind: EngineKind) -> Iterator[str]:
    """Yield the state hash after every thousand commands, in the middle of a block if need be."""
    engine = engine_factory(kind).new()
    for block in JournalReader(storage).blocks_from(0):
        at = 0
        while at < len(block.records):
            end = at + (EVERY - engine.sequence % EVERY) * RECORD_BYTES
            engine.apply_records(
                block.records[at:end],
                first_sequence=engine.sequence + 1,
                time_ns=block.time_ns,
            )
            at = end
            if engine.sequence % EVERY == 0:
                yield engine.state_hash().hex()


def hashes_elsewhere(
    folder: Path,
    kind: EngineKind,
    *,
    hash_seed: str,
    python: str = sys.executable,
    program: str = "",
) -> list[str]:
    """Return the hashes that another process finds; `program` runs in it before."""
    code = f"{program}\nimport sys; from tests.support.journal_hashes import main; main(sys.argv)"
    done = subprocess.run(
        [python, "-c", code, str(folder), kind.value],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{python}: {done.stderr[-2_000:]}")
    return done.stdout.split()


def main(words: list[str]) -> None:
    """Print the hashes."""
    for found in hashes(DiskStorage(Path(words[1])), EngineKind(words[2])):
        print(found)


if __name__ == "__main__":
    main(sys.argv)
