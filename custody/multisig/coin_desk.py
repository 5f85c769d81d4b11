"""Proposals of wallets that spend coins: which coins, to whom, and the same coins back.

A proposal takes coins of the wallet's address as that of a contract takes a nonce: as long as it is
open, sent or ended they are no other proposal's, for whoever kept its signatures could use them.
What ended is burnt by a second proposal over the same coins, which pays them back; only when that
is final the first one is dead. What owners will sign is built once and saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import sqlalchemy as sa

from chains.base import Chain, Coin, SpendIntent
from chains.multisig import CoinWallet, WalletState
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, derived_id
from custody import catalogue, chain_state
from custody.db import Database
from custody.keys.roster import ContractWallet
from custody.keys.wallets import check_state
from custody.multisig import propose, rows
from custody.multisig.rows import Proposal, ProposalState
from custody.spending import means, plan
from custody.spending.drive import Note
from custody.wallets import coins as inventory
from custody.withdrawals import execute
from custody.withdrawals.releasing import Gate
from custody.withdrawals.states import Withdrawal

_HOLDING = (ProposalState.OPEN, ProposalState.RELAYED, ProposalState.ENDED)
_PROPOSALS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class CoinDesk:
    """One wallet of several owners that spends coins, as the roster names it."""

    db: Database
    chain: Chain
    wallet: CoinWallet
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

    def state(self) -> WalletState:
        """Return what the wallet is, which its descriptor alone says."""
        return WalletState(
            owners=self.wallet.owners, threshold=self.wallet.threshold, nonce=0,
            code=self.row.code, handler="", extensions=(),
        )  # fmt: skip

    def owner_of(self, row: Proposal, signature: bytes) -> str:
        """Return whose a signature of a proposal is. Refused: bad_signature, not_an_owner."""
        return self.wallet.owner_of(row.unsigned, signature)


def step(desk: CoinDesk, *, note: Note) -> int:
    """Propose what approved withdrawals ask for, and burn what ended; return how many were made."""
    with desk.db.read() as conn:
        if chain_state.state(conn, desk.chain_id).frozen:
            return 0
    now_ns = desk.clock.now_ns()
    waiting = execute.approved(desk.db, desk.chain_id, wallet=desk.row.wallet, now_ns=now_ns)
    made = 0
    for row in islice(filter(partial(propose.has_none, desk.db), waiting), propose.STEP_MAX):
        made += propose.guarded(row.withdrawal_id, note, partial(withdrawal, desk, row))
    for ended in propose.ended_of(desk.db, desk.chain_id, desk.row.address):
        made += propose.guarded(ended.proposal_id, note, partial(burn, desk, ended))
    return made


def withdrawal(desk: CoinDesk, row: Withdrawal) -> Proposal:
    """Propose the payment of an approved withdrawal; the same again is returned.

    Refused: frozen, approval_expired, owner_change (the descriptor is not the roster's owners'),
    fee_above_cap. Unavailable: its free final coins do not pay for it.
    """
    desk.gate.look(desk.db, row)
    with desk.db.read() as conn:
        asset = catalogue.asset(conn, row.asset_no)
        free = free_coins(desk, conn)
    intent = execute.intent_of(row, source=desk.row.address, asset_key=asset.spec.key)
    check_state(desk.row, desk.state(), desk.owners, intent=intent, relayed=None)
    try:
        return _make(
            desk, intent, free,
            check=partial(propose.check_approved, row=row, now_ns=desk.clock.now_ns()),
        )  # fmt: skip
    except Refused as refused:
        if refused.reason is not Reason.EXCEEDS_AVAILABLE:
            raise
        raise Unavailable(f"{desk.row.wallet}_short", retry_after_ms=30_000) from refused


def burn(desk: CoinDesk, ended: Proposal) -> Proposal:
    """Propose to pay the coins of what ended back; nobody need approve what pays nobody."""
    return _make(
        desk,
        propose.burn_intent(ended),
        desk.wallet.coins_of(ended.unsigned),
        check=partial(propose.end, ended=ended),
        burnt=ended,
    )


def free_coins(desk: CoinDesk, conn: sa.Connection) -> list[Coin]:
    """Return the wallet's final coins that no spend and no proposal holds."""
    taken = held_by_proposals(desk, conn)
    free = means.free_coins(conn, desk.chain_id, desk.row.address)
    final = means.final_coins(conn, desk.chain_id, free)
    return [coin for coin in final if coin.outpoint not in taken]


def held_by_proposals(desk: CoinDesk, conn: sa.Connection) -> frozenset[str]:
    """Return the coins that somebody's signatures may still use."""
    return frozenset(
        coin.outpoint
        for state in _HOLDING
        for row in rows.in_state(conn, desk.chain_id, state, limit=_PROPOSALS_MAX)
        if row.address == desk.row.address
        for coin in desk.wallet.coins_of(row.unsigned)
    )


def _make(
    desk: CoinDesk,
    intent: SpendIntent,
    offered: Sequence[Coin],
    *,
    check: Callable[[sa.Connection], None],
    burnt: Proposal | None = None,
) -> Proposal:
    """Build what owners sign, and save it with its coins."""
    cause = intent.cause_id if burnt is None else burnt.intent.spend_id
    plan.open_lane(desk.db, desk.chain, desk.row.address)
    built = desk.wallet.draft(intent, offered, rate=desk.chain.fee_rate())
    used = {coin.outpoint for coin in desk.wallet.coins_of(built)}

    def apply(conn: sa.Connection) -> Proposal:
        chain_state.refuse_if_frozen(conn, desk.chain_id)
        known = rows.find_by_cause(conn, cause, intent.kind)
        if known is not None:
            return known
        check(conn)
        if burnt is None:
            number = plan.take_nonce(conn, desk.chain_id, desk.row.address)
            if used & held_by_proposals(desk, conn):
                raise Refused(Reason.IN_PROGRESS, "another proposal took a coin")
        else:
            number = burnt.nonce
        _check_unused(desk, conn, used)
        asset = catalogue.asset_by_key(conn, desk.chain_id, intent.asset_key)
        native = catalogue.native_asset(conn, desk.chain_id)
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
                nonce=number,
                asset_no=(asset or native).asset_no,
                intent=intent,
                payload=built.payload,
                digest=built.digest,
                state=ProposalState.OPEN,
                reason=None,
                made_at_ns=desk.clock.now_ns(),
            ),
        )

    return desk.db.run(apply)


def _check_unused(desk: CoinDesk, conn: sa.Connection, outpoints: set[str]) -> None:
    for outpoint in sorted(outpoints):
        found = inventory.get(conn, desk.chain_id, outpoint)
        if found is None or found.used_height is not None:
            raise Refused(Reason.IN_PROGRESS, f"{outpoint} is not there any more")
