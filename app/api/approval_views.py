"""A withdrawal as officers see it: what they would sign, on whichever rail, and how far it is."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from app.api.guard import Shop
from app.api.shapes import Shown
from app.api.units import instant
from app.api.withdrawal_views import WithdrawalView, view
from core.clock import SECOND_NS
from core.errors import Refused
from custody.keys import intent as intents
from custody.keys.credentials import CredentialKind
from custody.keys.passkey_answers import request_options
from custody.keys.roster import Officer, Roster, Verdict, approval_signable, check_approval
from custody.keys.signable import Signable
from custody.keys.typed_approval import typed_data
from custody.withdrawals import approvals
from custody.withdrawals.approvals import Given
from custody.withdrawals.rehearsal import Finding, rehearse
from custody.withdrawals.states import Withdrawal, WithdrawalState


class GivenView(Shown):
    """One officer's verdict as it is stored: everything that is needed to verify it again."""

    person: str
    kind: Annotated[str | None, Field(description="ed25519, webauthn or eip712; by the roster")]
    public_key: Annotated[str, Field(description="Hex; an address when kind is eip712")]
    verdict: Verdict
    signature: str
    evidence: Annotated[str, Field(description="What a passkey signed besides, hex")]
    at: str
    counts: Annotated[bool, Field(description="Whether it would count if it were signed now")]


class CredentialView(Shown):
    """One credential of the officer who asks."""

    kind: CredentialKind
    public_key: str
    active_until: str


class ToSignView(Shown):
    """What an officer's credential signs for one verdict, rail by rail."""

    verdict: Verdict
    message: Annotated[str, Field(description="An Ed25519 key signs these bytes, hex")]
    passkeys: Annotated[
        list[dict[str, Any]],
        Field(description="For navigator.credentials.get(): one page per relying party"),
    ]
    typed_data: Annotated[
        dict[str, Any], Field(description="For eth_signTypedData_v4, and what a wallet shows")
    ]


class ProgressView(Shown):
    """How far the quorum is, now."""

    quorum: Annotated[str, Field(description="As the policy's rule says it; empty: nobody")]
    threshold: Annotated[int, Field(description="The least number of persons, whatever the rule")]
    approved_by: list[str]
    excluded: Annotated[list[str], Field(description="Who may not approve this one")]
    is_met: bool
    delay_s: Annotated[int, Field(description="From the complete quorum to the signature")]


class CountdownView(Shown):
    """How long what lasts, at the time of the answer. Seconds are rounded down, 0: over."""

    now: str
    expires_in_s: int
    releasable_at: Annotated[str | None, Field(description="Known once the quorum is complete")]
    releasable_in_s: int | None
    not_before: str | None


class PendingView(Shown):
    """What an officer signs: read it from the intent's bytes with your own tool, not from here."""

    withdrawal: WithdrawalView
    intent: Annotated[str, Field(description="Canonical bytes, hex")]
    intent_hash: Annotated[str, Field(description="SHA-256 of the bytes, hex")]
    rendering: Annotated[str, Field(description="The bytes as text for a person")]
    threshold: int
    progress: ProgressView
    countdown: CountdownView
    given: list[GivenView]


class ChangeView(Shown):
    """One balance before and after, in the asset's minor units."""

    address: str
    asset_key: str
    before: str
    after: str


class SimulationView(Shown):
    """What paying it now would do, as the nodes ran it; the signer judges the real one again."""

    finding: Finding
    detail: str
    differences: Annotated[
        list[str], Field(description="What is not exactly the approved payment; none is good")
    ]
    changes: Annotated[list[ChangeView], Field(description="Without the fee")]
    fee_max: Annotated[str | None, Field(description="Most native minor units it may cost")]
    height: int | None
    block_hash: str | None
    age_s: Annotated[int | None, Field(description="Age of that block in seconds")]
    is_stale: Annotated[bool, Field(description="The nodes' newest block is too old")]
    digest: Annotated[str, Field(description="Of this transaction; the real one has its own")]


class CaseView(PendingView):
    """One withdrawal with everything that the officer who asks needs."""

    credentials: Annotated[list[CredentialView], Field(description="Of the officer who asks")]
    to_sign: list[ToSignView]
    simulation: Annotated[
        SimulationView | None, Field(description="None when it was not asked for, or too late")
    ]


def simulated(shop: Shop, row: Withdrawal) -> SimulationView | None:
    """Return what paying a withdrawal now would do; asks nodes, so in no transaction."""
    if row.state not in {WithdrawalState.HELD, WithdrawalState.APPROVED}:
        return None
    platform = shop.context.platform
    found = rehearse(
        platform.db,
        platform.home(row.chain).chain,
        row,
        roster=platform.roster,
        now_ns=platform.clock.now_ns(),
    )
    return SimulationView(
        finding=found.finding,
        detail=found.detail,
        differences=list(found.differences),
        changes=[
            ChangeView(
                address=one.address,
                asset_key=one.asset_key,
                before=str(one.before),
                after=str(one.after),
            )
            for one in found.changes
        ],
        fee_max=None if found.fee_max is None else str(found.fee_max),
        height=found.height,
        block_hash=found.block_hash,
        age_s=found.age_s,
        is_stale=found.is_stale,
        digest=found.digest.hex(),
    )


def pending(conn: sa.Connection, shop: Shop, row: Withdrawal) -> PendingView:
    """Return a withdrawal as every officer sees it."""
    platform = shop.context.platform
    roster, now_ns = platform.roster, platform.clock.now_ns()
    given = [_given(roster, row, one, now_ns) for one in approvals.given(conn, row.withdrawal_id)]
    return PendingView(
        withdrawal=view(shop, row),
        intent=row.intent.hex(),
        intent_hash=row.intent_hash.hex(),
        rendering=intents.render_bytes(row.intent),
        threshold=roster.threshold,
        progress=_progress(conn, shop, row, now_ns),
        countdown=_countdown(row, now_ns),
        given=given,
    )


def case(
    conn: sa.Connection,
    shop: Shop,
    row: Withdrawal,
    *,
    person: str,
    simulation: SimulationView | None,
) -> CaseView:
    """Return a withdrawal as one officer sees it, with what his own credentials would sign."""
    platform = shop.context.platform
    now_ns = platform.clock.now_ns()
    own = [
        one for one in platform.roster.officers if one.person == person and one.is_active(now_ns)
    ]
    return CaseView(
        **pending(conn, shop, row).model_dump(),
        credentials=[
            CredentialView(
                kind=one.kind,
                public_key=one.public_key.hex(),
                active_until=instant(one.active_until_ns),
            )
            for one in own
        ],
        to_sign=[_to_sign(row, own, verdict) for verdict in Verdict],
        simulation=simulation,
    )


def _to_sign(row: Withdrawal, own: list[Officer], verdict: Verdict) -> ToSignView:
    return to_sign_of(approval_signable(approvals.intent_of(row), verdict), own, verdict)


def to_sign_of(signable: Signable, own: list[Officer], verdict: Verdict) -> ToSignView:
    """Return what the credentials of one officer sign."""
    held = [one.passkey for one in own if one.passkey is not None]
    return ToSignView(
        verdict=verdict,
        message=signable.message.hex(),
        passkeys=request_options(held, signable.message) if held else [],
        typed_data=typed_data(signable),
    )


def _given(roster: Roster, row: Withdrawal, one: Given, now_ns: int) -> GivenView:
    approval, kind = one.approval, None
    for officer in roster.officers:
        if officer.public_key == approval.public_key:
            kind = officer.kind.value
    intent = approvals.intent_of(row)
    barred = {intent.initiator, *intent.excluded}
    try:
        check_approval(roster, intent, approval, now_ns=now_ns)
        counts = approval.verdict is Verdict.REJECT or (
            one.person not in barred and now_ns < intent.expires_ns
        )
    except Refused:
        counts = False
    return GivenView(
        person=one.person,
        kind=kind,
        public_key=approval.public_key.hex(),
        verdict=approval.verdict,
        signature=approval.signature.hex(),
        evidence=approval.evidence.hex(),
        at=instant(one.at_ns),
        counts=counts,
    )


def _progress(conn: sa.Connection, shop: Shop, row: Withdrawal, now_ns: int) -> ProgressView:
    roster, intent = shop.context.platform.roster, approvals.intent_of(row)
    found = approvals.progress(conn, row, roster=roster, now_ns=now_ns)
    return ProgressView(
        quorum=found.quorum,
        threshold=roster.threshold,
        approved_by=list(found.persons),
        excluded=sorted({intent.initiator, *intent.excluded}),
        is_met=found.is_met,
        delay_s=found.delay_ns // SECOND_NS,
    )


def _countdown(row: Withdrawal, now_ns: int) -> CountdownView:
    intent = approvals.intent_of(row)
    releasable = row.releasable_at_ns
    return CountdownView(
        now=instant(now_ns),
        expires_in_s=_left_s(row.expires_at_ns, now_ns),
        releasable_at=None if releasable is None else instant(releasable),
        releasable_in_s=None if releasable is None else _left_s(releasable, now_ns),
        not_before=instant(intent.not_before_ns) if intent.not_before_ns else None,
    )


def _left_s(until_ns: int, now_ns: int) -> int:
    return max(0, until_ns - now_ns) // SECOND_NS
