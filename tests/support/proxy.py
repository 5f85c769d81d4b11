"""A JSON-RPC proxy on loopback that treats chosen calls badly and counts what it did.

    with FaultProxy(anvil.url) as proxy:
        lost = proxy.add(Close(after_forwarding=True), "eth_sendRawTransaction", times=1)
        …                            # the client under test talks to proxy.url
        assert lost.count == 1       # the fault really happened

The first rule that fits a call treats it; every other call is forwarded unchanged.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from infra.devnet.servers import StopsWithBlock
from tests.support.faults import Answer, Call, Ending, Fault, Outcome, Wire, answer_to

FORWARD_TIMEOUT_S = 60
POLL_S = 0.05


class Rule:
    """A fault with its conditions; `count` is how often a client was really exposed to it."""

    def __init__(
        self,
        fault: Fault,
        method: str | None,
        when: Callable[[Any], bool],
        skip: int,
        times: int | None,
    ) -> None:
        self.fault = fault
        self.count = 0
        self._method = method
        self._when = when
        self._skip = skip
        self._left = times
        self._changed = threading.Condition()

    def takes(self, call: Call) -> bool:
        """Return whether this rule treats the call, using up one of its times if so."""
        if self._method not in (None, call.method) or not self._when(call.params):
            return False
        with self._changed:
            if self._skip > 0:
                self._skip -= 1
                return False
            if self._left is None:
                return True
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def record(self) -> None:
        """Count one exposure."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, count: int = 1, *, timeout_s: float = 10) -> None:
        """Wait until count exposures happened; AssertionError when they do not."""
        with self._changed:
            reached = self._changed.wait_for(lambda: self.count >= count, timeout_s)
        assert reached, f"{self.fault} happened {self.count} times, not {count}"

    def stop(self) -> None:
        """Treat no further call."""
        with self._changed:
            self._left = 0


class FaultProxy(StopsWithBlock):
    """The proxy; a context manager. `url` stays the same over `go_down` and `come_up`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.received: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.come_up()

    @property
    def url(self) -> str:
        """Return the address a client uses instead of the node's."""
        return f"http://127.0.0.1:{self._port}"

    def add(
        self,
        fault: Fault,
        method: str | None = None,
        *,
        when: Callable[[Any], bool] = lambda params: True,
        skip: int = 0,
        times: int | None = None,
    ) -> Rule:
        """Treat calls of method (None: of every method) whose params satisfy when.

        The first skip fitting calls pass; at most times calls are treated (None: all of them).
        """
        rule = Rule(fault, method, when, skip, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget every rule; their counts stay readable."""
        with self._lock:
            self._rules.clear()

    def come_up(self) -> None:
        """Listen, on the same port as before."""
        assert self._server is None, "the proxy is up already"
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="fault-proxy", daemon=True
        )
        self._thread.start()

    def go_down(self) -> None:
        """Refuse connections and cut the open ones, as a dead node does."""
        assert self._server is not None, "the proxy is down already"
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        self._server.cut()
        self._server.server_close()
        self._server = None

    def stop(self) -> None:
        """End the proxy; raises what went wrong inside it, which is never a test's fault."""
        if self._server is not None:
            self.go_down()
        if self.failures:
            raise AssertionError("the proxy itself failed") from self.failures[0]

    def treat(self, body: dict[str, Any]) -> tuple[Outcome, Rule | None]:
        """Return what to do with one request, and the rule that decided."""
        call = Call(str(body.get("method")), body.get("params", []), body)
        with self._lock:
            self.received[call.method] += 1
            rule = next((rule for rule in self._rules if rule.takes(call)), None)

        def forward(url: str | None = None) -> Answer:
            answer = _post(url or self.upstream, body)
            with self._lock:
                self.forwarded[call.method] += 1
            return answer

        try:
            if rule is None:
                return Outcome(answer=forward()), None
            return rule.fault.act(call, forward), rule
        except (OSError, http.client.HTTPException):
            # The node behind us is gone: what a gateway says then.
            return Outcome(wire=Wire(status=502, body=b"bad gateway\n"), happened=False), None


def _post(url: str, body: dict[str, Any]) -> Answer:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=FORWARD_TIMEOUT_S)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"}
        if parts.username:
            login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        connection.request("POST", parts.path or "/", json.dumps(body), headers)
        answer: Answer = json.loads(connection.getresponse().read())
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 128

    def __init__(self, proxy: FaultProxy, port: int) -> None:
        self.proxy = proxy
        self.is_cut = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """End every open connection, whatever it is doing."""
        self.is_cut.set()
        with self._open_lock:
            for request in self._open:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.proxy.failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """Treat one HTTP request: a single call or a batch."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        calls = body if isinstance(body, list) else [body]
        answers: list[Answer] = []
        wire: Wire | None = None
        for single in calls:
            outcome, rule = self.server.proxy.treat(single)
            # Counted before it leaves: a client that has felt the fault finds it counted.
            if rule is not None and outcome.happened:
                rule.record()
            if outcome.delay_s:
                self.server.is_cut.wait(outcome.delay_s)
            wire = outcome.wire
            if wire is not None:
                break  # It concerns the connection, and so the whole batch.
            answers.append(outcome.answer or answer_to(Call("", None, single), result=None))
        if wire is None:
            content = answers if isinstance(body, list) else answers[0]
            wire = Wire(status=200, body=json.dumps(content).encode())
        self._put(wire)

    def _put(self, wire: Wire) -> None:
        if wire.status is not None:
            length = len(wire.body) if wire.declared_length is None else wire.declared_length
            self.send_response(wire.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(length))
            for name, value in wire.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(wire.body)
            self.wfile.flush()
        if wire.ending is not Ending.KEEP:
            self.close_connection = True
        if wire.ending is Ending.RESET:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # Both file objects hold the socket; only its real close sends the reset.
            self.rfile.close()
            self.connection.close()
        if wire.ending is Ending.HANG:
            self._hang()

    def _hang(self) -> None:
        while not self.server.is_cut.is_set():
            readable, _, _ = select.select([self.connection], [], [], POLL_S)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return
            if readable:
                time.sleep(POLL_S)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing; the counts are the log."""
