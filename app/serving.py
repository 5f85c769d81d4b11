"""The HTTP server inside the engine process: no child, no second worker."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import structlog
from granian.constants import Interfaces
from granian.server.embed import Server

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 1_024
STOP_WAIT_S = 10

_log = structlog.get_logger("http")


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


def serve(app: Any, *, host: str, port: int, stop: Stop, ready: Callable[[], None]) -> None:
    """Serve an ASGI app in this thread until stop is set. OSError: the port is taken."""
    _try_port(host, port)
    asyncio.run(_serve(app, host=host, port=port, stop=stop, ready=ready))


def _try_port(host: str, port: int) -> None:
    # The server itself answers a taken port with a panic instead of an error.
    with socket.create_server((host, port)):
        pass


async def _serve(app: Any, *, host: str, port: int, stop: Stop, ready: Callable[[], None]) -> None:
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        backlog=BACKLOG,
        log_enabled=False,
    )
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(stopping.set)

    stop.listen(wake)
    try:
        await _serve_until(server, stopping, ready)
    finally:
        stop.forget(wake)


async def _serve_until(server: Server, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.sleep(0)
    if not serving.done():
        ready()
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        serving.result()
        raise OSError("the HTTP server ended by itself")
    server.stop()  # type: ignore[no-untyped-call]
    done, _ = await asyncio.wait({serving}, timeout=STOP_WAIT_S)
    if not done:
        _log.warning("requests were still open when the server stopped")
