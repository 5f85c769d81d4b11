"""One HTTP exchange with a Vault server that ends in time, whatever the other side does.

Libraries bound the wait for the next byte; a server that sends one byte a second outlives any such
bound. Here every read is given what is left of the whole exchange. Redirects, proxies and
environment variables are not followed: a token goes to the configured server and nowhere else.

Nothing here raises for what a server does: an exchange ends in a `Reply`. Errors would carry
frames that hold secrets. Only looking up the server's name can take longer than the deadline.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, cast
from urllib.parse import urlsplit

from core.errors import Reason, Refused
from custody.keys.secret import Secret

BODY_BYTES_MAX = 4 << 20
"""Largest answer that is read: a batch of 1,000 signatures has 0.3 MB."""
IDLE_CONNECTIONS_MAX = 8
DROPPED = "the connection broke"
TOO_SLOW = "no answer in time"
UNREACHABLE = "the server is not reached"
UNTRUSTED = "the server's certificate is not trusted"
GARBAGE = "the answer is not one of this server's"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Shows nothing: its data may be a secret."""

    status: int
    """0 when there was no whole answer; `failure` says why."""
    data: dict[str, Any] = field(repr=False, default_factory=dict)
    failure: str = ""
    retry_after_s: int | None = None

    @property
    def is_ok(self) -> bool:
        """Return whether the server did what was asked."""
        return 200 <= self.status < 300

    def text(self, name: str) -> str | None:
        """Return a field that is a text, None when it is not."""
        value = self.data.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """Return a field that is a whole number, None when it is not."""
        value = self.data.get(name)
        return value if type(value) is int else None

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.failure or 'hidden'}>"


class VaultHttp:
    """Connections to one server.

    Refused: malformed (no http address, or plain http to anything but this machine's loopback),
    not_found (the file of authorities).
    """

    def __init__(self, address: str, *, ca_file: Path | None = None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise Refused(Reason.MALFORMED, f"{address!r} is no address of a Vault server")
        if parts.username or parts.password or parts.path.strip("/"):
            raise Refused(Reason.MALFORMED, "an address of a Vault server is scheme, host and port")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise Refused(Reason.MALFORMED, "plain http is for loopback; elsewhere keys need TLS")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = _tls_context(ca_file) if parts.scheme == "https" else None
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = Lock()

    def exchange(
        self,
        method: str,
        path: str,
        body: Secret | None,
        token: Secret | None,
        *,
        deadline: float,
        is_safe: bool = True,
    ) -> Reply:
        """Send a request; JSON in, JSON out.

        A request that must not be done twice goes over a connection of its own: on a kept one
        nobody knows whether the server dropped it before or after it did what was asked.
        """
        connection = self._take() if is_safe else None
        if connection is None:
            connection, failure = self._connect(deadline)
            if connection is None:
                return Reply(0, failure=failure)
        reply, is_reusable = _talk(connection, method, path, body, token, deadline)
        if is_reusable:
            self._give_back(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Let go of all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self, deadline: float) -> tuple[http.client.HTTPConnection | None, str]:
        try:
            infos = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            return None, UNREACHABLE
        failure = UNREACHABLE
        for family, kind, protocol, _, where in infos:
            raw = socket.socket(family, kind, protocol)
            try:
                raw.settimeout(_left(deadline))
                raw.connect(where)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.settimeout(_left(deadline))
                made = (
                    raw
                    if self._tls is None
                    else self._tls.wrap_socket(raw, server_hostname=self._host)
                )
            except TimeoutError:
                raw.close()
                failure = TOO_SLOW
            except ssl.SSLCertVerificationError:
                raw.close()
                failure = UNTRUSTED
            except OSError:
                raw.close()
            else:
                connection = http.client.HTTPConnection(self._host, self._port)
                connection.auto_open = 0  # a broken one is never opened again without TLS
                connection.sock = cast("socket.socket", _TimedSocket(made))
                return connection, ""
        return None, failure

    def __repr__(self) -> str:
        return f"<VaultHttp {self._host}:{self._port}>"


class _TimedSocket:
    """A socket as http.client uses it, whose every wait ends at the deadline of the exchange."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.deadline = 0.0

    def sendall(self, data: bytes) -> None:
        self.sock.settimeout(_left(self.deadline))
        self.sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self))

    def close(self) -> None:
        self.sock.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, source: _TimedSocket) -> None:
        super().__init__()
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._source.sock.settimeout(_left(self._source.deadline))
        return self._source.sock.recv_into(buffer)


def _talk(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Secret | None,
    token: Secret | None,
    deadline: float,
) -> tuple[Reply, bool]:
    # No error leaves this frame: it holds the token and the body.
    cast("_TimedSocket", connection.sock).deadline = deadline
    headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
    if token is not None:
        headers["X-Vault-Token"] = token.reveal().decode("ascii", "replace")
    try:
        content = None if body is None else body.reveal()
        connection.request(method, path, body=content, headers=headers)
        response = connection.getresponse()
        content = response.read(BODY_BYTES_MAX + 1)
    except TimeoutError:
        return Reply(0, failure=TOO_SLOW), False
    except (http.client.HTTPException, OSError, ValueError):
        return Reply(0, failure=DROPPED), False
    is_reusable = response.isclosed() and not response.will_close
    retry_after = _seconds(response.headers.get("Retry-After"))
    data = _object(content)
    if data is None:
        # An error page of something in between keeps its status; a good answer must be an object.
        status = response.status if response.status >= 300 else 0
        return Reply(status, failure=GARBAGE, retry_after_s=retry_after), is_reusable
    return Reply(response.status, data, retry_after_s=retry_after), is_reusable


def _object(content: bytes) -> dict[str, Any] | None:
    if not content:
        return {}
    if len(content) > BODY_BYTES_MAX:
        return None
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _seconds(text: str | None) -> int | None:
    # RFC 9110 also allows a date; Vault sends seconds.
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except FileNotFoundError as error:
        raise Refused(Reason.NOT_FOUND, f"{ca_file}") from error
    except ssl.SSLError as error:
        raise Refused(Reason.MALFORMED, f"{ca_file} holds no certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    return context
