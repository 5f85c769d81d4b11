"""Send what enough owners signed: a spend of the wallet's own, whose bytes are joined here.

Where coins are spent nobody carries the owners' transaction: it pays its own fee. It is planned and
its bytes are saved in one transaction, then it goes the way of every spend. Nothing here can sign
it anew, so it is sent again and never replaced by a dearer one.
"""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from chains.base import SignedTx, SpendKind
from core.errors import Reason, Refused
from core.ids import SpendId, WithdrawalId
from custody import chain_state
from custody.keys.wallets import check_state
from custody.multisig import propose, rows
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.rows import Proposal, ProposalState
from custody.spending import effects, plan
from custody.spending import rows as spends
from custody.spending.drive import Note
from custody.spending.means import Means
from custody.spending.rows import Attempt, SpendState
from custody.wallets import addresses
from custody.withdrawals import states
from custody.withdrawals.releasing import Looked, Ready
from custody.withdrawals.states import WithdrawalVerb


def step(desk: CoinDesk, *, note: Note) -> int:
    """Save the bytes of every open proposal that enough owners signed; return how many."""
    with desk.db.read() as conn:
        if chain_state.state(conn, desk.chain_id).frozen:
            return 0
        waiting = [
            row for row in rows.in_state(conn, desk.chain_id, ProposalState.OPEN)
            if row.address == desk.row.address and _count(desk, conn, row) >= desk.row.threshold
        ]  # fmt: skip
    return sum(
        propose.guarded(row.proposal_id, note, partial(finish, desk, row)) for row in waiting
    )


def finish(desk: CoinDesk, row: Proposal) -> None:
    """Join a proposal's signatures, plan its spend and save the bytes that will be sent.

    Refused: frozen, owner_change, quorum_not_met, bad_signature, in_progress, and as Gate.release
    and CoinWallet.judge.
    """
    with desk.db.read() as conn:
        given = [
            one.signature for one in rows.signatures(conn, row.proposal_id)
            if one.owner in desk.owners
        ]  # fmt: skip
        source = addresses.of_address(conn, desk.chain_id, desk.row.address)
    check_state(desk.row, desk.state(), desk.owners, intent=row.intent, relayed=None)
    desk.wallet.judge(row.unsigned, row.intent)
    signed = desk.wallet.finalise(row.unsigned, given)
    coins = Means(coins=desk.wallet.coins_of(row.unsigned))

    def apply(conn: sa.Connection) -> Looked | None:
        now_ns = desk.clock.now_ns()
        if row.kind is SpendKind.WITHDRAWAL:
            found = desk.gate.release(conn, states.get(conn, WithdrawalId(row.cause_id)))
            if found.ready is not Ready.GO:
                return found
            states.advance(conn, found.row, WithdrawalVerb.PLAN, now_ns=now_ns)
        rows.advance(conn, rows.get(conn, row.proposal_id), ProposalState.RELAYED)
        spend = plan.reserve(
            conn,
            row.intent,
            source=source,
            asset_no=row.asset_no,
            destination_account=None,
            now_ns=now_ns,
            relayed=plan.Relayed(row.wallet, row.nonce, b"", row.cause_id),
            claims=coins,
        )
        spends.save_attempt(conn, _attempt(row, spend.spend_id, signed, now_ns), desk.chain_id)
        planned = spends.get(conn, spend.spend_id)
        effects.signed(conn, spends.advance(conn, planned, SpendState.SIGNED), now_ns=now_ns)
        return None

    waits = desk.db.run(apply)
    if waits is not None:
        raise Refused(Reason.IN_PROGRESS, f"{waits.ready}: {waits.why}")


def _attempt(row: Proposal, spend_id: SpendId, signed: SignedTx, now_ns: int) -> Attempt:
    return Attempt(
        spend_id=spend_id,
        attempt_no=1,
        tx_id=signed.tx_id,
        payload=row.payload,
        raw=signed.raw,
        cancels=False,
        signed_at_ns=now_ns,
        sent_at_ns=None,
        sends=0,
        outcome=None,
        detail=None,
    )


def _count(desk: CoinDesk, conn: sa.Connection, row: Proposal) -> int:
    given = rows.signatures(conn, row.proposal_id)
    return len({one.owner for one in given} & desk.owners)
