"""The native engine on seeded workloads: in core, through Python in batches, and call by call.

Peer in core is a textbook engine of std::map and std::list whose events are compared byte for byte;
the floor touches the same lines of memory without any logic (tests/benchmarks/native).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Unavailable
from engine.native.engine import NativeEngine
from engine.records import RECORD_BYTES
from engine.reference import ReferenceEngine
from tests.benchmarks.measure import Contest, Row, Run, Timed

SOURCES = Path(__file__).parent / "native"
FOLDER = Path("var/bench-native")
WORKLOADS = {
    "w1": "one market, 50 000 resting",
    "w100": "a hundred markets, 200 000 resting",
    "adv": "500 000 resting, far levels, one long queue",
    "crash": "one market, the price jumps",
}
COMMANDS, BATCH, ROUNDS = 500_000, 1024, 5
OF_TEXTBOOK, OF_FLOOR = 2.3, 2.0
SECOND_NS = 1_000_000_000


def contests(_stack: contextlib.ExitStack) -> Iterator[Contest | Row]:
    """Yield a row per workload in core, then the ways through Python."""
    programs = {name: _built(name) for name in ("bench", "floor")}
    for name, what in WORKLOADS.items():
        yield _in_core(programs, name, what)
    work = _written(programs["bench"], "w1")
    in_core = _timed_in_core(programs["bench"])
    for batch, count, goal in (
        (8192, COMMANDS, "time <= 1.4 x in core"),
        (BATCH, COMMANDS, "time <= 1.4 x in core"),
        (1, COMMANDS // 5, "< 200 ns a call"),
    ):
        yield Contest(
            "engine, w1, Python", f"commands, {batch} a call",
            _through_python(work, batch, count), _by_reference(work), "reference engine",
            in_core, "in core, 1024 a batch", goal,
        )  # fmt: skip


def _built(name: str) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise Unavailable("the benchmark of the native engine needs g++ or clang++")
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = FOLDER / name
    flags = ["-std=c++20", "-O2", "-DNDEBUG"]
    subprocess.run([compiler, *flags, SOURCES / f"{name}.cpp", "-o", program], check=True)
    return program


def _asked(program: Path, *words: object) -> dict[str, Any]:
    command = [str(program), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _in_core(programs: dict[str, Path], name: str, what: str) -> Row:
    found = _asked(programs["bench"], name, COMMANDS, BATCH, ROUNDS)
    floor = _asked(programs["floor"], name, COMMANDS, ROUNDS)
    ours_ns, peer_ns, floor_ns = found["ours_ns"], found["textbook_ns"], floor["floor_ns"]
    assert found["equal"], f"the textbook's events on {name} are others"
    met = ours_ns * OF_TEXTBOOK <= peer_ns and ours_ns <= OF_FLOOR * floor_ns
    return Row(
        job=f"engine, {name}: {what}",
        unit="commands in core",
        ours=round(SECOND_NS / ours_ns),
        peer=round(SECOND_NS / peer_ns),
        peer_name="std::map + std::list, equal events",
        floor=round(SECOND_NS / floor_ns),
        floor_name=f"{floor['lines']} lines touched",
        goal=f"{'met' if met else 'MISSED'}: >= {OF_TEXTBOOK} x peer, time <= {OF_FLOOR} x floor; "
        f"{ours_ns} ns, {peer_ns / ours_ns:.1f} x, {ours_ns / floor_ns:.1f} x",
    )


def _timed_in_core(program: Path) -> Run:
    def run() -> Timed:
        found = _asked(program, "w1", COMMANDS, BATCH, 1)
        return Timed(COMMANDS, round(found["ours_ns"] * COMMANDS))

    return run


@dataclass(frozen=True, slots=True)
class Work:
    """A workload from its file."""

    first_sequence: int
    time_ns: int
    opening: memoryview
    timed: memoryview


def _written(program: Path, name: str) -> Work:
    path = FOLDER / f"{name}.records"
    subprocess.run([program, name, str(COMMANDS), str(BATCH), "0", path], check=True)
    data = memoryview(path.read_bytes())
    first, opening, timed, time_ns = struct.unpack_from("<QQQQ", data)
    assert len(data) == 32 + opening + timed
    return Work(first, time_ns, data[32 : 32 + opening], data[32 + opening :])


def _opened(work: Work) -> NativeEngine:
    engine = NativeEngine()
    step = BATCH * RECORD_BYTES
    for at in range(0, len(work.opening), step):
        engine.apply_records(
            work.opening[at : at + step], first_sequence=engine.sequence + 1, time_ns=work.time_ns
        )
    return engine


def _through_python(work: Work, batch: int, count: int) -> Run:
    step = batch * RECORD_BYTES
    starts = range(0, count * RECORD_BYTES, step)
    pieces = [bytes(work.timed[at : at + step]) for at in starts]

    def run() -> Timed:
        apply, sequence, now = _opened(work).apply_records, work.first_sequence, work.time_ns
        before = time.process_time_ns()
        for piece in pieces:
            apply(piece, first_sequence=sequence, time_ns=now)
            sequence += batch
        return Timed(count, time.process_time_ns() - before)

    return run


def _by_reference(work: Work) -> Run:
    count = 5_000

    def run() -> Timed:
        engine = ReferenceEngine.load(_opened(work).dump())
        records = bytes(work.timed[: count * RECORD_BYTES])
        before = time.process_time_ns()
        engine.apply_records(records, first_sequence=work.first_sequence, time_ns=work.time_ns)
        return Timed(count, time.process_time_ns() - before)

    return run
