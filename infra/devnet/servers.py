"""Servers that live no longer than whoever started them: processes behind a keeper."""

from __future__ import annotations

import abc
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

KEEPER = Path(__file__).with_name("keeper.py")
POLL_S = 0.005
LOG_TAIL_BYTES = 4_000
PORT_ATTEMPTS = 5

_Started = TypeVar("_Started")


class ServerFailed(Exception):
    """A server ended, or did not answer, before it was ready; carries the end of its log."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def on_a_free_port(start: Callable[[int], _Started]) -> _Started:
    """Return what starts on a free port; another one when a stranger took it. ServerFailed."""
    for _ in range(PORT_ATTEMPTS - 1):
        with contextlib.suppress(ServerFailed):
            return start(free_port())
    return start(free_port())


def temporary_folder(prefix: str) -> Path:
    """Make a fresh folder, in memory where the machine offers that."""
    memory = Path("/dev/shm")  # noqa: S108
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=f"strongroom-{prefix}.", dir=base))


class StopsWithBlock(abc.ABC):
    """Something that runs until stop(), or until the block that it was opened for ends."""

    __slots__ = ()

    @abc.abstractmethod
    def stop(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class KeptServer(StopsWithBlock):
    """One running server and its folder; both go when `stop` is called or this process dies."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        stop_signal: str = "SIGTERM",
        grace_s: int = 10,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.folder = folder
        self._grace_s = grace_s
        keeper = [sys.executable, "-I", "-S", str(KEEPER), "--temp", str(folder)]
        keeper += ["--signal", stop_signal, "--grace", str(grace_s)]
        keeper += ["--user", user] if user else []
        # Held open, so that it can still be read when the folder is gone.
        self._log = (folder / "log").open("w+b")
        self._keeper = subprocess.Popen(
            [*keeper, "--", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        """Return whether the server has neither ended nor been stopped."""
        return self._keeper.poll() is None

    @property
    def keeper_pid(self) -> int:
        """Return the process id of the keeper; its one child is the server."""
        return self._keeper.pid

    def wait_until(self, is_ready: Callable[[], bool], *, timeout_s: int = 30) -> None:
        """Wait for is_ready; ServerFailed when the server ends first or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if not self.is_running:
                raise ServerFailed(f"ended with code {self._keeper.returncode}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"did not answer within {timeout_s} s\n{self.tail()}")
            time.sleep(POLL_S)

    def tail(self) -> str:
        """Return the end of what the server wrote."""
        # Not read through the file object: its position is the server's too.
        size = os.fstat(self._log.fileno()).st_size
        end = os.pread(self._log.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES))
        return end.decode("utf-8", errors="replace")

    def stop(self) -> None:
        """End the server and remove its folder; a second call does nothing."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(self._grace_s + 10)
        self._log.close()
