"""What each stage of a spend means for its cause and for the books.

In the same transaction as the stage.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import SpendKind
from core.errors import Corrupt
from core.ids import WithdrawalId
from custody import catalogue, velocity
from custody.ledger import templates
from custody.ledger.transfers import post
from custody.multisig import ends
from custody.spending import sweep_items
from custody.spending.rows import Spend
from custody.wallets import inventory
from custody.withdrawals import states, workflow
from custody.withdrawals.states import WithdrawalState, WithdrawalVerb


def signed(conn: sa.Connection, spend: Spend, *, now_ns: int) -> None:
    """Bytes are saved; they have not left. From here on the windows of its limits run out."""
    if not spend.abandoned:
        velocity.release(conn, spend.cause_id, now_ns)
    if spend.kind is SpendKind.WITHDRAWAL and not spend.abandoned:
        _advance(conn, spend, WithdrawalVerb.SIGN, now_ns)


def leaving(conn: sa.Connection, spend: Spend, *, now_ns: int) -> None:
    """Bytes are about to leave: from here on only finality ends the spend."""
    if spend.kind is SpendKind.WITHDRAWAL and not spend.abandoned:
        _advance(conn, spend, WithdrawalVerb.BROADCAST, now_ns)
        posted = templates.withdrawal_broadcast(
            wallet=spend.payer,
            kind=inventory.kind_of(spend.payer),
            asset_no=spend.asset_no,
            amount=spend.amount,
            withdrawal_id=spend.cause_id,
        )
        post(conn, posted, at_ns=now_ns)


def confirmed(conn: sa.Connection, spend: Spend, *, fee: int, now_ns: int) -> None:
    """The chain has done what the intent said, finally."""
    _book_fee(conn, spend, fee, now_ns)
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
) -> None:
    """Finality proves that the intent can never be carried out.

    wallet_open: not yet; its wallet's signatures are still good, and their nonce is used up first.
    """
    _book_fee(conn, spend, fee, now_ns)
    if spend.wallet is not None:
        ends.not_executed(conn, spend, reason=reason, is_open=wallet_open, now_ns=now_ns)
    if spend.kind is not SpendKind.WITHDRAWAL:
        velocity.free(conn, spend.cause_id, now_ns)
        return
    if states.get(conn, WithdrawalId(spend.cause_id)).state is WithdrawalState.BROADCAST:
        posted = templates.withdrawal_returned(
            wallet=spend.payer,
            kind=inventory.kind_of(spend.payer),
            asset_no=spend.asset_no,
            amount=spend.amount,
            withdrawal_id=spend.cause_id,
        )
        post(conn, posted, at_ns=now_ns)
    if not wallet_open:
        workflow.fail(conn, WithdrawalId(spend.cause_id), reason=reason, now_ns=now_ns)


def _book_fee(conn: sa.Connection, spend: Spend, fee: int, now_ns: int) -> None:
    if fee == 0:
        return
    native = catalogue.native_asset(conn, spend.chain)
    causes: list[tuple[str, int]] = [(spend.spend_id, fee)]
    if spend.kind is SpendKind.SWEEP:
        items = sweep_items.of(conn, spend.spend_id)
        shares = sweep_items.split_cost(fee, [amount for _, amount in items])
        causes = [
            (f"{spend.spend_id}/{deposit_id}", cost)
            for (deposit_id, _), cost in zip(items, shares, strict=True)
        ]
    for cause_id, cost in causes:
        if cost:
            posted = templates.network_fee(
                wallet=spend.account,
                kind=inventory.kind_of(spend.account),
                native_asset_no=native.asset_no,
                amount=cost,
                tx_id=cause_id,
            )
            post(conn, posted, at_ns=now_ns)


def _advance(conn: sa.Connection, spend: Spend, verb: WithdrawalVerb, now_ns: int) -> None:
    row = states.get(conn, WithdrawalId(spend.cause_id))
    states.advance(conn, row, verb, now_ns=now_ns)
