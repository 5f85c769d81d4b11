"""Every known difference between a chain and the books at one final block.

Named by the id of its row.

A wallet's balance on chain equals its balance in the books plus these residuals (I5). What a final
block contains never changes, so statuses asked once about it stay true.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BlockRef, ChainWriter, SpendKind, TxStatus
from core.ids import AssetNo, ChainId
from custody import catalogue, deposit_rows, funding
from custody.decided_deposits import REAPPEARED
from custody.deposit_rows import Deposit, DepositState
from custody.deposits import OWN_WALLET
from custody.funding import FundingKind
from custody.spending import rows
from custody.spending.outcome import moved_amount
from custody.spending.rows import TO_CUSTOMERS, Attempt, Spend, SpendState
from custody.wallets.addresses import DEPOSITS
from custody.wallets.inventory import GAS

Statuses = Mapping[str, TxStatus]
"""What the chain says of our transactions that the books have not ended, by transaction id."""


class Why(enum.StrEnum):
    """What kind of difference a residual is."""

    ARRIVED = "arrived"
    """A payment in the chain up to the block and not booked (negative: the other way round)."""
    UNATTRIBUTED = "unattributed"
    """The same, of money that belongs to no customer."""
    SENT = "sent"
    """Booked as gone and still there (negative: gone and not booked)."""
    RECEIVED = "received"
    """An own transfer that arrived and is not booked (negative: the other way round)."""
    NETWORK_FEE = "network_fee"
    """A fee booked and not yet paid at the block (negative: paid and not booked)."""


@dataclass(frozen=True, slots=True)
class Residual:
    """One difference: signed minor units by which the chain holds more than the books."""

    account: str
    asset_no: AssetNo
    cause_id: str
    kind: SpendKind | None
    """The kind of spend, None for a deposit."""
    why: Why
    amount: int


def open_transactions(conn: sa.Connection, chain: ChainId) -> list[str]:
    """Return the ids of the transactions whose spends the books have not ended."""
    return [
        attempt.tx_id
        for spend_id in rows.ids_in_state(conn, chain, SpendState.BROADCAST)
        for attempt in rows.attempts(conn, spend_id)
    ]


def ask_statuses(chain: ChainWriter, tx_ids: Sequence[str]) -> dict[str, TxStatus]:
    """Ask where transactions stand; outside of any database transaction."""
    return {tx_id: chain.tx_status(tx_id) for tx_id in tx_ids}


def residuals(
    conn: sa.Connection, chain: ChainId, at: BlockRef, statuses: Statuses, *, gas_pays: bool = False
) -> list[Residual]:
    """Return every residual of a chain at a final block. statuses were asked when it was final.

    A transaction without a status was sent after the statuses were asked, hence after the block.
    gas_pays: wallet `gas` pays for what leaves deposit addresses.
    """
    listed = {each.spec.key: each.asset_no for each in catalogue.all_assets(conn)
              if each.chain == chain}  # fmt: skip
    native_no = catalogue.native_asset(conn, chain).asset_no
    taken_back = funding.causes_of(conn, FundingKind.DEBIT)
    found = []
    for deposit in _unsettled_deposits(conn, chain, at, sorted(listed)):
        asset_no = listed[deposit.asset_key]
        fell_out = deposit.deposit_id in taken_back
        found += _of_deposit(deposit, asset_no, at, fell_out=fell_out)
    for spend in rows.unsettled(conn, chain, above=at.height):
        attempts = rows.attempts(conn, spend.spend_id) if _is_open(spend) else []
        payer = GAS if gas_pays and spend.account == DEPOSITS else spend.account
        found += _of_spend(spend, attempts, statuses, at, native_no, fee_payer=payer)
    return [residual for residual in found if residual.amount]


def _unsettled_deposits(
    conn: sa.Connection, chain: ChainId, at: BlockRef, keys: Sequence[str]
) -> list[Deposit]:
    """Return every deposit that chain and books may disagree about: not the credited ones below."""
    deposits = deposit_rows.deposits
    known = sa.or_(
        deposits.c.state != DepositState.CREDITED.value,
        deposits.c.height > at.height,
        sa.exists().where(
            funding.funding.c.cause_id == deposits.c.deposit_id,
            funding.funding.c.kind == FundingKind.DEBIT.value,
        ),
    )
    query = sa.select(deposits).where(
        deposits.c.chain == chain,
        deposits.c.state != DepositState.ORPHANED.value,
        # Listed by now, even if it was not when the money came.
        deposits.c.asset_key.in_(keys),
        known,
    )
    return [
        deposit_rows.deposit_of(row) for row in conn.execute(query.order_by(deposits.c.arrival_no))
    ]


def _of_deposit(
    deposit: Deposit, asset_no: AssetNo, at: BlockRef, *, fell_out: bool
) -> list[Residual]:
    arrived = deposit.amount if deposit.block.height <= at.height else 0
    reversed_ = deposit.state is DepositState.REVERSED
    if (fell_out or reversed_) and deposit.reason != REAPPEARED:
        arrived = 0  # it fell out of the chain, which is why it is being reversed
    own = deposit.reason == OWN_WALLET and deposit.state is DepositState.UNATTRIBUTED
    posted = deposit.amount if deposit.state is DepositState.CREDITED or own else 0
    nobodys = deposit.state is DepositState.UNATTRIBUTED or reversed_
    why = Why.UNATTRIBUTED if nobodys else Why.ARRIVED
    return [Residual(deposit.account, asset_no, deposit.deposit_id, None, why, arrived - posted)]


def _of_spend(
    spend: Spend,
    attempts: Sequence[Attempt],
    statuses: Statuses,
    at: BlockRef,
    native_no: AssetNo,
    *,
    fee_payer: str,
) -> list[Residual]:
    moved, arrived, fee = _on_chain(spend, attempts, statuses, at)
    posted, fee_posted = _in_books(spend, attempts)
    received = posted if spend.delivered is None else min(posted, spend.delivered)
    out = [
        Residual(spend.payer, spend.asset_no, spend.spend_id, spend.kind, Why.SENT, posted - moved),
        Residual(
            fee_payer, native_no, spend.spend_id, spend.kind, Why.NETWORK_FEE, fee_posted - fee
        ),
    ]
    if spend.destination_account is not None:
        out.append(
            Residual(
                spend.destination_account, spend.asset_no, spend.spend_id, spend.kind,
                Why.RECEIVED, arrived - received,
            )
        )  # fmt: skip
    return out


def _in_books(spend: Spend, attempts: Sequence[Attempt]) -> tuple[int, int]:
    """Return what the books say a spend has moved, and its fee."""
    fee = spend.fee_paid or 0
    if spend.state is SpendState.CONFIRMED:
        return _whole(spend), fee
    leaving = _is_open(spend) and any(not attempt.cancels for attempt in attempts)
    if spend.kind in TO_CUSTOMERS and leaving:
        return spend.amount, 0
    return 0, fee


def _on_chain(
    spend: Spend, attempts: Sequence[Attempt], statuses: Statuses, at: BlockRef
) -> tuple[int, int, int]:
    """Return what has left and what has arrived up to a final block, and the fee."""
    if spend.final_height is not None:
        if spend.final_height > at.height:
            return 0, 0, 0
        moved = _whole(spend) if spend.state is SpendState.CONFIRMED else 0
        return moved, spend.delivered or 0, spend.fee_paid or 0
    for attempt in attempts:
        status = statuses.get(attempt.tx_id)
        if status is not None and status.block is not None and status.block.height <= at.height:
            arrived = 0 if attempt.cancels or not status.succeeded else status.effect_amount
            moved = moved_amount(spend, status) if spend.kind is SpendKind.BATCH else spend.amount
            return (moved if arrived else 0), arrived, status.fee
    return 0, 0, 0


def _whole(spend: Spend) -> int:
    """Return what left by a spend that is confirmed: of a batch its paid items."""
    return (spend.delivered or 0) if spend.kind is SpendKind.BATCH else spend.amount


def _is_open(spend: Spend) -> bool:
    return spend.state is SpendState.BROADCAST
