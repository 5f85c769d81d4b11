"""Withdrawals as customers and staff see them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from app.api.guard import Shop
from app.api.shapes import Shown
from app.api.units import asset_id, instant
from core.errors import Reason
from core.money import format_amount
from custody import catalogue
from custody.policy.record import Moment
from custody.spending import batch_items
from custody.withdrawals import approvals, decisions, states
from custody.withdrawals.states import TimelineEntry, Withdrawal, WithdrawalState

_WAITING = frozenset({WithdrawalState.REQUESTED, WithdrawalState.HELD, WithdrawalState.APPROVED})
_REASONS = frozenset(reason.value for reason in Reason)
"""What the policy gives as reason of a rejection; an officer's names the officer."""


class WithdrawalView(Shown):
    """One withdrawal. amount arrives, fee is taken on top; both are held until the end."""

    withdrawal_id: str
    client_withdrawal_id: str
    customer_no: int
    asset: str
    symbol: str
    chain: str
    destination: str
    amount: str
    fee: str
    state: WithdrawalState
    reason: str | None
    intent_hash: str
    requested_at: str
    releasable_at: str | None
    """From when it may be signed; null before it is approved."""
    expires_at: str


class TimelineView(Shown):
    """One transition."""

    state: WithdrawalState
    detail: str | None
    at: str


class WaitingView(Shown):
    """Why a withdrawal has not been signed yet, and how far it is."""

    why: str
    """hold, approvals, delay, payment, or the policy's code of what it waits for."""
    since: str
    approved: int
    """Officers whose approvals count now."""
    quorum: str | None
    """What the rule asks for; staff only."""
    officers: list[str]
    """Who approved; staff only."""


class NetworkView(Shown):
    """What the network took for the payment; the platform bears it."""

    fee: str | None
    """In whole native coins, the share of this withdrawal; null before it is final."""
    shared_by: int
    """Withdrawals that left in the same transaction, this one among them."""


def network_of(conn: sa.Connection, row: Withdrawal) -> NetworkView | None:
    """Return what paying a withdrawal cost the platform."""
    cost = batch_items.cost_of(conn, row.withdrawal_id)
    if cost is None:
        return None
    scale = catalogue.native_asset(conn, row.chain).spec.scale
    fee = None if cost.fee is None else format_amount(cost.fee, scale)
    return NetworkView(fee=fee, shared_by=cost.shared_by)


class WithdrawalDetail(WithdrawalView):
    """One withdrawal, what happened to it, and the transactions signed for it."""

    tx_ids: list[str]
    network: NetworkView | None
    """Null before it is planned."""
    waiting: WaitingView | None
    """Null as soon as it is planned or ended."""
    timeline: list[TimelineView]

    @classmethod
    def of(
        cls,
        shown: WithdrawalView,
        timeline: Sequence[TimelineEntry],
        tx_ids: list[str],
        *,
        waiting: WaitingView | None,
        network: NetworkView | None,
        for_staff: bool,
    ) -> WithdrawalDetail:
        """Return the detail; customers are not told which officer did what."""
        return cls(
            **shown.model_dump(),
            tx_ids=tx_ids,
            waiting=waiting,
            network=network,
            timeline=[
                TimelineView(
                    state=entry.state,
                    detail=entry.detail if for_staff else _for_customers(entry.state, entry.detail),
                    at=instant(entry.at_ns),
                )
                for entry in timeline
            ],
        )


def view(shop: Shop, row: Withdrawal) -> WithdrawalView:
    """Return a withdrawal as it stands."""
    asset = shop.listing.asset_of(row.asset_no)
    return WithdrawalView(
        withdrawal_id=row.withdrawal_id,
        client_withdrawal_id=row.client_withdrawal_id,
        customer_no=row.customer_no,
        asset=asset_id(asset),
        symbol=asset.spec.symbol,
        chain=row.chain,
        destination=row.destination,
        amount=format_amount(row.amount, asset.spec.scale),
        fee=format_amount(row.fee, asset.spec.scale),
        state=row.state,
        reason=_for_customers(row.state, row.reason),
        intent_hash=row.intent_hash.hex(),
        requested_at=instant(row.requested_at_ns),
        releasable_at=None if row.releasable_at_ns is None else instant(row.releasable_at_ns),
        expires_at=instant(row.expires_at_ns),
    )


def waiting_of(
    conn: sa.Connection, shop: Shop, row: Withdrawal, *, for_staff: bool
) -> WaitingView | None:
    """Return what a withdrawal waits for; customers are not told who approved."""
    if row.state not in _WAITING:
        return None
    platform = shop.context.platform
    now_ns = platform.clock.now_ns()
    progress = approvals.progress(conn, row, roster=platform.roster, now_ns=now_ns)
    since_ns = states.timeline(conn, row.withdrawal_id)[-1].at_ns
    why = "hold" if row.state is WithdrawalState.REQUESTED else "approvals"
    if row.state is WithdrawalState.APPROVED:
        why = "payment"
        released = decisions.last(conn, row.withdrawal_id, Moment.RELEASE)
        if row.releasable_at_ns is not None and now_ns < row.releasable_at_ns:
            why = "delay"
        elif released is not None and released.code and released.at_ns >= since_ns:
            why, since_ns = released.code, released.at_ns
    return WaitingView(
        why=why,
        since=instant(since_ns),
        approved=len(progress.persons),
        quorum=progress.quorum if for_staff and progress.quorum else None,
        officers=list(progress.persons) if for_staff else [],
    )


def _for_customers(state: WithdrawalState, reason: str | None) -> str | None:
    by_officer = state is WithdrawalState.REJECTED and reason not in _REASONS
    return Reason.REJECTED_BY_OFFICER.value if by_officer else reason
