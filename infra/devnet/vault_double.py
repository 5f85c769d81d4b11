"""A double of a Vault server, for development and tests. IT IS NOT VAULT and protects nothing.

It speaks, over real HTTP, the part of Vault's API that we use, with answers shaped as the real ones
(Vault's api-docs; the transit engine's source as OpenBao publishes it): health and seal, AppRole,
tokens with a life and policies, response wrapping, transit. Keys lie in memory and die with it.
Every answer carries `X-Strongroom-Double: not a Vault server`; its version ends in `-double`.

`faults` make it fail in the ways a server, a network or a liar can.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from infra.devnet.vault_double_auth import Answer, Auth, denied, failed
from infra.devnet.vault_double_transit import TransitEngine

BANNER = "not a Vault server"
VERSION = "0.0.0-double"


@dataclass(slots=True)
class Fault:
    """One way to fail, for the next `times` requests whose path begins with `path`."""

    path: str = ""
    times: int = 1
    status: int = 0
    """Answer with this status and nothing done."""
    headers: dict[str, str] = field(default_factory=dict)
    drop: str = ""
    """`before` the effect or `after` it the socket is closed without an answer."""
    delay_s: float = 0.0
    """Wait before doing anything."""
    drip_s: float = 0.0
    """Send the answer one byte at a time with such pauses."""
    cut: int | None = None
    """Send only so many bytes of the answer, under the length of the whole."""
    raw: bytes | None = None
    """Send these bytes as the body instead."""
    lie: Callable[[Any], Any] | None = None
    """Change the JSON of an honest answer."""


class VaultDouble:
    """A running double; use as a context. `address`, `root_token`, and knobs for tests."""

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.lock = threading.RLock()
        self.is_sealed = False
        self.faults: list[Fault] = []
        self.requests: list[tuple[float, str, str]] = []
        """(monotonic time, method, path) of everything that was asked."""
        self.auth = Auth()
        self.transit = TransitEngine()
        handler = type("Handler", (_Handler,), {"double": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def root_token(self) -> str:
        """Return a token that may do everything."""
        return self.auth.root_token

    def asked(self, path: str) -> int:
        """Return how many requests began with a path."""
        with self.lock:
            return sum(asked.startswith(path) for _, _, asked in self.requests)

    def answer(self, method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        """Carry out one request as Vault would."""
        if path == "sys/health":
            return Answer(503 if self.is_sealed else 200, plain=self._health())
        if path == "sys/seal-status":
            return Answer(200, plain=self._health() | {"type": "shamir", "t": 1, "n": 1})
        if self.is_sealed:
            return failed(503, "Vault is sealed")
        if path == "sys/seal":
            self.is_sealed = True
            return Answer(204)
        return self._unsealed(method, path, body, token)

    def _unsealed(self, method: str, path: str, body: dict[str, Any], token: str) -> Answer:
        answer = self.auth.unauthenticated(path, body, token)
        if answer is not None:
            return answer
        if not self.auth.may(token, method, path):
            return denied()
        answer = self.auth.answer(path, body, token)
        if answer is not None:
            return answer
        if path.startswith("transit/"):
            return self.transit.answer(method, path.split("/")[1:], body)
        if path in ("sys/mounts/transit", "sys/auth/approle"):
            return failed(400, f"path is already in use at {path.rsplit('/', 1)[-1]}/")
        return failed(404, "no handler for route")

    def _health(self) -> dict[str, Any]:
        sealed = self.is_sealed
        return {"initialized": True, "sealed": sealed, "standby": False, "version": VERSION}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    timeout = 60
    double: VaultDouble

    def log_message(self, *_: object) -> None:
        """Keep requests to itself."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("POST")

    def do_LIST(self) -> None:
        self._serve("LIST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0].removeprefix("/v1/")
        token = self.headers.get("X-Vault-Token", "")
        double = self.double
        with double.lock:
            double.requests.append((time.monotonic(), method, path))
            fault = _next_fault(double.faults, path)
        time.sleep(fault.delay_s)
        if fault.drop == "before":
            return self._drop()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            return self._send(failed(400, "failed to parse JSON input"), fault)
        with double.lock:
            if fault.status:
                answer = failed(fault.status, "injected by a test")
            else:
                answer = double.answer(method, path, body, token)
                wrap_ttl = self.headers.get("X-Vault-Wrap-TTL")
                if wrap_ttl and answer.status == 200:
                    answer = double.auth.wrap(answer, wrap_ttl)
        if fault.drop == "after":
            return self._drop()
        return self._send(answer, fault)

    def _send(self, answer: Answer, fault: Fault) -> None:
        content = answer.json()
        if fault.lie is not None:
            content = fault.lie(content)
        data = b"" if content is None else json.dumps(content).encode()
        data = data if fault.raw is None else fault.raw
        self.send_response(answer.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("X-Strongroom-Double", BANNER)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            if fault.drip_s:
                self._drip(data, fault.drip_s)
            else:
                self.wfile.write(data if fault.cut is None else data[: fault.cut])
                self.wfile.flush()
        except OSError:
            self.close_connection = True
        if fault.cut is not None:
            self._drop()

    def _drip(self, data: bytes, pause_s: float) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(pause_s)

    def _drop(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _next_fault(faults: list[Fault], path: str) -> Fault:
    for fault in faults:
        if path.startswith(fault.path):
            fault.times -= 1
            if fault.times <= 0:
                faults.remove(fault)
            return fault
    return Fault()


def main() -> None:
    """Run a double in the foreground until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8200)
    with VaultDouble(port=parser.parse_args().port) as double:
        print(f"{BANNER}: {double.address}, root token {double.root_token}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
