"""Starts signer processes that are meant to fail, quickly: a child of what has imported everything.

    python -m tests.support.signer_starts

Each line on standard input is a job in JSON: `config`, `log`, and `broken`, a function of our own
(`module/name/...`) that raises what nobody named after it did its work, secrets in hand. Its answer
is the exit code of the process. Each job is a real process of its own, with a real end.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class SignerStarts:
    """The starter, for a test; ends with the block."""

    def __enter__(self) -> Self:
        """Start it."""
        command = [sys.executable, "-m", "tests.support.signer_starts"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.communicate(timeout=60)

    def run(self, config: Path, log: Path, *, broken: str = "") -> int:
        """Start a signer and return its exit code; what it writes is in its log."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"config": str(config), "log": str(log), "broken": broken}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """Serve jobs until the input ends."""
    for name in ("app.cli.main", "app.cli.serve", "app.signer_process", "chains.evm", "hvac"):
        importlib.import_module(name)
    for line in sys.stdin:
        job, parent = json.loads(line), os.getpid()
        child = os.fork()
        if not child:
            _be(job, parent)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _be(job: dict[str, str], parent: int) -> None:
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if job["broken"]:
        _break(job["broken"])
    from app.cli.main import main as strongroom

    sys.argv = ["strongroom", "--config", job["config"], "serve", "signer"]
    sys.argv += ["--parent", str(parent)]
    strongroom()
    os._exit(0)


def _break(place: str) -> None:
    module_name, *path, name = place.split("/")
    owner: Any = importlib.import_module(module_name)
    for part in path:
        owner = getattr(owner, part)
    honest = getattr(owner, name)

    def broken(*values: Any, **options: Any) -> Any:
        made = honest(*values, **options)
        raise RuntimeError(f"a bug behind {name}") from ValueError(type(made).__name__)

    setattr(owner, name, broken)


if __name__ == "__main__":
    main()
