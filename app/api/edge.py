"""The outermost layer: a request id, one log line and one count for everything that is asked."""

from __future__ import annotations

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.clock import SECOND_NS, Clock
from core.entropy import Entropy
from core.ids import new_id

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_log = structlog.get_logger("api")


class Edge:
    """Wraps the application. Query strings, headers and bodies are never logged."""

    def __init__(
        self, app: ASGIApp, *, clock: Clock, entropy: Entropy, registry: CollectorRegistry
    ) -> None:
        self.app = app
        self._clock = clock
        self._entropy = entropy
        labels = ("method", "route", "status")
        self._requests = Counter(
            "strongroom_http_requests", "Requests answered", labels, registry=registry
        )
        self._seconds = Histogram(
            "strongroom_http_request_seconds",
            "Time to the first byte of the answer",
            ("method", "route"),
            buckets=BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id("req", clock=self._clock, entropy=self._entropy)
        scope.setdefault("state", {})["request_id"] = request_id
        started_ns = self._clock.monotonic_ns()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            self._note(scope, status, self._clock.monotonic_ns() - started_ns)

    def _note(self, scope: Scope, status: int, took_ns: int) -> None:
        found = scope.get("route")
        # The route's template, never the path: ids would make a label without bound.
        route = getattr(found, "path", "-")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(took_ns / SECOND_NS)
        principal = scope["state"].get("principal")
        _log.info(
            "request",
            request_id=scope["state"]["request_id"],
            method=method,
            route=route,
            status=status,
            ms=took_ns // 1_000_000,
            key_id=getattr(principal, "key_id", None),
            role=getattr(principal, "role", None),
        )
