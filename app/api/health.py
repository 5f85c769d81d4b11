"""Is it alive, is it ready, and how does it do: for supervisors, load balancers and Prometheus."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api.context import Check
from app.api.guard import GuardedRoute, In, Shop
from app.api.shapes import Shown
from core.errors import Unavailable
from core.ids import ChainId
from custody import chain_state
from custody.wallets import rederive

router = APIRouter(route_class=GuardedRoute)

State = Literal["ready", "degraded", "unready"]


class CheckView(Shown):
    """One check. Without the needed ones nothing can be answered; others only degrade."""

    name: str
    needed: bool
    ok: bool
    detail: str | None = None


class HealthView(Shown):
    """The whole; with ?verbose, which engine matches and every check."""

    status: State
    engine: str | None = None
    checks: list[CheckView] | None = None


class LiveView(Shown):
    """The process answers."""

    status: Literal["alive"] = "alive"


@router.get("/livez", response_model=LiveView, responses={503: {"model": HealthView}})
async def livez(shop: In) -> Response:
    """Return 200 while the process can do its work; 503 once only a restart can help."""
    failure = shop.context.sequencer.failure
    if failure is None:
        return _json(LiveView(), 200)
    return _json(HealthView(status="unready"), 503)


@router.get("/readyz", response_model=HealthView, responses={503: {"model": HealthView}})
async def readyz(shop: In, verbose: Annotated[str | None, Query(max_length=8)] = None) -> Response:
    """Return 200 when requests can be answered; a chain or a worker that limps only degrades."""
    checks = await run_in_threadpool(_checks, shop)
    status: State = "ready"
    if not all(check.ok for check in checks):
        status = "degraded"
    if not all(check.ok for check in checks if check.needed):
        status = "unready"
    shown = HealthView(status=status)
    if verbose is not None:
        shown = HealthView(status=status, engine=shop.context.sequencer.engine_kind, checks=checks)
    return _json(shown, 503 if status == "unready" else 200)


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
def metrics(shop: In) -> Response:
    """Return what Prometheus gathers."""
    return Response(generate_latest(shop.context.registry), media_type=CONTENT_TYPE_LATEST)


def _checks(shop: Shop) -> list[CheckView]:
    needed: dict[str, Check] = {
        "database": partial(_database, shop),
        "engine": partial(_engine, shop),
    }
    others: dict[str, Check] = {
        f"chain.{chain}": partial(_chain, shop, chain) for chain in shop.context.platform.chains
    }
    others["addresses"] = partial(_addresses, shop)
    others |= shop.context.checks
    return [_check(name, check, needed=name in needed) for name, check in (needed | others).items()]


def _check(name: str, run: Check, *, needed: bool) -> CheckView:
    try:
        detail = run()
    except Unavailable:
        detail = "unavailable"
    return CheckView(name=name, needed=needed, ok=detail is None, detail=detail)


def _database(shop: Shop) -> str | None:
    with shop.context.platform.db.read() as conn:
        conn.exec_driver_sql("SELECT 1")
    return None


def _engine(shop: Shop) -> str | None:
    return None if shop.context.sequencer.failure is None else "stopped"


def _chain(shop: Shop, chain: ChainId) -> str | None:
    with shop.context.platform.db.read() as conn:
        if chain_state.state(conn, chain).frozen:
            return "frozen"
        return None if chain_state.cursor(conn, chain) is not None else "no block followed yet"


def _addresses(shop: Shop) -> str | None:
    with shop.context.platform.db.read() as conn:
        bad = sum(rederive.bad_addresses(conn, one) for one in shop.context.platform.chains)
    return f"{bad} are not what the signer attested to" if bad else None


def _json(shown: Shown, status: int) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Response(
        shown.model_dump_json(exclude_none=True), status, headers, media_type="application/json"
    )
