"""What each stage of a spend means for its cause and for the books.

In the same transaction as the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import ItemStatus, SpendKind
from core.errors import Corrupt
from core.ids import WithdrawalId
from custody import catalogue, velocity
from custody.keys.batch import shares
from custody.ledger import templates
from custody.ledger.transfers import post
from custody.multisig import ends
from custody.spending import batch_items, sweep_items
from custody.spending.batch_items import ItemOutcome
from custody.spending.rows import Spend
from custody.wallets import inventory
from custody.withdrawals import states, workflow
from custody.withdrawals.states import WithdrawalState, WithdrawalVerb

EXECUTION_FAILED, NO_EFFECT, ITEM_FAILED = "execution_failed", "no_effect", "item_failed"
TRIED = frozenset({EXECUTION_FAILED, NO_EFFECT})
"""Reasons of a spend that failed on chain; every other one was cancelled."""


@dataclass(frozen=True, slots=True)
class _Payment:
    """One withdrawal that a spend pays. cause: what its transfers in the books are named by."""

    withdrawal_id: WithdrawalId
    amount: int
    cause: str


def _payments(conn: sa.Connection, spend: Spend) -> list[_Payment]:
    """Return the withdrawals of a spend: its own, those of a batch, none of an own transfer.

    A withdrawal may leave a cancelled batch and be paid alone, so its transfers here have names of
    their own.
    """
    if spend.kind is SpendKind.WITHDRAWAL:
        return [_Payment(WithdrawalId(spend.cause_id), spend.amount, spend.cause_id)]
    if spend.kind is SpendKind.BATCH:
        return [
            _Payment(one.withdrawal_id, one.amount, f"{spend.spend_id}/{one.withdrawal_id}")
            for one in batch_items.of(conn, spend.spend_id)
        ]
    return []


def signed(conn: sa.Connection, spend: Spend, *, now_ns: int) -> None:
    """Bytes are saved; they have not left. From here on the windows of its limits run out."""
    if spend.abandoned:
        return
    payments = _payments(conn, spend)
    for cause in [str(one.withdrawal_id) for one in payments] or [spend.cause_id]:
        velocity.release(conn, cause, now_ns)
    for one in payments:
        _advance(conn, one, WithdrawalVerb.SIGN, now_ns)


def leaving(conn: sa.Connection, spend: Spend, *, now_ns: int) -> None:
    """Bytes are about to leave: from here on only finality ends the spend."""
    if spend.abandoned:
        return
    for one in _payments(conn, spend):
        _advance(conn, one, WithdrawalVerb.BROADCAST, now_ns)
        posted = templates.withdrawal_broadcast(
            wallet=spend.payer,
            kind=inventory.kind_of(spend.payer),
            asset_no=spend.asset_no,
            amount=one.amount,
            withdrawal_id=one.cause,
        )
        post(conn, posted, at_ns=now_ns)


def confirmed(
    conn: sa.Connection,
    spend: Spend,
    *,
    fee: int,
    now_ns: int,
    items: Sequence[ItemStatus] = (),
    fee_wallet: str | None = None,
) -> None:
    """The chain has done what the intent said, finally; of a batch, what `items` say.

    fee_wallet: who paid the fee, where that is not the spend's account.
    """
    _book_fee(conn, spend, fee, now_ns, payer=fee_wallet or spend.account)
    if spend.kind is SpendKind.BATCH:
        _end_batch(conn, spend, fee, [is_paid(item) for item in items], now_ns)
        return
    if spend.wallet is not None:
        ends.executed(conn, spend, now_ns=now_ns)
        if spend.kind is not SpendKind.WITHDRAWAL:
            return
    if spend.kind is SpendKind.WITHDRAWAL:
        workflow.confirm(conn, WithdrawalId(spend.cause_id), now_ns=now_ns)
        return
    if spend.destination_account is None:
        raise Corrupt(f"{spend.spend_id} is a {spend.kind} to nobody of ours")
    delivered = min(spend.delivered or 0, spend.amount)
    posted = templates.own_transfer(
        asset_no=spend.asset_no,
        amount=delivered,
        from_wallet=spend.account,
        from_kind=inventory.kind_of(spend.account),
        to_wallet=spend.destination_account,
        to_kind=inventory.kind_of(spend.destination_account),
        spend_id=spend.spend_id,
    )
    if delivered < spend.amount:
        # The token kept a part on the way: the wallet lost all of it, the other got the rest.
        posted += templates.lost_on_the_way(
            asset_no=spend.asset_no,
            amount=spend.amount - delivered,
            wallet=spend.account,
            kind=inventory.kind_of(spend.account),
            spend_id=spend.spend_id,
        )
    post(conn, posted, at_ns=now_ns)


def failed(
    conn: sa.Connection,
    spend: Spend,
    *,
    fee: int,
    reason: str,
    now_ns: int,
    wallet_open: bool = False,
    fee_wallet: str | None = None,
) -> None:
    """Finality proves that the intent can never be carried out.

    wallet_open: not yet; its wallet's signatures are still good, and their nonce is used up first.
    The withdrawals of a batch that was cancelled were not tried: each goes back to those that wait.
    One that was tried and undone as a whole has failed with all of them.
    """
    velocity.take_turn(conn)
    _book_fee(conn, spend, fee, now_ns, payer=fee_wallet or spend.account)
    if spend.kind is SpendKind.BATCH:
        tried = reason in TRIED
        count = len(batch_items.of(conn, spend.spend_id))
        _end_batch(conn, spend, fee, [False if tried else None] * count, now_ns)
        return
    if spend.wallet is not None:
        ends.not_executed(conn, spend, reason=reason, is_open=wallet_open, now_ns=now_ns)
    if spend.kind is not SpendKind.WITHDRAWAL:
        velocity.free(conn, spend.cause_id, now_ns)
        return
    (payment,) = _payments(conn, spend)
    _return(conn, spend, payment, now_ns)
    if not wallet_open:
        workflow.fail(conn, payment.withdrawal_id, reason=reason, now_ns=now_ns)


def is_paid(item: ItemStatus) -> bool:
    """A token that says yes and moves nothing has paid nobody, as for a payment alone."""
    return item.paid and item.amount > 0


def _end_batch(
    conn: sa.Connection, spend: Spend, fee: int, paid: Sequence[bool | None], now_ns: int
) -> None:
    """End every withdrawal of a batch for itself; None: it was not tried and is put back."""
    items = batch_items.of(conn, spend.spend_id)
    costs = shares(fee, len(items))
    rows = zip(items, _payments(conn, spend), costs, paid, strict=True)
    for item, payment, cost, arrived in rows:
        if arrived:
            batch_items.end(conn, item, ItemOutcome.PAID, fee=cost)
            workflow.confirm(conn, payment.withdrawal_id, now_ns=now_ns)
            continue
        _return(conn, spend, payment, now_ns)
        if arrived is None:
            batch_items.end(conn, item, ItemOutcome.PUT_BACK, fee=cost)
            _advance(conn, payment, WithdrawalVerb.PUT_BACK, now_ns)
            velocity.hold_again(conn, payment.withdrawal_id, now_ns)
        else:
            batch_items.end(conn, item, ItemOutcome.FAILED, fee=cost)
            workflow.fail(conn, payment.withdrawal_id, reason=ITEM_FAILED, now_ns=now_ns)


def _return(conn: sa.Connection, spend: Spend, payment: _Payment, now_ns: int) -> None:
    """Book that what was on its way never left, if it ever was."""
    if states.get(conn, payment.withdrawal_id).state is not WithdrawalState.BROADCAST:
        return
    posted = templates.withdrawal_returned(
        wallet=spend.payer,
        kind=inventory.kind_of(spend.payer),
        asset_no=spend.asset_no,
        amount=payment.amount,
        withdrawal_id=payment.cause,
    )
    post(conn, posted, at_ns=now_ns)


def _book_fee(conn: sa.Connection, spend: Spend, fee: int, now_ns: int, *, payer: str) -> None:
    if fee == 0:
        return
    native = catalogue.native_asset(conn, spend.chain)
    causes: list[tuple[str, int]] = [(spend.spend_id, fee)]
    if spend.kind is SpendKind.SWEEP:
        items = sweep_items.of(conn, spend.spend_id)
        split = sweep_items.split_cost(fee, [amount for _, amount in items])
        causes = [
            (f"{spend.spend_id}/{deposit_id}", cost)
            for (deposit_id, _), cost in zip(items, split, strict=True)
        ]
    if spend.kind is SpendKind.BATCH:
        payments = _payments(conn, spend)
        costs = shares(fee, len(payments))
        causes = [(one.cause, cost) for one, cost in zip(payments, costs, strict=True)]
    for cause_id, cost in causes:
        if cost:
            posted = templates.network_fee(
                wallet=payer,
                kind=inventory.kind_of(payer),
                native_asset_no=native.asset_no,
                amount=cost,
                tx_id=cause_id,
            )
            post(conn, posted, at_ns=now_ns)


def _advance(conn: sa.Connection, payment: _Payment, verb: WithdrawalVerb, now_ns: int) -> None:
    states.advance(conn, states.get(conn, payment.withdrawal_id), verb, now_ns=now_ns)
