"""Why a row in core misses: where the processor is during the timed commands, by function."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator

from tests.benchmarks.engine_native import FOLDER, Native, written

COMMANDS, ROUNDS, SHOWN = 200_000, 25, 6
_NAME = re.compile(r"(~?\w+)(?:<[^()]*>)?\(")
_TRIVIAL = {"operator", "__int128", "as", "min", "max", "move", "exchange"}


def profile(programs: Native, name: str) -> str:
    """Return the functions with most of the time of one workload, and their shares."""
    if shutil.which("addr2line") is None:
        return "no profile: addr2line is not installed"
    written(programs, name, COMMANDS)
    done = subprocess.run(
        [programs.profile, FOLDER / f"{name}.records", str(ROUNDS)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    samples = {
        int(address, 16): int(count) for address, count in map(str.split, done.stdout.splitlines())
    }
    found: Counter[str] = Counter()
    for address, function in _functions(programs, list(samples)):
        found[function] += samples[address]
    total = max(found.total(), 1)
    parts = [f"{function} {count * 100 // total} %" for function, count in found.most_common(SHOWN)]
    return f"its time goes to {', '.join(parts)}"


def _functions(programs: Native, addresses: list[int]) -> Iterator[tuple[int, str]]:
    """Yield the innermost function, inlined ones included, that says something."""
    done = subprocess.run(
        ["addr2line", "-e", programs.profile, "-a", "-f", "-i", "-C"],
        input="\n".join(map(hex, addresses)), check=True, capture_output=True, text=True,
    )  # fmt: skip
    address, names = 0, list[str]()
    for line in [*done.stdout.splitlines(), "0x0"]:
        if line.startswith("0x"):
            if names:
                yield address, next((name for name in names if name not in _TRIVIAL), names[0])
            address, names = int(line, 16), []
        elif ":" not in line.rsplit("/", 1)[-1] or "(" in line:
            match = _NAME.search(line + "(")
            names.append(match.group(1) if match else "outside")
