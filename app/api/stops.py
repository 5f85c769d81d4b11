"""Stops: officers' signed pauses, freezes and resumptions, and what is stopped now."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Query
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In, Shop
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of
from app.api.units import instant
from core.errors import Refused, Unavailable
from custody import stops
from custody.access import Principal
from custody.keys.passkey import EVIDENCE_MAX
from custody.keys.statement import SIGNATURES_MAX, StatementKind, StatementSignature, decode
from custody.keys.stop_order import SignedStop, order_of
from custody.stops import Stop

router = APIRouter(route_class=GuardedRoute)

_log = structlog.get_logger("api")


class StopSignature(Asked):
    """One officer's signature over the statement, on any rail."""

    public_key: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){20,33}$")]
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,512}$")]
    evidence: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", max_length=2 * EVIDENCE_MAX)] = ""


class NewStop(Asked):
    """A statement that pauses, freezes or resumes, as officers signed it."""

    statement: Annotated[
        str,
        Field(
            pattern=r"^([0-9a-f]{2})+$",
            max_length=1 << 15,
            description="Canonical bytes, hex: see custody.keys.stop_order",
        ),
    ]
    signatures: Annotated[list[StopSignature], Field(min_length=1, max_length=SIGNATURES_MAX)]


class StopView(Shown):
    """One order as it was taken."""

    stop_id: str
    kind: str
    scope: str
    because: str
    placed_by: list[str]
    placed_at: str
    until: str | None
    lifts: list[str]
    lifted_by: str | None
    lifted_at: str | None
    holds: bool
    signer_told: Annotated[bool, Field(description="False: the signer could not be reached yet")]


@router.post("/v1/stops", status_code=201)
def take_stop(asked: NewStop, caller: Caller, shop: In) -> StopView:
    """Obey officers' statement; the same one again changes nothing.

    What stops is told the signer before anything is written here; what resumes, after.
    """
    signed = SignedStop(
        decode(bytes.fromhex(asked.statement)),
        tuple(
            StatementSignature(*map(bytes.fromhex, (one.public_key, one.signature, one.evidence)))
            for one in asked.signatures
        ),
    )
    stop_id = order_of(signed.statement).order_id
    if signed.statement.kind is StatementKind.RESUME:
        taken = _receive(shop, signed, caller)
        is_told = _tell(shop, signed)
    else:
        with shop.context.platform.db.read() as conn:
            stops.check_scope(conn, signed.statement.subject)
        is_told = _tell(shop, signed)
        taken = _receive(shop, signed, caller)
    if is_told and taken.told_at_ns is None:
        now_ns = shop.context.platform.clock.now_ns()
        shop.write(lambda conn: stops.mark_told(conn, stop_id, now_ns=now_ns))
    return _view(shop, taken, is_told=is_told or taken.told_at_ns is not None)


@router.get("/v1/stops")
def list_stops(
    shop: In,
    in_force: Annotated[bool, Query(description="Only what stops something now")] = True,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[StopView]:
    """Return what is stopped, in the order it was taken."""
    now_ns = shop.context.platform.clock.now_ns()
    with shop.context.platform.db.read() as conn:
        found = stops.listed(
            conn, now_ns=now_ns, only_in_force=in_force, after=after(cursor), limit=limit
        )
    return Page[StopView](
        data=[_view(shop, one, is_told=one.told_at_ns is not None) for one in found],
        next_cursor=next_of([one.stop_no for one in found], limit),
    )


def _tell(shop: Shop, signed: SignedStop) -> bool:
    """Return whether the signer obeys; when not, a step of the workers tells it again.

    What it refuses the platform refuses too, for the same reason, unless their rosters differ; then
    one of them at least stops.
    """
    try:
        shop.context.platform.signer.obey(signed)
    except (Unavailable, Refused) as error:
        _log.error("the signer was not told", stop=signed.statement.statement_id, what=str(error))
        return False
    return True


def _receive(shop: Shop, signed: SignedStop, caller: Principal) -> Stop:
    platform = shop.context.platform
    return shop.write(
        lambda conn: stops.receive(
            conn, signed, roster=platform.roster, by=caller.subject, now_ns=platform.clock.now_ns()
        )
    )


def _view(shop: Shop, stop: Stop, *, is_told: bool) -> StopView:
    order = stop.order
    return StopView(
        stop_id=order.order_id,
        kind=order.kind.value,
        scope=order.scope,
        because=order.because,
        placed_by=list(stop.placed_by),
        placed_at=instant(stop.placed_at_ns),
        until=instant(order.until_ns) if order.kind is StatementKind.FREEZE else None,
        lifts=list(order.lifts),
        lifted_by=stop.lifted_by,
        lifted_at=None if stop.lifted_at_ns is None else instant(stop.lifted_at_ns),
        holds=stop.holds(shop.context.platform.clock.now_ns()),
        signer_told=is_told,
    )
