"""Withdrawals as customers and staff see them."""

from __future__ import annotations

from collections.abc import Sequence

from app.api.guard import Shop
from app.api.shapes import Shown
from app.api.units import asset_id, instant
from core.errors import Reason
from core.money import format_amount
from custody.withdrawals.states import TimelineEntry, Withdrawal, WithdrawalState


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


class WithdrawalDetail(WithdrawalView):
    """One withdrawal, what happened to it, and the transactions signed for it."""

    tx_ids: list[str]
    timeline: list[TimelineView]

    @classmethod
    def of(
        cls,
        shown: WithdrawalView,
        timeline: Sequence[TimelineEntry],
        tx_ids: list[str],
        *,
        for_staff: bool,
    ) -> WithdrawalDetail:
        """Return the detail; customers are not told which officer did what."""
        return cls(
            **shown.model_dump(),
            tx_ids=tx_ids,
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


def _for_customers(state: WithdrawalState, reason: str | None) -> str | None:
    is_rejected = state is WithdrawalState.REJECTED
    return Reason.REJECTED_BY_OFFICER.value if is_rejected else reason
