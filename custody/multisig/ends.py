"""What the end of a relayed spend means for its proposal, and for what waited for it.

In the same transaction as the end.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import SpendKind
from core.errors import Corrupt
from core.ids import WithdrawalId
from custody import audit_log
from custody.multisig import holds, pins, rows
from custody.multisig.rows import Proposal, ProposalState
from custody.spending.rows import Spend
from custody.withdrawals import states, workflow
from custody.withdrawals.states import TERMINAL


def executed(conn: sa.Connection, spend: Spend, *, now_ns: int) -> None:
    """The wallet has done, finally, what was proposed."""
    row = _of(conn, spend)
    if row.state is ProposalState.RELAYED:
        rows.advance(conn, row, ProposalState.DONE)
    if row.kind is SpendKind.CANCELLATION:
        _burnt(conn, row, now_ns=now_ns)
    if row.kind is SpendKind.OWNERS:
        pins.changed(conn, row)
        audit_log.record(
            conn, actor="platform", action="wallet.owners", subject=row.cause_id,
            detail={"wallet": f"{row.wallet} {row.address}", "change": row.intent.asset_key,
                    "to": row.intent.destination, "threshold": str(row.intent.amount)},
            at_ns=now_ns,
        )  # fmt: skip


def not_executed(
    conn: sa.Connection, spend: Spend, *, reason: str, is_open: bool, now_ns: int
) -> None:
    """A relayed spend failed: for good, or while its wallet's nonce is still free."""
    row = _of(conn, spend)
    if not is_open:
        rows.advance(conn, row, ProposalState.DONE, reason=reason)
        if row.kind is SpendKind.CANCELLATION:
            _burnt(conn, row, now_ns=now_ns)
        return
    rows.advance(conn, row, ProposalState.ENDED, reason=reason)


def _burnt(conn: sa.Connection, burn: Proposal, *, now_ns: int) -> None:
    """The nonce is used up: what was proposed at it can never be executed."""
    for row in rows.at_nonce(conn, burn.chain, burn.address, burn.nonce):
        if row.state is not ProposalState.ENDED:
            continue
        rows.advance(conn, row, ProposalState.DEAD)
        if row.kind is not SpendKind.WITHDRAWAL:
            continue
        withdrawal = states.get(conn, WithdrawalId(row.cause_id))
        if withdrawal.state not in TERMINAL:
            reason = row.reason or "never_executed"
            workflow.fail(conn, withdrawal.withdrawal_id, reason=reason, now_ns=now_ns)
        elif not holds.is_given_back(conn, withdrawal.withdrawal_id):
            workflow.release(conn, withdrawal, now_ns=now_ns)


def _of(conn: sa.Connection, spend: Spend) -> Proposal:
    row = rows.find_by_cause(conn, spend.cause_id, spend.kind)
    if row is None or row.nonce != spend.wallet_nonce:
        raise Corrupt(f"{spend.spend_id} relays what nobody proposed")
    return row
