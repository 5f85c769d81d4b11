"""Money that does not go back yet: what ended may still be executed by whoever kept signatures.

As soon as one owner has signed, the hold of a withdrawal that was rejected, cancelled or expired
stays until its wallet's nonce is used up. Without a signature it goes back at once.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.ids import WithdrawalId
from custody import funding
from custody.funding import FundingKind
from custody.multisig.rows import ProposalState, cosignatures, wallet_proposals
from custody.withdrawals.states import RELEASING, Withdrawal, get, withdrawals

_OPEN = (ProposalState.OPEN.value, ProposalState.ENDED.value)


def is_held_back(conn: sa.Connection, withdrawal_id: WithdrawalId) -> bool:
    """Return whether a withdrawal's signatures could still be used by somebody."""
    query = (
        sa.select(cosignatures.c.cosignature_no)
        .join(wallet_proposals, wallet_proposals.c.proposal_id == cosignatures.c.proposal_id)
        .where(
            wallet_proposals.c.cause_id == withdrawal_id,
            wallet_proposals.c.kind == "withdrawal",
            wallet_proposals.c.state.in_(_OPEN),
        )
        .limit(1)
    )
    return conn.execute(query).first() is not None


def is_given_back(conn: sa.Connection, withdrawal_id: WithdrawalId) -> bool:
    """Return whether the engine was asked to give a withdrawal's hold back."""
    return funding.find(conn, FundingKind.RELEASE, withdrawal_id) is not None


def held_back(conn: sa.Connection) -> list[Withdrawal]:
    """Return every withdrawal that ended and whose hold is still there, oldest first."""
    ended = [state.value for state in RELEASING]
    query = (
        sa.select(withdrawals.c.withdrawal_id)
        .join(wallet_proposals, wallet_proposals.c.cause_id == withdrawals.c.withdrawal_id)
        .where(withdrawals.c.state.in_(ended), wallet_proposals.c.state.in_(_OPEN))
        .order_by(withdrawals.c.request_no)
    )
    found = [WithdrawalId(one) for one in conn.execute(query).scalars()]
    return [get(conn, one) for one in found if not is_given_back(conn, one)]
