"""`make campaign ARGS=journal-replayed`: one journal on every Python, under five hash seeds (L08).

`ARGS="journal-replayed -- COMMANDS"`. Both engines; the state hash after every thousand commands.
A Python that is not on this machine is printed as not run. Another Python than this one gets the
native core compiled for it, and the checksum in readable Python.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.factory import EngineKind
from tests.campaign.builds import OPTIMISED, PYTHONS, Build, compile_command, interpreter
from tests.support.journal_hashes import HASH_SEEDS, hashes_elsewhere, make_journal

COMMANDS = 50_000

ELSEWHERE = """
import importlib.util, sys, types
checksums = types.ModuleType("google_crc32c")
checksums.implementation = "c"
sys.modules["google_crc32c"] = checksums
from tests.unit.engine.crc32c_twin import crc32c
checksums.value = crc32c
spec = importlib.util.spec_from_file_location("engine.native._core", {path!r})
module = importlib.util.module_from_spec(spec)
sys.modules["engine.native._core"] = module
spec.loader.exec_module(module)
"""


def campaign(words: Sequence[str]) -> list[str]:
    """Return who disagreed with the first, and where for the first time."""
    commands = int(words[0]) if words else COMMANDS
    found: list[str] = []
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        make_journal(journal, commands)
        expected: list[str] = []
        for version in PYTHONS:
            python = interpreter(version)
            if python is None:
                print(f"journal-replayed: Python {version}: not run, it is not here", flush=True)
                continue
            program = "" if version == here else _program(python, version, Path(folder))
            for kind in (EngineKind.NATIVE, EngineKind.REFERENCE):
                for hash_seed in HASH_SEEDS:
                    what = f"Python {version}, {kind.value}, PYTHONHASHSEED {hash_seed}"
                    hashes = hashes_elsewhere(
                        journal, kind, hash_seed=hash_seed, python=python, program=program
                    )
                    expected = expected or hashes
                    found += _difference(what, expected, hashes, commands)
                    print(f"journal-replayed: {what}: {len(hashes)} hashes", flush=True)
    return found


def _program(python: str, version: str, folder: Path) -> str:
    module = folder / f"core-{version}.so"
    build = Build("g++", OPTIMISED[0], version)
    subprocess.run(compile_command(build, python, module), check=True, capture_output=True)
    return ELSEWHERE.format(path=str(module))


def _difference(what: str, expected: list[str], hashes: list[str], commands: int) -> list[str]:
    if len(hashes) != commands // 1_000 or len(set(hashes)) != len(hashes):
        return [f"{what}: {len(hashes)} hashes, {len(set(hashes))} different ones"]
    return [
        f"{what}: another state after {(n + 1) * 1_000} commands"
        for n, (one, other) in enumerate(zip(expected, hashes, strict=True))
        if one != other
    ][:1]
