"""The programs of tests/benchmarks/native: built here, asked for figures and for workloads."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Unavailable
from engine.laboratory.workloads import NOW_NS, Workload

SOURCES = Path(__file__).parent / "native"
FOLDER = Path("var/bench-native")
BATCH = 1024
_HEAD = struct.Struct("<QQQQ")


@dataclass(frozen=True, slots=True)
class Native:
    """Compiled programs."""

    bench: Path
    floor: Path
    profile: Path


def built() -> Native:
    """Compile. Unavailable: there is no compiler."""
    return Native(bench=_built("bench"), floor=_built("floor"), profile=_built("profile"))


def _built(name: str) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise Unavailable("the benchmark of the native engine needs g++ or clang++")
    FOLDER.mkdir(parents=True, exist_ok=True)
    program = FOLDER / name
    flags = ["-std=c++20", "-O2", "-DNDEBUG", "-g", "-no-pie"]
    subprocess.run([compiler, *flags, SOURCES / f"{name}.cpp", "-o", program], check=True)
    return program


def asked(program: Path, *words: object) -> dict[str, Any]:
    """Return the line of JSON that a program answers."""
    command = [str(program), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(programs: Native, name: str, commands: int) -> Workload:
    """Return a workload as the program draws it, seed 1."""
    path = FOLDER / f"{name}.records"
    words: list[str | Path] = [programs.bench, name, str(commands), str(BATCH), "0", path]
    subprocess.run(words, check=True)
    data = path.read_bytes()
    _, opening, timed, time_ns = _HEAD.unpack_from(data)
    assert len(data) == _HEAD.size + opening + timed
    assert time_ns == NOW_NS
    at = _HEAD.size + opening
    return Workload(name=name, seed=1, opening=data[_HEAD.size : at], timed=data[at:])
