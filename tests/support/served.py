"""The API on a real socket behind the real server, and a command line that talks to it."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner, Result

from app.cli.main import app as program
from app.ending import Stop
from app.serving import serve
from core.clock import SystemClock
from custody.keys.private_file import write_private_file
from tests.support.api import Caller, Front


@dataclass(frozen=True, slots=True)
class Served:
    """A front that listens."""

    front: Front
    port: int
    folder: Path

    def run(self, who: Caller | None, *words: str, port: int | None = None) -> Result:
        """Run the command line as somebody."""
        env = {"STRONGROOM_URL": f"http://127.0.0.1:{port or self.port}"}
        if who is not None:
            file = self.folder / who.token.partition(".")[0]
            if not file.exists():
                write_private_file(file, who.token.encode() + b"\n")
            env["STRONGROOM_API_KEY_FILE"] = str(file)
        return CliRunner(env=env).invoke(program, ["-o", "json", *words])

    def json(self, who: Caller, *words: str) -> Any:
        """Run the command line and return its data."""
        result = self.run(who, *words)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def listening(front: Front, folder: Path) -> Iterator[Served]:
    """Let a front listen on a port; people's clocks and its own agree from now on."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)  # standard output is the command line's here
    front.house.clock.step(SystemClock().now_ns() - front.house.clock.now_ns())
    port, stop, ready = free_port(), Stop(), threading.Event()
    thread = threading.Thread(
        target=lambda: serve(
            front.client.app, host="127.0.0.1", port=port, stop=stop, ready=ready.set
        )
    )
    thread.start()
    assert ready.wait(10)
    wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
    try:
        yield Served(front, port, folder)
    finally:
        stop.set()
        thread.join(20)
        structlog.reset_defaults()
        assert not thread.is_alive()


def wait_for(call: Callable[[], None]) -> None:
    """Call until there is an answer."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            call()
            return
        threading.Event().wait(0.05)
    call()
