"""How a process ends: it is told to, or what stops it becomes an exit code.

0 asked to stop, 1 it can be started again (lease lost, disk failed), 6 another process is in the
way, 8 our records contradict each other and a person must look first.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import structlog

from core.errors import Corrupt, InUse, Unavailable

EXIT_AGAIN = 1
EXIT_IN_THE_WAY = 6
EXIT_CORRUPT = 8

_log = structlog.get_logger("process")


class Stop:
    """Says once, from any thread, that the process ends, and with which exit code."""

    def __init__(self) -> None:
        # A signal's handler may come while its own thread holds the lock.
        self._lock = threading.RLock()
        self._event = threading.Event()
        self._code = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def code(self) -> int:
        """Return the exit code."""
        return self._code

    @property
    def is_set(self) -> bool:
        """Return whether the process ends."""
        return self._event.is_set()

    def set(self, code: int = 0) -> None:
        """End the process; the first code counts."""
        with self._lock:
            if self._event.is_set():
                return
            self._code = code
            self._event.set()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call listener when the process ends; at once when it already does."""
        with self._lock:
            if not self._event.is_set():
                self._listeners.append(listener)
                return
        listener()

    def forget(self, listener: Callable[[], None]) -> None:
        """Call listener no more."""
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def wait(self, timeout_s: int | None = None) -> bool:
        """Wait until the process ends."""
        return self._event.wait(timeout_s)

    def on_signals(self) -> None:
        """Let SIGTERM and SIGINT end the process politely; only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.set())


def die(error: Exception, stop: Stop) -> None:
    """Stop the process for a person."""
    _log.critical("CORRUPT: this process stops; a person must look", what=str(error))
    stop.set(EXIT_CORRUPT)


@contextlib.contextmanager
def ending(stop: Stop) -> Iterator[None]:
    """Turn what stops a process into its exit code; a process that hangs while ending is ended."""
    try:
        yield
    except Corrupt as error:
        die(error, stop)
    except InUse as error:
        _log.error("another process is in the way", what=error.what)
        stop.set(EXIT_IN_THE_WAY)
    except (Unavailable, OSError) as error:
        _log.error("cannot go on", what=str(error))
        stop.set(EXIT_AGAIN)
    _log.info("process ends", code=stop.code)
