"""Approvals: what waits for officers, and their signed verdicts."""

from __future__ import annotations

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In, Shop
from app.api.shapes import Asked, Cursor, Limit, Page, Shown, after, next_of
from app.api.withdrawal_views import WithdrawalView, view
from app.api.withdrawals import visible
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody.keys.intent import render_bytes
from custody.keys.roster import Approval, Roster, Verdict
from custody.withdrawals import approvals, states
from custody.withdrawals.states import Withdrawal, WithdrawalState

router = APIRouter(route_class=GuardedRoute)

VerdictName = Literal["approve", "reject"]


class GivenView(Shown):
    """One officer's verdict as it is stored."""

    person: str | None
    public_key: str
    verdict: VerdictName
    signature: str


class PendingView(Shown):
    """What an officer signs: read it from the intent's bytes with your own tool, not from here."""

    withdrawal: WithdrawalView
    intent: Annotated[str, Field(description="Canonical bytes, hex")]
    intent_hash: Annotated[str, Field(description="SHA-256 of the bytes, hex")]
    rendering: Annotated[str, Field(description="The bytes as text for a person")]
    threshold: int
    given: list[GivenView]


class NewApproval(Asked):
    """A verdict signed with the officer's own key: see custody.keys.roster for the message."""

    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    verdict: VerdictName
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


@router.get("/v1/approvals")
def list_pending(shop: In, limit: Limit = 50, cursor: Cursor = None) -> Page[PendingView]:
    """Return the withdrawals that wait for officers, oldest first."""
    with shop.context.platform.db.read() as conn:
        rows = states.in_states(conn, [WithdrawalState.HELD], after=after(cursor), limit=limit)
        data = [_pending(conn, shop, row) for row in rows]
    return Page[PendingView](
        data=data, next_cursor=next_of([row.request_no for row in rows], limit)
    )


@router.get("/v1/approvals/{withdrawal_id}")
def read_pending(withdrawal_id: str, caller: Caller, shop: In) -> PendingView:
    """Return one withdrawal as officers see it, whatever its state."""
    with shop.context.platform.db.read() as conn:
        return _pending(conn, shop, visible(conn, WithdrawalId(withdrawal_id), caller))


@router.post("/v1/withdrawals/{withdrawal_id}/approvals", status_code=201)
def add_approval(
    withdrawal_id: str, asked: NewApproval, caller: Caller, shop: In
) -> WithdrawalView:
    """Record one's own verdict; the same one again changes nothing."""
    platform = shop.context.platform
    given = Approval(
        bytes.fromhex(asked.public_key), Verdict(asked.verdict), bytes.fromhex(asked.signature)
    )

    def apply(conn: sa.Connection) -> Withdrawal:
        now_ns = platform.clock.now_ns()
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
        officer = platform.roster.officer(given.public_key, now_ns)
        if officer.person != caller.subject:
            raise Refused(Reason.FORBIDDEN, "an officer hands in his own verdict")
        return approvals.add(conn, row.withdrawal_id, given, roster=platform.roster, now_ns=now_ns)

    return view(shop, shop.write(apply))


def _pending(conn: sa.Connection, shop: Shop, row: Withdrawal) -> PendingView:
    roster = shop.context.platform.roster
    return PendingView(
        withdrawal=view(shop, row),
        intent=row.intent.hex(),
        intent_hash=row.intent_hash.hex(),
        rendering=render_bytes(row.intent),
        threshold=roster.threshold,
        given=[
            GivenView(
                person=_person(roster, given.public_key),
                public_key=given.public_key.hex(),
                verdict=given.verdict.value,
                signature=given.signature.hex(),
            )
            for given in approvals.of(conn, row.withdrawal_id)
        ],
    )


def _person(roster: Roster, public_key: bytes) -> str | None:
    """Return whose key it is in the roster of today."""
    found = [officer for officer in roster.officers if officer.public_key == public_key]
    return found[0].person if found else None
