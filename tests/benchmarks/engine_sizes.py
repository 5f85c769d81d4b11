"""How much: lines of native code, the build, the wheel, memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Fact

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "engine" / "native"
FOLDER = Path("var/bench-wheel")
LINES_MOST, COLUMNS_MOST = 500, 100
BUILD_S_MOST, WHEEL_BYTES_MOST = 20, 200_000
ORDER_BYTES_MOST, RESIDENT_BYTES_MOST = 48, 64 << 20


def rows() -> Iterator[Fact]:
    """Yield the sizes."""
    yield _lines()
    yield from _wheel()
    yield from _memory()


def _lines() -> Fact:
    texts = [path.read_text("utf-8") for path in sorted(NATIVE.glob("*.[hc]pp"))]
    lines = [line for text in texts for line in text.splitlines()]
    code = [line for line in lines if line.strip() and not line.strip().startswith("//")]
    widest = max(map(len, lines))
    return Fact(
        job="engine, native code",
        what="lines with code in engine/native/*.hpp and *.cpp",
        ours=f"{len(code)} lines, {widest} columns",
        beside=f"{len(lines)} with comments and blank ones, {len(texts)} files",
        goal=f"< {LINES_MOST} of {COLUMNS_MOST} columns",
        is_met=len(code) < LINES_MOST and widest <= COLUMNS_MOST,
        why="; ".join(
            f"{path.name} {path.read_text('utf-8').count(chr(10))}"
            for path in sorted(NATIVE.glob("*.[hc]pp"))
        ),
    )


def _wheel() -> Iterator[Fact]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.whl"):
        old.unlink()
    command: list[str | Path] = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "--wheel-dir", FOLDER, ROOT,
    ]  # fmt: skip
    before, cpu_before = time.perf_counter(), _children_cpu_s()
    subprocess.run(command, check=True)
    took_s, cpu_s = time.perf_counter() - before, _children_cpu_s() - cpu_before
    yield Fact(
        job="engine, build",
        what="the whole wheel: cmake, compiler, packing",
        ours=f"{took_s:.1f} s",
        beside=f"{cpu_s:.1f} s of CPU",
        goal=f"< {BUILD_S_MOST} s",
        is_met=took_s < BUILD_S_MOST,
        why=f"{cpu_s:.1f} s of CPU; the rest waited for other work on the machine"
        if cpu_s < BUILD_S_MOST
        else "the compiler itself",
    )
    [wheel] = FOLDER.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        room = [part for part in packed.infolist() if part.filename.startswith("engine/")]
    native = [part for part in room if part.filename.startswith("engine/native/")]
    extension = [part for part in native if part.filename.endswith(".so")]
    assert extension, f"{wheel} was built without the native core"
    bytes_ = sum(part.compress_size for part in native)
    yield Fact(
        job="engine, wheel",
        what="engine/native in the wheel, as packed there",
        ours=f"{bytes_:,} bytes",
        beside=f"the extension {sum(part.file_size for part in extension):,} on disk; packed, all "
        f"of engine/ {sum(part.compress_size for part in room):,}, the whole product "
        f"{wheel.stat().st_size:,}",
        goal=f"< {WHEEL_BYTES_MOST:,} bytes",
        is_met=bytes_ < WHEEL_BYTES_MOST,
    )


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory() -> Iterator[Fact]:
    found = _measured("orders")
    each = found["orders_bytes"] / found["orders"]
    yield Fact(
        job="engine, memory",
        what=f"a resting order, {found['orders']:,} of them at {found['levels']:,} prices",
        ours=f"{each:.1f} bytes",
        beside="all that the process grew by, remembered client ids included",
        goal=f"<= {ORDER_BYTES_MOST} bytes",
        is_met=each <= ORDER_BYTES_MOST,
        why="an order is a node in the book, the record of what was sent, kept to know it again "
        "for a day, and a place in the table of client ids",
    )
    found = _measured("markets")
    yield Fact(
        job="engine, memory",
        what=f"{found['markets']:,} markets, {found['orders']:,} resting orders at "
        f"{found['levels']:,} prices",
        ours=f"{found['process_bytes'] / (1 << 20):.1f} MB, Python and all",
        beside=f"the engine {found['engine_bytes'] / (1 << 20):.1f} MB of it",
        goal=f"< {RESIDENT_BYTES_MOST >> 20} MB",
        is_met=found["process_bytes"] < RESIDENT_BYTES_MOST,
        why=f"orders and levels {found['orders_bytes'] / (1 << 20):.1f} MB of it",
    )


def _measured(what: str) -> dict[str, Any]:
    """Measure in a process of its own: memory that others freed would be used again."""
    command = [sys.executable, "-m", "tests.benchmarks.engine_memory", what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
