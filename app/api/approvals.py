"""Approvals: what waits for officers, and their signed verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import sqlalchemy as sa
from fastapi import APIRouter, Body, Query
from pydantic import Discriminator, Field, Tag

from app.api.approval_views import CaseView, PendingView, case, pending, simulated
from app.api.guard import Caller, GuardedRoute, In
from app.api.shapes import Asked, Cursor, Limit, Page, after, next_of
from app.api.withdrawal_views import WithdrawalView, view
from app.api.withdrawals import visible
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody.keys import passkey_answers, typed_approval
from custody.keys.roster import Approval, Roster, Verdict
from custody.withdrawals import approvals, states
from custody.withdrawals.states import Withdrawal, WithdrawalState

router = APIRouter(route_class=GuardedRoute)

VerdictName = Literal["approve", "reject"]


class FileKeyVerdict(Asked):
    """A verdict signed with an Ed25519 key in a file: see custody.keys.roster for the message."""

    kind: Literal["ed25519"] = "ed25519"
    public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    verdict: VerdictName
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class WalletVerdict(Asked):
    """A verdict signed with a wallet: `to_sign.typed_data` through eth_signTypedData_v4."""

    kind: Literal["eip712"]
    address: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", description="With its checksum")]
    verdict: VerdictName
    signature: Annotated[str, Field(pattern=r"^0x[0-9a-f]{130}$")]


class PasskeyVerdict(Asked):
    """A verdict signed with a passkey: `to_sign.passkeys` through navigator.credentials.get()."""

    kind: Literal["webauthn"]
    verdict: VerdictName
    answer: Annotated[dict[str, Any], Field(description="PublicKeyCredential.toJSON()")]


def _kind_of(body: object) -> str:
    kind = body.get("kind", "ed25519") if isinstance(body, Mapping) else ""
    return kind if isinstance(kind, str) else ""


NewVerdict: TypeAlias = Annotated[
    Annotated[FileKeyVerdict, Tag("ed25519")]
    | Annotated[WalletVerdict, Tag("eip712")]
    | Annotated[PasskeyVerdict, Tag("webauthn")],
    Discriminator(_kind_of),
]


@router.get("/v1/approvals")
def list_pending(shop: In, limit: Limit = 50, cursor: Cursor = None) -> Page[PendingView]:
    """Return the withdrawals that wait for officers, oldest first."""
    with shop.context.platform.db.read() as conn:
        rows = states.in_states(conn, [WithdrawalState.HELD], after=after(cursor), limit=limit)
        data = [pending(conn, shop, row) for row in rows]
    return Page[PendingView](
        data=data, next_cursor=next_of([row.request_no for row in rows], limit)
    )


@router.get("/v1/approvals/{withdrawal_id}")
def read_pending(
    withdrawal_id: str,
    caller: Caller,
    shop: In,
    simulate: Annotated[
        bool, Query(description="Have the nodes run the payment; false: do not ask them")
    ] = True,
) -> CaseView:
    """Return one withdrawal as the officer who asks sees it, whatever its state."""
    db = shop.context.platform.db
    with db.read() as conn:
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
    simulation = simulated(shop, row) if simulate else None
    with db.read() as conn:
        row = visible(conn, row.withdrawal_id, caller)
        return case(conn, shop, row, person=caller.subject, simulation=simulation)


@router.post("/v1/withdrawals/{withdrawal_id}/approvals", status_code=201)
def add_approval(
    withdrawal_id: str, asked: Annotated[NewVerdict, Body()], caller: Caller, shop: In
) -> WithdrawalView:
    """Record one's own verdict, by any credential; the same one again changes nothing."""
    platform = shop.context.platform

    def apply(conn: sa.Connection) -> Withdrawal:
        now_ns = platform.clock.now_ns()
        row = visible(conn, WithdrawalId(withdrawal_id), caller)
        given = approval_of(asked, platform.roster, now_ns)
        officer = platform.roster.officer(given.public_key, now_ns)
        if officer.person != caller.subject:
            raise Refused(Reason.FORBIDDEN, "an officer hands in his own verdict")
        return approvals.add(conn, row.withdrawal_id, given, roster=platform.roster, now_ns=now_ns)

    return view(shop, shop.write(apply))


def approval_of(
    asked: FileKeyVerdict | WalletVerdict | PasskeyVerdict, roster: Roster, now_ns: int
) -> Approval:
    """Return the verdict that was sent, on whichever rail. Refused: malformed, not_an_officer, …"""
    verdict = Verdict(asked.verdict)
    if isinstance(asked, PasskeyVerdict):
        return passkey_answers.approval_of(asked.answer, verdict, roster=roster, now_ns=now_ns)
    if isinstance(asked, WalletVerdict):
        signature = typed_approval.one_spelling(bytes.fromhex(asked.signature[2:]))
        return Approval(typed_approval.read_address(asked.address), verdict, signature)
    return Approval(bytes.fromhex(asked.public_key), verdict, bytes.fromhex(asked.signature))
