"""One of the platform's processes as a run sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from app.children import Child, process_arguments
from app.devsetup import DevSetup
from app.up import is_live
from tests.support.killing.forge import Forge

EXEC_EVERY = 10
"""Every so many starts is a fresh program instead of a fork."""
GONE_PAUSE_S = 0.003


class Victim:
    """One of the processes: started again and again."""

    def __init__(self, name: str, setup: DevSetup, forge: Forge | None, config: Path) -> None:
        self.name = name
        self.starts = 0
        self.log_file = setup.folder / "logs" / f"{name}.log"
        self._setup = setup
        self._forge = forge
        self._pid = 0
        self._config = config
        arguments = process_arguments(config, name)
        self._child = Child(name, arguments, log_file=self.log_file)
        self._is_forked = False
        self._log_from = 0
        self.started = 0.0

    def start(self, *, fork: bool) -> None:
        """Start it; only in the main thread."""
        self.starts += 1
        self.started = time.monotonic()
        self.log_file.parent.mkdir(exist_ok=True)
        self._log_from = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._is_forked = fork and self._forge is not None and self.starts % EXEC_EVERY != 1
        if self._is_forked:
            assert self._forge is not None
            self._pid = self._forge.start(self._config, self.name, self.log_file)
        else:
            self._child.start()
            self._pid = self._child.pid

    @property
    def is_running(self) -> bool:
        """Return whether it runs."""
        if not self._is_forked:
            return self._child.is_running
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, 0)
            return True
        return False

    @property
    def is_ready(self) -> bool:
        """Return whether it does its work."""
        if self.name == "engine":
            return is_live(self._setup)
        return ("signer serves" if self.name == "signer" else "worker runs") in self.log()

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        while self.is_running:
            time.sleep(GONE_PAUSE_S)

    def stop(self) -> int | None:
        """Stop it politely; return its exit code."""
        assert not self._is_forked
        return self._child.stop()

    def log(self) -> str:
        """Return what it has written since it was started."""
        with self.log_file.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode("utf-8", "replace")
