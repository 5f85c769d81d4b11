"""Kill -9 of a process that feeds an engine, again and again, on a real disk (L07).

`python -m tests.support.engine_killing FOLDER EPOCH SEED` is the victim: it recovers, submits what
is drawn through the sequencer, writes snapshots beside that, and says on its standard output what
was acknowledged, after it was. `Killing` starts it, kills it, and holds the disk against that.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from core.clock import ManualClock
from core.entropy import SeededDice
from core.errors import Corrupt
from engine.base import Engine
from engine.blocks import GENESIS
from engine.events import Projected
from engine.factory import EngineKind, engine_factory
from engine.files import DiskStorage
from engine.journal import JournalReader
from engine.laboratory.drawn import MARKETS, Commands
from engine.records import pack_command, unpack_events
from engine.recovery import ReferenceFactory, recover, replay
from engine.sequencer import Sequencer, apply_block
from engine.snapshot import prune_snapshots

ROOT = Path(__file__).resolve().parents[2]
SEGMENT_BYTES = 1 << 16
NATIVE = engine_factory(EngineKind.NATIVE)


# ------------------------------------------------------------------- the victim


def feed(folder: Path, epoch: int, seed: int) -> None:
    """Recover and execute until killed."""
    drawn, clock = Commands(seed, jumps=False), ManualClock()
    storage = DiskStorage(folder)
    room = recover(
        storage,
        epoch=epoch,
        clock=clock,
        lease=lambda: None,
        factory=NATIVE,
        lag_events_max=1 << 30,
        segment_bytes_max=SEGMENT_BYTES,
    )
    with room.reading() as engine:
        _go_on(drawn, engine)
    room.start()
    say("ready")
    threading.Thread(target=_snapshots, args=(room, storage), daemon=True).start()
    waiting = list(drawn.opening()) if epoch == 1 else []
    while True:
        count = drawn.random.choice([1, 1, 2, 5, 30, 200])
        batch = [waiting.pop(0) if waiting else drawn.next() for _ in range(count)]
        clock.step(max(0, drawn.time_ns - clock.now_ns()))
        if drawn.random.random() < 0.5:
            events = unpack_events(room.execute_records(b"".join(map(pack_command, batch))))
        else:
            answers = [room.submit(command) for command in batch]
            events = [event for answer in answers for event in answer.result(60)]
        at = room.position
        say(f"{at.epoch} {at.sequence} {at.hash.hex()}")
        drawn.observe(events)


def _go_on(drawn: Commands, engine: Engine) -> None:
    """Draw on from what an earlier life left."""
    drawn.number = engine.funding_number
    drawn.time_ns = max(drawn.time_ns, engine.time_ns)
    for customer_no in drawn.customers:
        drawn.open |= {each.order_id: customer_no for each in engine.open_orders(customer_no)}
    if engine.sequence:
        drawn.markets |= MARKETS


def _snapshots(room: Sequencer, storage: DiskStorage) -> None:
    while True:
        room.snapshot(storage)
        prune_snapshots(storage, behind=room.position.sequence)


def say(line: str) -> None:
    """Tell whoever kills."""
    os.write(1, f"{line}\n".encode())


# ------------------------------------------------------------------- the killer


@dataclass(slots=True)
class Killing:
    """One folder, many lives. `findings` is what was not as it must be."""

    folder: Path
    seed: int
    epoch: int = 0
    acknowledged: Projected = GENESIS
    findings: list[str] = field(default_factory=list)
    reference: Engine = field(default_factory=ReferenceFactory().new)
    """Fed from the first block on, by the journal alone."""
    kills_under_load: int = 0
    kills_while_starting: int = 0
    kills_with_more_on_disk: int = 0
    """There were commands on the disk that nobody had been answered for."""
    kills_within_a_file: int = 0
    """A file was left that was not yet in place."""

    def kill(self) -> None:
        """Live one life, end it, and judge what is left."""
        self.epoch += 1
        dice = SeededDice(self.seed * 1_000_003 + self.epoch)
        victim = subprocess.Popen(
            [
                sys.executable, "-m", "tests.support.engine_killing", str(self.folder),
                str(self.epoch), str(dice.randrange(1 << 30)),
            ],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )  # fmt: skip
        assert victim.stdout is not None
        lines = []
        if self.epoch > 2 and dice.random() < 0.2:
            time.sleep(dice.randrange(900) / 1000)  # while it is still starting, or replaying
        else:
            lines = [victim.stdout.readline() for _ in range(1 + dice.randrange(30))]
            time.sleep(dice.randrange(20_000) / 1_000_000)
        victim.kill()
        lines += victim.stdout.read().splitlines(keepends=True)
        victim.stdout.close()
        if victim.wait() != -9:
            self.findings.append(f"epoch {self.epoch}: ended by itself with {victim.returncode}")
        whole = [line.split() for line in lines if line.endswith(b"\n") and line != b"ready\n"]
        if whole:
            epoch, sequence, hash_hex = whole[-1]
            self.acknowledged = Projected(
                epoch=int(epoch), sequence=int(sequence), hash=bytes.fromhex(hash_hex.decode())
            )
        self.kills_under_load += bool(whole)
        self.kills_while_starting += not lines
        self.kills_within_a_file += bool([*self.folder.glob("*.tmp")])
        self.judge()

    def judge(self) -> None:
        """Hold the disk against what was acknowledged, and recovery against the journal alone."""
        storage = DiskStorage(self.folder)
        where = f"epoch {self.epoch}, seed {self.seed}"
        try:
            engine, _, end = replay(storage, projected=self.acknowledged, factory=NATIVE)
            for block in JournalReader(storage).blocks_from(self.reference.sequence):
                if block.first_sequence > self.reference.sequence:
                    apply_block(self.reference, block)
        except Corrupt as error:
            self.findings.append(f"{where}: {error}")
            return
        if end.sequence < self.acknowledged.sequence:
            self.findings.append(f"{where}: {self.acknowledged} was promised, there is {end}")
        self.kills_with_more_on_disk += end.sequence > self.acknowledged.sequence
        if engine.sequence != self.reference.sequence:
            self.findings.append(f"{where}: recovered {engine.sequence} of {end.sequence}")
        if engine.state_hash() != self.reference.state_hash():
            self.findings.append(f"{where}: I12: the state at {end.sequence} is not the journal's")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        feed(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
