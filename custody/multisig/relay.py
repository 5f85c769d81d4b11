"""Carry what enough owners signed to the chain: a spend of the relayer's, from the wallet's money.

A wallet executes one nonce after the other, so only the next one is looked at. Of a proposal and
its burn only the burn is left: what is ENDED is never relayed.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import NATIVE, SpendKind
from chains.multisig import WalletState
from core.errors import Reason, Refused, Unavailable
from core.ids import WithdrawalId
from custody import chain_state
from custody.keys.wallets import RELAYER, check_state
from custody.multisig import rows
from custody.multisig.propose import Desk
from custody.multisig.rows import Proposal, ProposalState
from custody.spending import plan
from custody.spending.drive import Note, Problem
from custody.wallets import addresses
from custody.wallets.addresses import Address
from custody.withdrawals import states
from custody.withdrawals.releasing import Looked, Ready
from custody.withdrawals.states import WithdrawalVerb


def step(desk: Desk, *, note: Note) -> int:
    """Plan the relay of a wallet's next nonce, when enough owners signed; return how many."""
    with desk.db.read() as conn:
        if chain_state.state(conn, desk.chain_id).frozen:
            return 0
    state = desk.wallets.state(desk.row.address, desk.chain.head())
    with desk.db.read() as conn:
        here = rows.at_nonce(conn, desk.chain_id, desk.row.address, state.nonce)
    for row in here:
        if row.state is not ProposalState.OPEN:
            continue
        try:
            return int(plan_relay(desk, row, state))
        except (Refused, Unavailable) as error:
            note(Problem(row.proposal_id, str(error)))
    return 0


def plan_relay(desk: Desk, row: Proposal, state: WalletState) -> bool:
    """Join a proposal's signatures and plan the spend that carries them; False: too few yet.

    Refused: frozen, owner_change, not_an_owner, in_progress, and as Gate.release. Unavailable: fees
    above the cap, the relayer cannot pay them, or it would revert.
    """
    with desk.db.read() as conn:
        given = [one.signature for one in rows.signatures(conn, row.proposal_id)
                 if one.owner in state.owners]  # fmt: skip
        relayer = addresses.own_wallet(conn, desk.chain_id, RELAYER)
    if len(given) < state.threshold:
        return False
    check_state(desk.row, state, desk.owners, intent=row.intent, relayed=None)
    relay = desk.wallets.join(row.unsigned, given, state)
    _check_fees(desk, row, relay, relayer)
    plan.open_lane(desk.db, desk.chain, relayer.address)

    def apply(conn: sa.Connection) -> Looked | None:
        now_ns = desk.clock.now_ns()
        if row.kind is SpendKind.WITHDRAWAL:
            found = desk.gate.release(conn, states.get(conn, WithdrawalId(row.cause_id)))
            if found.ready is not Ready.GO:
                return found
            states.advance(conn, found.row, WithdrawalVerb.PLAN, now_ns=now_ns)
        rows.advance(conn, rows.get(conn, row.proposal_id), ProposalState.RELAYED)
        plan.reserve(
            conn,
            row.intent,
            source=relayer,
            asset_no=row.asset_no,
            destination_account=None,
            now_ns=now_ns,
            relayed=plan.Relayed(row.wallet, row.nonce, relay, row.cause_id),
        )
        return None

    waits = desk.db.run(apply)
    if waits is not None:
        raise Refused(Reason.IN_PROGRESS, f"{waits.ready}: {waits.why}")
    return True


def _check_fees(desk: Desk, row: Proposal, relay: bytes, relayer: Address) -> None:
    units = desk.wallets.relay_units(relay, relayer=relayer.address)
    if units * desk.chain.fee_rate().max_rate > row.intent.fee_max:
        raise Unavailable("fees_above_cap", retry_after_ms=30_000)
    held = desk.chain.balance_of(relayer.address, NATIVE, desk.chain.head())
    if held < row.intent.fee_max:
        raise Unavailable("relayer_short_of_fees", retry_after_ms=30_000)
