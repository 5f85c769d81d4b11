"""The HTTP server inside the engine process: no child, no second worker."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import structlog
from granian.constants import Interfaces
from granian.server.embed import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.ending import Stop

BACKLOG = 1_024
STOP_WAIT_S = 10

_log = structlog.get_logger("http")


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
