"""Starts the platform's processes by forking one that has everything imported: cheaply.

    python -m tests.support.killing.forge

reads lines of JSON, [settings file, process, log file], and answers each with the process id.

Each child is a process of its own that runs exactly what `strongroom serve` runs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

IMPORTED = (
    "app.processes", "app.signer_process", "app.api.app", "chains.evm", "bip_utils", "psycopg",
    "sqlite3",
)  # fmt: skip


class Forge:
    """The parent's end of a running forge."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killing.forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def start(self, settings_file: Path, process: str, log_file: Path) -> int:
        """Start a process and return its id."""
        assert self._process.stdin is not None
        asked = [str(settings_file), process, str(log_file)]
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def main() -> None:
    """Import, then fork for every line; end, and with it every child, when the parent does."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        settings_file, process, log_file = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(Path(settings_file), process, Path(log_file))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _become(settings_file: Path, process: str, log_file: Path) -> None:
    code = 70
    try:
        from app.children import die_with_parent
        from app.processes import run_engine, run_worker
        from app.settings import read_settings
        from app.signer_process import run_signer

        die_with_parent(os.getppid())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, handle in enumerate((nothing, log, log)):
            os.dup2(handle, number)
        run = {"engine": run_engine, "worker": run_worker, "signer": run_signer}[process]
        code = run(read_settings(settings_file, {}))
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
