"""`make campaign ARGS=builds`: one answer from every compiler, optimisation and Python (L08).

Each build of the native core answers the same seeded commands beside the reference; the digests of
all answers must be equal. The builds with sanitizers also stop at the first undefined behaviour.
What is not on this machine is printed as not run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nanobind  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "engine/native"
COMPILERS = ("g++", "clang++")
PYTHONS = ("3.11", "3.12", "3.13")
OPTIMISED = (("-O2", "-DNDEBUG"), ("-O3", "-DNDEBUG"))
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COMMANDS = 20_000

PROGRAM = """
import hashlib, importlib.util, sys
path, commands = sys.argv[1], int(sys.argv[2])
spec = importlib.util.spec_from_file_location("engine.native._core", path)
module = importlib.util.module_from_spec(spec)
sys.modules["engine.native._core"] = module
spec.loader.exec_module(module)
from tests.support.differential import compare
from tests.unit.engine.rough import WEATHER
digest = hashlib.sha256()
for seed, weather in enumerate(WEATHER):
    compared = compare(weather, seed, commands)
    digest.update(repr(sorted(compared.seen.items())).encode() + compared.state_hash)
print(digest.hexdigest())
"""


@dataclass(frozen=True, slots=True)
class Build:
    """One way to make the module, and the interpreter it is for."""

    compiler: str
    flags: tuple[str, ...]
    python: str

    def __str__(self) -> str:
        return f"{self.compiler} {' '.join(self.flags)} Python {self.python}"


def campaign(words: Sequence[str]) -> list[str]:
    """Return the builds that failed or answered otherwise than the first one."""
    commands = int(words[0]) if words else COMMANDS
    found: list[str] = []
    digests: dict[str, str] = {}
    for build in _builds():
        missing = _what_is_missing(build)
        if missing:
            print(f"builds: {build}: not run, there is no {missing}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            digest = _digest(build, Path(folder), commands, found)
        if digest:
            digests[str(build)] = digest
            print(f"builds: {build}: {digest[:16]}", flush=True)
    if len(set(digests.values())) > 1:
        found.append(f"the builds do not agree: {digests}")
    return found


def _builds() -> Iterator[Build]:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for compiler in COMPILERS:
        yield from (Build(compiler, flags, here) for flags in (*OPTIMISED, SANITIZED))
    yield from (Build("g++", OPTIMISED[0], python) for python in PYTHONS if python != here)


def _what_is_missing(build: Build) -> str | None:
    if shutil.which(build.compiler) is None:
        return build.compiler
    return None if interpreter(build.python) else f"Python {build.python}"


def interpreter(version: str) -> str | None:
    """Return the interpreter of a version: this one, one of pyenv's, or one on the path."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    return str(pyenv[-1]) if pyenv else shutil.which(f"python{version}")


def _digest(build: Build, folder: Path, commands: int, found: list[str]) -> str | None:
    python = interpreter(build.python)
    assert python is not None
    module = folder / "_core.so"
    made = subprocess.run(compile_command(build, python, module), capture_output=True, text=True)
    if made.returncode:
        found.append(f"{build}: does not compile: {made.stderr[-2000:]}")
        return None
    is_sanitized = build.flags == SANITIZED
    done = subprocess.run(
        [python, "-c", PROGRAM, str(module), str(commands // 10 if is_sanitized else commands)],
        env=_environment(build) if is_sanitized else {**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode:
        found.append(f"{build}: {done.stderr[-4000:]}")
        return None
    if is_sanitized:
        print(f"builds: {build}: clean", flush=True)
        return None
    return done.stdout.strip()


def compile_command(build: Build, python: str, module: Path) -> list[str]:
    """Return what makes the native module of a build."""
    place = Path(nanobind.__file__).parent
    ask = "import sysconfig; print(sysconfig.get_paths()['include'])"
    include = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    return [
        build.compiler,
        *("-std=c++20", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"),
        *build.flags,
        *(f"-I{place / 'include'}", f"-isystem{place / 'ext/robin_map/include'}"),
        f"-isystem{include.stdout.strip()}",
        *(str(SOURCES / "binding.cpp"), str(place / "src/nb_combined.cpp")),
        *("-o", str(module)),
    ]


def _environment(build: Build) -> dict[str, str]:
    library = "libasan.so" if build.compiler == "g++" else "libclang_rt.asan-x86_64.so"
    ask = [build.compiler, f"-print-file-name={library}"]
    preload = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LD_PRELOAD": preload,
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
