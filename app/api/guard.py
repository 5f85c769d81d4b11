"""What every request passes before its route sees it: key, rate, role, parameters, body."""

from __future__ import annotations

import contextlib
import inspect
import re
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, cast

import anyio
import anyio.to_thread
import sqlalchemy as sa
from fastapi import Depends, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api import problems, strict_json
from app.api.context import ApiContext
from app.api.limiter import Limiter
from app.api.listing import Listing
from app.api.roles import ROLES
from core.clock import SECOND_NS
from core.errors import Reason, Refused, Unavailable
from core.ids import CustomerNo
from custody import access
from custody.access import Principal, Role
from custody.db import Contended
from custody.keys.passkey_registration import Registrations
from custody.reserves.merkle_sum import Tree

T = TypeVar("T")

WRITE_WAIT_S = 5
WRITE_PAUSE_S = 0.003
TREES_MAX = 2
WRITERS_MAX = 24
"""Requests that may wait for the database; the threads beyond them serve those that do not."""
CHECKERS_MAX = 16
FAILURES_PER_S = 10
FAILURES_BURST = 50
TOKEN_CHARS_MAX = 256
_JSON = re.compile(r"application/json(\s*;\s*charset=utf-8)?", re.IGNORECASE)


class Trees:
    """The trees of the reports last asked for: one is built at a time, and none twice in a row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._built: OrderedDict[str, Tree] = OrderedDict()

    def get(self, report_hash: str, build: Callable[[], Tree]) -> Tree:
        """Return a report's tree."""
        with self._lock:
            if report_hash not in self._built:
                self._built[report_hash] = build()
                while len(self._built) > TREES_MAX:
                    self._built.popitem(last=False)
            return self._built[report_hash]


@dataclass(frozen=True, slots=True)
class Shop:
    """What lives as long as the application and every route may use."""

    context: ApiContext
    listing: Listing
    limiter: Limiter
    failures: Limiter
    registrations: Registrations
    trees: Trees = field(default_factory=Trees)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _writers: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(WRITERS_MAX)
    )
    checkers: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(CHECKERS_MAX)
    )
    """Threads of their own for keys, so that orders never wait for somebody else's writing."""
    _pause: threading.Event = field(default_factory=threading.Event)

    def write(self, fn: Callable[[sa.Connection], T]) -> T:
        """Return fn(conn) of a committed transaction; Unavailable once this took too long.

        Requests wait for each other here: all of them take the same counters, so in the database
        they would only collide and run again. The engine's steps and the workers still collide
        with them now and then, which makes fn run again with fresh reads.
        """
        # Real time, because real threads wait here; nothing is dated by it.
        until_ns = time.monotonic_ns() + WRITE_WAIT_S * SECOND_NS
        if not self._writing.acquire(timeout=WRITE_WAIT_S):
            raise Unavailable("the database is busy")
        try:
            return self._until(until_ns, fn)
        finally:
            self._writing.release()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait without a thread until few enough others write; Unavailable when that is too long.

        Threads that wait for the database can so never be all threads there are.
        """
        try:
            with anyio.fail_after(WRITE_WAIT_S):
                await self._writers.acquire()
        except TimeoutError as error:
            raise Unavailable("too many requests wait for the database") from error
        try:
            yield
        finally:
            self._writers.release()

    def _until(self, until_ns: int, fn: Callable[[sa.Connection], T]) -> T:
        while True:
            try:
                return self.context.platform.db.run(fn, attempts=1)
            except Contended:
                if time.monotonic_ns() >= until_ns:
                    raise
                self._pause.wait(WRITE_PAUSE_S)


def make_shop(context: ApiContext) -> Shop:
    """Return the shop of an application."""
    clock = context.platform.clock
    return Shop(
        context=context,
        listing=Listing(context.platform.db, clock),
        limiter=Limiter(clock, per_s=context.requests_per_s, burst=context.requests_burst),
        failures=Limiter(clock, per_s=FAILURES_PER_S, burst=FAILURES_BURST),
        registrations=Registrations(context.passkeys, clock, context.platform.entropy),
    )


class TooManyRequests(Exception):
    """Answered 429; not part of the drawn tree because it never leaves this room."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


def shop_of(request: Request) -> Shop:
    """Return the application's shop."""
    return cast("Shop", request.app.state.shop)


def principal_of(request: Request) -> Principal:
    """Return who asks; a public route has nobody."""
    found: Principal | None = getattr(request.state, "principal", None)
    if found is None:
        raise Refused(Reason.UNAUTHENTICATED, "no valid API key")
    return found


def customer_of(request: Request) -> CustomerNo:
    """Return the customer who asks. Refused: forbidden."""
    customer_no = principal_of(request).customer_no
    if customer_no is None:
        raise Refused(Reason.FORBIDDEN, "for customers only")
    return customer_no


# Coroutines, because the framework would give a plain function a thread: a hop for nothing.
async def _shop(request: Request) -> Shop:
    return shop_of(request)


async def _principal(request: Request) -> Principal:
    return principal_of(request)


async def _customer(request: Request) -> CustomerNo:
    return customer_of(request)


In = Annotated[Shop, Depends(_shop)]
Caller = Annotated[Principal, Depends(_principal)]
OwnNo = Annotated[CustomerNo, Depends(_customer)]


class _ReadRequest(Request):
    """A request whose body was read and checked already."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes, parsed: object) -> None:
        super().__init__(scope, receive)
        self._read = body
        self._parsed = parsed

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> object:
        return self._parsed


class GuardedRoute(APIRoute):
    """A route of the matrix; one that is not in there stops the start."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind its guard."""
        answer = super().get_route_handler()
        roles = {method: ROLES[method, self.path] for method in self.methods or ()}
        parameters = frozenset(
            field.alias
            for field in get_flat_params(self.dependant)
            if isinstance(field.field_info, Query)
        )
        takes_body = self.body_field is not None
        # A route that is not a coroutine writes to the database in a thread of its own.
        is_awaited = inspect.iscoroutinefunction(self.endpoint)

        async def guarded(request: Request) -> Response:
            allowed = roles[request.method]
            if allowed:
                checkers = shop_of(request).checkers
                request.state.principal = await anyio.to_thread.run_sync(
                    _authenticate, request, limiter=checkers
                )
                _check_role(request, allowed)
            _check_query(request, parameters)
            if request.method == "GET" or (request.method == "DELETE" and is_awaited):
                return await answer(request)
            if request.method == "DELETE":
                async with shop_of(request).turn():
                    return await answer(request)
            body = await _read_body(request, shop_of(request).context.body_bytes_max)
            parsed = _parse_body(request, body, takes_body=takes_body)
            checked = _ReadRequest(request.scope, request.receive, body, parsed)
            if is_awaited:
                return await answer(checked)
            async with shop_of(request).turn():
                return await answer(checked)

        return guarded


def _authenticate(request: Request) -> Principal:
    shop = shop_of(request)
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or len(token) > TOKEN_CHARS_MAX:
        token = ""
    try:
        with shop.context.platform.db.read() as conn:
            principal = access.authenticate(conn, token)
    except Refused:
        # The true peer, never a header: whoever guesses is slowed down, others are not.
        peer = request.client.host if request.client else "-"
        _take(shop.failures, f"peer:{peer}")
        raise
    _take(shop.limiter, principal.key_id)
    return principal


def _take(limiter: Limiter, name: str) -> None:
    wait_ns = limiter.take(name)
    if wait_ns:
        raise TooManyRequests(max(1, -(-wait_ns // SECOND_NS)))


def _check_role(request: Request, allowed: frozenset[Role]) -> None:
    if principal_of(request).role not in allowed:
        raise Refused(Reason.FORBIDDEN, "this key's role may not do that")


def _check_query(request: Request, parameters: frozenset[str]) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    faults = [
        problems.Fault(pointer=f"query/{name}", code=Reason.MALFORMED.value)
        for name in dict.fromkeys(names)
        if name not in parameters or names.count(name) > 1
    ]
    if faults:
        raise BadFields(faults)


class BadFields(Exception):
    """Fields that are not as they must be; answered 400 with a line for each."""

    def __init__(self, faults: list[problems.Fault]) -> None:
        super().__init__(", ".join(fault.pointer for fault in faults))
        self.faults = faults


async def _read_body(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and int(declared[:20]) > limit:
        raise Refused(Reason.TOO_LARGE, f"a body has at most {limit} bytes")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise Refused(Reason.TOO_LARGE, f"a body has at most {limit} bytes")
    except ClientDisconnect as error:
        raise Refused(Reason.MALFORMED, "the body was cut short") from error
    return bytes(body)


def _parse_body(request: Request, body: bytes, *, takes_body: bool) -> object:
    if not takes_body:
        if body.strip() not in (b"", b"{}"):
            raise Refused(Reason.MALFORMED, "this request has no body")
        return None
    if _JSON.fullmatch(request.headers.get("content-type", "")) is None:
        raise Refused(Reason.MALFORMED, "the body is application/json")
    return strict_json.parse_object(body)
