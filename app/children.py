"""Processes of the platform as children of one that starts, watches and stops them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PROCESSES = ("signer", "engine", "worker")
"""The platform's processes in the order in which they are started."""
STOP_WAIT_S = 20
PR_SET_PDEATHSIG = 1
TAIL_BYTES = 4_000


class Child:
    """One process with its log file; it is killed by the kernel when its parent dies."""

    def __init__(self, name: str, arguments: list[str], *, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Only in the main thread: the kernel takes a thread's end for the parent's."""
        assert self.exit_code is not None or self._process is None, f"{self.name} runs"
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id of the one that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return how it ended; None: it runs, or was never started."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Return whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, *, wait_s: int = STOP_WAIT_S) -> int | None:
        """Ask it to end, wait, and kill it when it does not; return its exit code."""
        self.ask_to_stop()
        if self._process is None:
            return None
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.exit_code

    def tail(self) -> str:
        """Return the end of its log."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - TAIL_BYTES))
            return log.read().decode("utf-8", "replace")


def process_arguments(config_file: Path, process: str) -> list[str]:
    """Return the arguments of one of the platform's processes that ends with its parent."""
    parent = str(os.getpid())
    return ["--config", str(config_file), "serve", process, "--parent", parent]


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; end at once when it has already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
