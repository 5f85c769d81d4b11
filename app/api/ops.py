"""What ops and auditors watch: chains, incidents, the audit log. And how ops halt a market."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from app.api.engine_room import command, reading
from app.api.guard import Caller, GuardedRoute, In, Shop
from app.api.markets import MarketView, view_of
from app.api.shapes import Cursor, Limit, Page, Shown, after, next_of
from app.api.units import instant
from core.errors import Reason, Refused
from core.ids import ChainId
from custody import audit_log, chain_state
from custody.access import Principal
from engine.types import ConfigRefused, HaltMarket, ResumeMarket

router = APIRouter(route_class=GuardedRoute)


class ChainView(Shown):
    """How far a chain is followed and final, and whether it is frozen."""

    chain: str
    network: str
    followed_height: int | None
    followed_hash: str | None
    final_height: int | None
    frozen: bool
    reorgs: int
    deepest_reorg: int


class ChainsView(Shown):
    """Every chain."""

    data: list[ChainView]


class IncidentView(Shown):
    """Something a person must look at."""

    incident_no: int
    chain: str
    kind: str
    detail: str
    opened_at: str


class IncidentsView(Shown):
    """Every open incident, oldest first."""

    data: list[IncidentView]


class AuditView(Shown):
    """One record of the hash chain of who did what."""

    number: int
    actor: str
    action: str
    subject: str
    detail: dict[str, str]
    at: str
    hash: Annotated[str, Field(description="Covers this record and the hash before it")]


@router.get("/v1/chains")
def list_chains(shop: In) -> ChainsView:
    """Return every chain as the database has it."""
    with shop.context.platform.db.read() as conn:
        return ChainsView(data=[_chain(conn, each) for each in chain_state.registered(conn)])


@router.get("/v1/incidents")
def list_incidents(shop: In) -> IncidentsView:
    """Return open incidents."""
    with shop.context.platform.db.read() as conn:
        found = chain_state.open_incidents(conn)
    return IncidentsView(
        data=[
            IncidentView(
                incident_no=one.incident_no,
                chain=one.chain,
                kind=one.kind,
                detail=one.detail,
                opened_at=instant(one.opened_at_ns),
            )
            for one in found
        ]
    )


@router.get("/v1/audit-log")
def list_audit_records(shop: In, limit: Limit = 100, cursor: Cursor = None) -> Page[AuditView]:
    """Return the audit log, oldest first."""
    with shop.context.platform.db.read() as conn:
        found = audit_log.records(conn, after=after(cursor), limit=limit)
    data = [
        AuditView(
            number=one.number,
            actor=one.actor,
            action=one.action,
            subject=one.subject,
            detail=dict(one.detail),
            at=instant(one.at_ns),
            hash=one.hash.hex(),
        )
        for one in found
    ]
    return Page[AuditView](data=data, next_cursor=next_of([one.number for one in found], limit))


@router.post("/v1/markets/{market}/halt")
async def halt_market(market: str, caller: Caller, shop: In, request: Request) -> MarketView:
    """Take nothing but cancels in a market until it is resumed; a second time changes nothing."""
    return await _switch(shop, caller, request, market, "market.halt", HaltMarket)


@router.post("/v1/markets/{market}/resume")
async def resume_market(market: str, caller: Caller, shop: In, request: Request) -> MarketView:
    """Take orders in a market again; a second time changes nothing."""
    return await _switch(shop, caller, request, market, "market.resume", ResumeMarket)


async def _switch(
    shop: Shop,
    caller: Principal,
    request: Request,
    name: str,
    action: str,
    verb: type[HaltMarket] | type[ResumeMarket],
) -> MarketView:
    """Record who asks for it, have the engine do it, and return the market as it is after that."""
    request.state.lookup = "/v1/markets"
    units = shop.listing.market(name)
    market_no = units.row.market_no
    with reading(shop) as engine:
        known = engine.markets().get(market_no)
    if known is None:
        raise Refused(Reason.UNKNOWN_MARKET, "the engine has not been told of it yet")
    if known.is_retired:
        raise Refused(Reason.MARKET_RETIRED, name)
    # Before the engine is asked, so that no crash leaves a halt that nobody asked for. And every
    # time, even when the market is so already: the opposite command may be on its way.
    async with shop.turn():
        await run_in_threadpool(_record, shop, caller, action, name)
    event = (await command(shop, verb(market_no=market_no)))[0]
    if isinstance(event, ConfigRefused):
        raise Refused(event.reason.reason, name)
    with reading(shop) as engine:
        return view_of(units, engine.markets()[market_no])


def _record(shop: Shop, caller: Principal, action: str, name: str) -> None:
    now_ns = shop.context.platform.clock.now_ns()
    shop.write(
        lambda conn: audit_log.record(
            conn, actor=caller.subject, action=action, subject=f"market:{name}",
            detail={}, at_ns=now_ns,
        )
    )  # fmt: skip


def _chain(conn: sa.Connection, chain: ChainId) -> ChainView:
    state, cursor = chain_state.state(conn, chain), chain_state.cursor(conn, chain)
    return ChainView(
        chain=chain,
        network=state.network,
        followed_height=None if cursor is None else cursor.height,
        followed_hash=None if cursor is None else cursor.hash,
        final_height=None if state.final is None else state.final.height,
        frozen=state.frozen,
        reorgs=state.reorgs,
        deepest_reorg=state.deepest_reorg,
    )
