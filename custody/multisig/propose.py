"""Make proposals: of approved withdrawals that such a wallet pays, of burns, of other owners.

What owners will sign is built once, from the wallet's state at a final block, and saved with the
nonce it takes; from then on that nonce is its for ever (custody.multisig.rows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import sqlalchemy as sa

from chains.base import NATIVE, BlockRef, Chain, Effect, SpendIntent, SpendKind
from chains.multisig import Wallets, WalletState
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, WithdrawalId, derived_id
from custody import catalogue, chain_state
from custody.db import Database
from custody.keys.roster import ContractWallet
from custody.keys.wallets import check_state
from custody.multisig import rows
from custody.multisig.rows import Proposal, ProposalState
from custody.spending import plan
from custody.spending.drive import Note, Problem
from custody.withdrawals import execute, states, workflow
from custody.withdrawals.releasing import Gate
from custody.withdrawals.states import Withdrawal, WithdrawalState

STEP_MAX = 20


@dataclass(frozen=True, slots=True)
class Desk:
    """One wallet of several owners, as the roster names it and the chain serves it."""

    db: Database
    chain: Chain
    wallets: Wallets
    row: ContractWallet
    owners: frozenset[str]
    """Addresses of all owners that the roster names."""
    clock: Clock
    gate: Gate
    """The way of a withdrawal from approved to planned."""

    @property
    def chain_id(self) -> ChainId:
        """Return the wallet's chain."""
        return self.row.chain

    def final(self) -> BlockRef:
        """Return our final block. Unavailable: there is none yet."""
        with self.db.read() as conn:
            final = chain_state.state(conn, self.chain_id).final
        if final is None:
            raise Unavailable(f"nothing is final on {self.chain_id} yet", retry_after_ms=10_000)
        return final

    def state(self) -> WalletState:
        """Return what the wallet is, finally."""
        return self.wallets.state(self.row.address, self.final())

    def owner_of(self, row: Proposal, signature: bytes) -> str:
        """Return whose a signature of a proposal is. Refused: bad_signature."""
        return self.wallets.owner_of(row.unsigned, signature)


def step(desk: Desk, *, note: Note) -> int:
    """Propose what approved withdrawals ask for, and burn what ended; return how many were made."""
    with desk.db.read() as conn:
        if chain_state.state(conn, desk.chain_id).frozen:
            return 0
    now_ns = desk.clock.now_ns()
    waiting = execute.approved(desk.db, desk.chain_id, wallet=desk.row.wallet, now_ns=now_ns)
    made = 0
    for row in islice(filter(partial(has_none, desk.db), waiting), STEP_MAX):
        made += guarded(row.withdrawal_id, note, partial(withdrawal, desk, row))
    for ended in ended_of(desk.db, desk.chain_id, desk.row.address):
        made += guarded(ended.proposal_id, note, partial(burn, desk, ended))
    return made


def withdrawal(desk: Desk, row: Withdrawal) -> Proposal:
    """Propose the payment of an approved withdrawal; the same again is returned.

    Refused: frozen, approval_expired, owner_change (the wallet is not the roster's). Unavailable:
    it would fail, or the wallet cannot pay it now.
    """
    desk.gate.look(desk.db, row)
    state = desk.state()
    with desk.db.read() as conn:
        asset = catalogue.asset(conn, row.asset_no)
    intent = execute.intent_of(row, source=desk.row.address, asset_key=asset.spec.key)
    check_state(desk.row, state, desk.owners, intent=intent, relayed=None)
    _check_payable(desk, intent)

    effect = Effect(intent.asset_key, intent.destination, intent.amount)
    check = partial(check_approved, row=row, now_ns=desk.clock.now_ns())
    return _make(desk, intent, effect, state, check=check)


def check_approved(conn: sa.Connection, *, row: Withdrawal, now_ns: int) -> None:
    """Return when a withdrawal may still be proposed. Refused: illegal_transition, stopped."""
    now = states.get(conn, row.withdrawal_id)
    if now.state is not WithdrawalState.APPROVED:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.withdrawal_id} is {now.state}")
    workflow.refuse_if_stopped(conn, now)
    workflow.refuse_if_outdated(conn, now, now_ns=now_ns)


def burn(desk: Desk, ended: Proposal) -> Proposal:
    """Propose to use up the nonce of what ended; nobody need approve what pays nothing."""
    intent = burn_intent(ended)
    effect = Effect(NATIVE, desk.row.address, 0)

    return _make(
        desk, intent, effect, desk.state(), check=partial(end, ended=ended), nonce=ended.nonce,
        cause_id=ended.intent.spend_id,
    )  # fmt: skip


def end(conn: sa.Connection, *, ended: Proposal) -> None:
    """Let nobody sign what is burnt any more. Refused: illegal_transition (it was sent)."""
    now = rows.get(conn, ended.proposal_id)
    if now.state is ProposalState.OPEN:
        rows.advance(conn, now, ProposalState.ENDED, reason=ended.reason)
    elif now.state is not ProposalState.ENDED:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{ended.proposal_id} is {now.state}")


def burn_intent(ended: Proposal) -> SpendIntent:
    """Return the cancellation of a proposal: nothing, to the wallet itself, at the same nonce."""
    return SpendIntent(
        spend_id=f"{ended.intent.spend_id}_burn",
        kind=SpendKind.CANCELLATION,
        cause_id=_first_spend(ended),
        chain=ended.chain,
        network=ended.intent.network,
        asset_key=NATIVE,
        source=ended.address,
        destination=ended.address,
        amount=0,
        fee_max=ended.intent.fee_max,
    )


def _first_spend(ended: Proposal) -> str:
    """Return the spend that a nonce belongs to: a burn, and a burn of that, act for it."""
    is_burn = ended.kind is SpendKind.CANCELLATION
    return ended.intent.cause_id if is_burn else ended.intent.spend_id


def _make(
    desk: Desk,
    intent: SpendIntent,
    effect: Effect,
    state: WalletState,
    *,
    check: Callable[[sa.Connection], None],
    nonce: int | None = None,
    cause_id: str | None = None,
) -> Proposal:
    """Build what owners sign and save it with its nonce: the next one, or the one given."""
    cause = cause_id or intent.cause_id
    units = desk.wallets.units(desk.row.address, [effect], state)
    plan.open_lane_at(desk.db, desk.chain_id, desk.row.address, used=state.nonce)
    with desk.db.read() as conn:
        free = plan.next_nonce(conn, desk.chain_id, desk.row.address)
        native = catalogue.native_asset(conn, desk.chain_id).asset_no
        paid = catalogue.asset_by_key(conn, desk.chain_id, intent.asset_key)
    at = free if nonce is None else nonce
    if at is None:
        raise Unavailable(f"the lane of {desk.row.address} is not open")
    built = desk.wallets.build(desk.row.address, [effect], nonce=at, units=units, state=state)

    def apply(conn: sa.Connection) -> Proposal:
        chain_state.refuse_if_frozen(conn, desk.chain_id)
        known = rows.find_by_cause(conn, cause, intent.kind)
        if known is not None:
            return known
        check(conn)
        if nonce is None and plan.take_nonce(conn, desk.chain_id, desk.row.address) != at:
            raise Refused(Reason.IN_PROGRESS, "another proposal took the nonce")
        return rows.insert(
            conn,
            Proposal(
                proposal_id=derived_id("proposal", intent.spend_id),
                proposal_no=0,
                kind=intent.kind,
                cause_id=cause,
                chain=desk.chain_id,
                wallet=desk.row.wallet,
                address=desk.row.address,
                nonce=at,
                asset_no=native if paid is None else paid.asset_no,
                intent=intent,
                payload=built.payload,
                digest=built.digest,
                state=ProposalState.OPEN,
                reason=None,
                made_at_ns=desk.clock.now_ns(),
            ),
        )

    return desk.db.run(apply)


def owners_change(
    desk: Desk, intent: SpendIntent, check: Callable[[sa.Connection], None]
) -> Proposal:
    """Propose one approved change of owners. Refused: owner_change (no step to the roster's)."""
    state = desk.state()
    check_state(desk.row, state, desk.owners, intent=intent, relayed=None)
    effect = Effect(intent.asset_key, intent.destination, intent.amount)
    return _make(desk, intent, effect, state, check=check)


def _check_payable(desk: Desk, intent: SpendIntent) -> None:
    """Unavailable: what is proposed already and this are more than the wallet holds now."""
    with desk.db.read() as conn:
        open_ones = [
            each
            for state in (ProposalState.OPEN, ProposalState.RELAYED)
            for each in rows.in_state(conn, desk.chain_id, state)
            if each.address == desk.row.address and each.intent.asset_key == intent.asset_key
        ]
    promised = sum(one.intent.amount for one in open_ones if one.cause_id != intent.cause_id)
    held = desk.chain.balance_of(desk.row.address, intent.asset_key, desk.chain.head())
    if held < promised + intent.amount:
        raise Unavailable(f"{desk.row.wallet}_short", retry_after_ms=30_000)


def ended_of(db: Database, chain_id: ChainId, address: str) -> list[Proposal]:
    """Return what needs a burn and has none: what ended, and open ones whose withdrawal did."""
    found = []
    with db.read() as conn:
        for state in (ProposalState.OPEN, ProposalState.ENDED):
            for row in rows.in_state(conn, chain_id, state):
                if row.address != address:
                    continue
                if (
                    rows.find_by_cause(conn, row.intent.spend_id, SpendKind.CANCELLATION)
                    is not None
                ):
                    continue
                if state is ProposalState.ENDED or _is_over(conn, row):
                    found.append(row)
    return found[:STEP_MAX]


def _is_over(conn: sa.Connection, row: Proposal) -> bool:
    if row.kind is not SpendKind.WITHDRAWAL:
        return False
    return states.get(conn, WithdrawalId(row.cause_id)).state in states.TERMINAL


def has_none(db: Database, row: Withdrawal) -> bool:
    """Return whether nothing was proposed for a withdrawal yet."""
    with db.read() as conn:
        return rows.find_by_cause(conn, row.withdrawal_id, SpendKind.WITHDRAWAL) is None


def guarded(what: str, note: Note, work: Callable[[], object]) -> int:
    """Do something to one proposal; what stops it is noted and does not stop the others."""
    try:
        work()
    except (Refused, Unavailable) as error:
        note(Problem(what, str(error)))
        return 0
    return 1
