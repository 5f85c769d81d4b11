"""Make the ASGI application. `create_app(context)` is all that a process needs to know."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.api import (
    address_book,
    approvals,
    cosigning,
    customers,
    decisions,
    deposits,
    health,
    markets,
    openapi,
    ops,
    orders,
    passkeys,
    policies,
    prices,
    problems,
    reserves,
    screening,
    stops,
    withdrawals,
)
from app.api.context import ApiContext
from app.api.edge import Edge
from app.api.guard import BadFields, TooManyRequests, make_shop, shop_of
from app.api.shapes import AMOUNT_FIELDS
from core.errors import Corrupt, Reason, Refused, Unavailable

ROUTERS = (
    health.router,
    customers.router,
    markets.router,
    deposits.router,
    orders.router,
    withdrawals.router,
    approvals.router,
    cosigning.router,
    policies.router,
    address_book.router,
    decisions.router,
    screening.router,
    passkeys.router,
    reserves.router,
    ops.router,
    prices.router,
    stops.router,
)

_log = structlog.get_logger("api")


def create_app(context: ApiContext) -> Edge:
    """Return the application; it starts no thread and opens no connection."""
    app = FastAPI(
        title="Strongroom",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.shop = make_shop(context)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    openapi.serve(app)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Corrupt, _corrupt)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadFields, _bad_fields)
    app.add_exception_handler(TooManyRequests, _too_many)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    platform = context.platform
    return Edge(app, clock=platform.clock, entropy=platform.entropy, registry=context.registry)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if error.reason is Reason.BAD_ATTESTATION:
        # It pages, and the process lives: whoever can write one row must not stop everybody.
        _log.critical(
            "BAD ATTESTATION", request_id=problems.request_id_of(request), what=error.detail
        )
        detail = "What is stored is not what the signer attested to. Do not pay to it; ask us."
        return problems.respond(problems.problem(request, error.reason.value, detail))
    return problems.of_refusal(request, error)


async def _unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)
    _log.warning("unavailable", request_id=problems.request_id_of(request), what=error.what)
    return problems.of_outage(request, error)


async def _corrupt(request: Request, error: Exception) -> Response:
    """Answer 500 and tell the process to stop: a person must look."""
    assert isinstance(error, Corrupt)
    _log.critical("CORRUPT", request_id=problems.request_id_of(request), what=str(error))
    await run_in_threadpool(shop_of(request).context.on_corrupt, error)
    return _internal(request)


async def _broken(request: Request, _error: Exception) -> Response:
    """Answer 500; the server logs the traceback, which holds no values."""
    return _internal(request)


def _internal(request: Request) -> Response:
    detail = "The fault is ours. Look up by its id what you asked for before asking again."
    lookup = getattr(request.state, "lookup", None)
    return problems.respond(
        problems.problem(request, problems.INTERNAL, detail, outcome="unknown", lookup=lookup)
    )


async def _too_many(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyRequests)
    document = problems.problem(request, problems.RATE_LIMITED, "Ask more slowly.")
    return problems.respond(document, {"Retry-After": str(error.retry_after_s)})


async def _bad_fields(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadFields)
    return _faults(request, error.faults)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _faults(request, [_fault(found) for found in error.errors()])


async def _http(request: Request, error: Exception) -> Response:
    """Answer what the framework itself says: no such path, another method, a bad body."""
    assert isinstance(error, HTTPException)
    code = {404: Reason.NOT_FOUND.value, 405: problems.METHOD_NOT_ALLOWED}.get(error.status_code)
    document = problems.problem(request, code or Reason.MALFORMED.value, "No such path or method.")
    return problems.respond(document, error.headers)


def _faults(request: Request, faults: list[problems.Fault]) -> Response:
    order = [reason.value for reason in Reason]
    code = min((fault.code for fault in faults), key=order.index)
    document = problems.problem(request, code, "See errors.", errors=faults)
    return problems.respond(document)


def _fault(found: dict[str, Any]) -> problems.Fault:
    where, *path = [str(part) for part in found["loc"]]
    pointer = f"/{'/'.join(path)}" if where == "body" else f"{where}/{'/'.join(path)}"
    code = Reason.MALFORMED
    if found["type"] == "missing":
        code = Reason.MISSING_FIELD
    elif (
        where == "body"
        and path
        and path[-1] in AMOUNT_FIELDS
        and found["type"] != "extra_forbidden"
    ):
        code = Reason.MALFORMED_AMOUNT
    return problems.Fault(pointer=pointer, code=code.value)
