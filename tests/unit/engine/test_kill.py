"""L07 on a real disk: a process killed under load has what it acknowledged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.clock import SystemClock
from engine.events import Projected
from engine.files import DiskStorage
from engine.recovery import ReferenceFactory, recover, replay

KILLS = 8

WORKER = """
import sys
from pathlib import Path
from core.clock import SystemClock
from engine.commands import AddAsset, Credit
from engine.files import DiskStorage
from engine.recovery import recover
storage = DiskStorage(Path(sys.argv[1]))
room = recover(storage, epoch=int(sys.argv[2]), clock=SystemClock(), lease=lambda: None)
room.execute([AddAsset(asset_no=1)])
while True:
    with room.reading() as engine:
        number = engine.funding_number
    batch = [
        Credit(number=number + n, customer_no=n, asset_no=1, amount=1) for n in range(1, 6)
    ]
    room.execute(batch)
    sys.stdout.write(f"{room.position.sequence} {room.position.hash.hex()} {number + 5}\\n")
    sys.stdout.flush()
    if number % 50 == 0:
        room.snapshot(storage)
"""


def test_L07_kill_9_under_load_keeps_everything_acknowledged(tmp_path: Path) -> None:
    sequence, hash_hex, number = 0, "", 0
    for epoch in range(1, KILLS + 1):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(epoch)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": "."},
            text=True,
        )
        assert worker.stdout is not None
        lines = [worker.stdout.readline() for _ in range(20 + 7 * epoch)]
        worker.kill()
        lines += worker.stdout.read().splitlines(keepends=True)
        worker.stdout.close()
        assert worker.wait() == -9
        whole = [line.split() for line in lines if line.endswith("\n")]
        sequence, hash_hex, number = int(whole[-1][0]), whole[-1][1], int(whole[-1][2])
        projected = Projected(epoch=epoch, sequence=sequence, hash=bytes.fromhex(hash_hex))
        engine, _, end = replay(
            DiskStorage(tmp_path), projected=projected, factory=ReferenceFactory()
        )
        assert end.sequence >= sequence
        assert engine.funding_number >= number
        assert engine.totals(1).supply == engine.funding_number
    room = recover(DiskStorage(tmp_path), epoch=KILLS + 1, clock=SystemClock(), lease=lambda: None)
    with room.reading() as engine:
        assert engine.funding_number >= number > 5 * 20
    room.stop()
