"""L07 on a real disk: a process killed under load has what it acknowledged."""

from __future__ import annotations

from pathlib import Path

from engine.blocks import HEADER_BYTES
from engine.files import DiskStorage
from engine.journal import verify
from engine.snapshot import snapshot_names
from tests.support.engine_killing import Killing

KILLS = 20


def test_L07_kill_9_under_load_keeps_everything_acknowledged(tmp_path: Path) -> None:
    run = Killing(tmp_path, seed=1)
    for _ in range(KILLS):
        run.kill()
    assert run.findings == []
    assert run.kills_under_load > KILLS // 2
    assert run.reference.sequence > 1_000
    storage = DiskStorage(tmp_path)
    assert snapshot_names(storage)
    tail = verify(storage, run.acknowledged).tail
    assert tail is not None
    # The control: with the last acknowledged block damaged, the same judge does find it.
    segment = tmp_path / tail.name
    data = bytearray(segment.read_bytes())
    data[tail.offset + HEADER_BYTES] ^= 1
    segment.write_bytes(data)
    run.judge()
    assert run.findings
