"""`make campaign ARGS=builds`: one answer from every compiler, optimisation and Python (L08).

Each build of the native core answers the same seeded commands beside the reference; the digests of
all answers must be equal. The builds with sanitizers stop at the first undefined behaviour, look at
the invariants after every command, and run the tests of edges and the state machine as well. What
is not on this machine is printed as not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nanobind  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "engine/native"
COMPILERS = ("g++", "clang++")
ZIG = "zig c++"
"""Clang from the package registry, with a library of its own: fetched where there is no clang++."""
ZIG_PACKAGE = "ziglang==0.17.0"
PYTHONS = ("3.11", "3.12", "3.13")
OPTIMISED = (("-O2", "-DNDEBUG"), ("-O3", "-DNDEBUG"))
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CHECKED = ("-O1", "-g")
"""With the checks of debug builds."""
FAULTS = (
    ("giving.locked -= give;", ""),
    ("given.fees += maker_fees", "given.fees += maker_fees + 1"),
    ("account.available -= lock, account.locked += lock;", "account.locked += lock;"),
    ("- maker_fee;\n", ";\n"),
)
"""Money lost or made: each must end a checked build by its own I11, without a reference beside."""
COMMANDS = 20_000
TESTS = (
    "tests/unit/engine/test_native.py",
    "tests/unit/engine/test_native_dumps.py",
    "tests/unit/engine/test_edges.py",
    "tests/unit/engine/test_large_answers.py",
    "tests/unit/engine/test_retire_and_collar.py",
    "tests/properties/test_native_machine.py::TestPair",
)

PROGRAM = """
import hashlib, importlib.util, sys
path, commands = sys.argv[1], int(sys.argv[2])
spec = importlib.util.spec_from_file_location("engine.native._core", path)
module = importlib.util.module_from_spec(spec)
sys.modules["engine.native._core"] = module
spec.loader.exec_module(module)
from tests.support.differential import compare
from engine.laboratory.weather import WEATHER
tests = sys.argv[3:]
if tests:
    import pytest
    sys.exit(pytest.main(["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
digest = hashlib.sha256()
for seed, weather in enumerate(WEATHER):
    compared = compare(weather, seed, commands)
    digest.update(repr(sorted(compared.seen.items())).encode() + compared.state_hash)
print(digest.hexdigest())
"""


_UV = (str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps")
_LOCKED = re.compile(r"^google-crc32c==(?:.*\\\n)*.*\n", re.MULTILINE)
"""What the engine imports from outside: a line of the lock and those it goes on with."""


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
    found += (f"nobody noticed {fault}" for fault in FAULTS if not _is_noticed(*fault))
    return found


def _is_noticed(right: str, wrong: str) -> bool:
    """Build the core with a fault; return whether its own check of I11 stops it."""
    build = Build("g++", CHECKED, f"{sys.version_info[0]}.{sys.version_info[1]}")
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(shutil.copytree(SOURCES, Path(folder) / "native"))
        engine = sources / "engine.hpp"
        text = engine.read_text("utf-8")
        assert text.count(right) == 1, right
        engine.write_text(text.replace(right, wrong), "utf-8")
        module = Path(folder) / "_core.so"
        words = compile_command(build, sys.executable, module, sources)
        subprocess.run(words, check=True, capture_output=True)
        run = [sys.executable, "-c", PROGRAM, str(module), str(COMMANDS // 10)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(run, env=env, capture_output=True, text=True, cwd=ROOT)
        is_noticed = "I11: money or a book is broken" in done.stderr
    print(f"builds: with {wrong.strip() or 'no'} for {right.strip()}: noticed: {is_noticed}")
    return is_noticed


def _builds() -> Iterator[Build]:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for compiler in COMPILERS:
        yield from (Build(compiler, flags, here) for flags in (*OPTIMISED, SANITIZED))
    if shutil.which("clang++") is None:
        yield Build(ZIG, OPTIMISED[0], here)
    yield from (Build("g++", OPTIMISED[0], python) for python in PYTHONS if python != here)


def _what_is_missing(build: Build) -> str | None:
    if build.compiler != ZIG and shutil.which(build.compiler) is None:
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
    words, env = compile_command(build, python, module), dict(os.environ)
    if build.compiler == ZIG:
        subprocess.run([*_UV, "--target", str(folder / "zig"), ZIG_PACKAGE], check=True)
        words = [sys.executable, "-m", "ziglang", "c++", *words[1:]]
        env |= {"PYTHONPATH": str(folder / "zig"), "ZIG_GLOBAL_CACHE_DIR": str(folder / "cache")}
    made = subprocess.run(words, env=env, capture_output=True, text=True)
    if made.returncode:
        found.append(f"{build}: does not compile: {made.stderr[-2000:]}")
        return None
    words = [python, "-c", PROGRAM, str(module)]
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{_packages(python, folder)}"}
    if build.flags != SANITIZED:
        return _answer(build, [*words, str(commands)], env, found)
    for tests in ((), TESTS):
        answer = _answer(build, [*words, str(commands // 10), *tests], env | loaded(build), found)
        if answer is None:
            return None
        print(f"builds: {build}: clean, {answer.splitlines()[-1]}", flush=True)
    return None


def _answer(
    build: Build, words: Sequence[str], env: Mapping[str, str], found: list[str]
) -> str | None:
    done = subprocess.run(words, env=env, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        found.append(f"{build}: {done.stdout[-2000:]} {done.stderr[-4000:]}")
        return None
    return done.stdout.strip()


def _packages(python: str, folder: Path) -> Path:
    """Install for another interpreter what the engine imports, at the locked version."""
    packages = folder / "packages"
    if python != sys.executable:
        lock = (ROOT / "requirements/dev.lock").read_text("utf-8")
        needed = folder / "needed.lock"
        needed.write_text("".join(_LOCKED.findall(lock)), "utf-8")
        where = ["--require-hashes", "--python", python, "--target", str(packages)]
        subprocess.run([*_UV, *where, "-r", str(needed)], check=True)
    return packages


def compile_command(build: Build, python: str, module: Path, sources: Path = SOURCES) -> list[str]:
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
        *(str(sources / "binding.cpp"), str(place / "src/nb_combined.cpp")),
        *("-o", str(module)),
    ]


def loaded(build: Build) -> dict[str, str]:
    """Return the environment in which a build with sanitizers can be imported."""
    asan = "libasan.so" if build.compiler == "g++" else "libclang_rt.asan-x86_64.so"
    preload = []
    for library in (asan, "libstdc++.so.6"):  # the sanitizer must see exceptions from the start
        ask = [build.compiler, f"-print-file-name={library}"]
        preload.append(
            subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
        )
    return {
        "LD_PRELOAD": " ".join(preload),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
