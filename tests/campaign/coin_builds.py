"""`make campaign ARGS=coin-builds`: the kernel of coins' blocks under every compiler.

`ARGS="coin-builds -- BLOCKS"`. Each build reads blocks with wrong bytes beside the readable twin;
those with sanitizers stop at the first undefined behaviour and run the kernel's tests as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaign.builds import (
    COMPILERS,
    OPTIMISED,
    ROOT,
    SANITIZED,
    Build,
    compile_command,
    loaded,
)

SOURCES = ROOT / "chains/native"
BLOCKS = 3_000
TESTS = (
    "tests/unit/chains/bitcoin/test_native_blocks.py",
    "tests/unit/chains/bitcoin/test_block.py",
)
PROGRAM = """
import importlib.util, sys
path, blocks = sys.argv[1], int(sys.argv[2])
spec = importlib.util.spec_from_file_location("chains.native._blocks", path)
module = importlib.util.module_from_spec(spec)
sys.modules["chains.native._blocks"] = module
spec.loader.exec_module(module)
import chains.native
chains.native._blocks = module
tests = sys.argv[3:]
if tests:
    import pytest
    sys.exit(pytest.main(["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
from tests.support.coin_fuzz import compared
seen, found = compared(10**6, blocks)
assert not found, found
print(f"{blocks} blocks with wrong bytes, {len(seen)} answers, {seen['taken']} taken")
"""


def campaign(words: Sequence[str]) -> list[str]:
    """Return the builds that failed."""
    blocks = int(words[0]) if words else BLOCKS
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found: list[str] = []
    for compiler in COMPILERS:
        if shutil.which(compiler) is None:
            print(f"coin-builds: {compiler}: not run, there is none", flush=True)
            continue
        for flags in (*OPTIMISED, SANITIZED):
            build = Build(compiler, flags, here)
            with tempfile.TemporaryDirectory() as folder:
                for said, went_well in _runs(build, Path(folder) / "_blocks.so", blocks):
                    print(f"coin-builds: {build}: {said.splitlines()[-1]}", flush=True)
                    found += [] if went_well else [f"{build}: {said[-2_000:]}"]
    return found


def _runs(build: Build, module: Path, blocks: int) -> Iterator[tuple[str, bool]]:
    """Yield what each run of a build said, and whether it went well."""
    made = subprocess.run(
        compile_command(build, sys.executable, module, SOURCES), capture_output=True, text=True
    )
    if made.returncode:
        yield made.stderr or "does not compile", False
        return
    is_sanitized = build.flags == SANITIZED
    env = os.environ | {"PYTHONPATH": str(ROOT)} | (loaded(build) if is_sanitized else {})
    for tests in ((), TESTS) if is_sanitized else ((),):
        words = [sys.executable, "-c", PROGRAM, str(module), str(blocks), *tests]
        done = subprocess.run(words, env=env, capture_output=True, text=True, cwd=ROOT)
        yield (done.stdout + done.stderr).strip() or "said nothing", not done.returncode
