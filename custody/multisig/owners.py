"""Who may sign for a wallet changes: what is to be approved, and an approved change as a proposal.

The officers publish a roster whose row names the owners to be. What the chain says then differs,
and the difference is a series of changes: replace, add, remove, threshold. Each is a request of its
own that the roster's quorum approves and the present owners sign, and the next one is asked for
when it is final; until the chain says what the row says, the wallet pays nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from chains.base import Effect, SpendIntent, SpendKind
from chains.multisig import OWNERS, WalletState
from core.errors import Reason, Refused
from core.ids import derived_id
from custody import audit_log
from custody.keys.intent import NO_POLICY, OWNERS_RULE, WithdrawalIntent
from custody.keys.roster import Approval, ContractWallet, Roster, verify_approvals
from custody.multisig import propose
from custody.multisig.propose import Desk
from custody.multisig.rows import Proposal
from custody.spending import rotations

POLICY_VERSION = 1


def plan_changes(row: ContractWallet, owners: Collection[str], state: WalletState) -> list[Effect]:
    """Return the changes that lead from what the chain says to what the roster says, in order."""
    gone = [one for one in state.owners if one not in owners]
    new = sorted(set(owners) - set(state.owners))
    swapped = min(len(gone), len(new))
    changes = [
        Effect(f"{OWNERS}-{old}", other, 0)
        for old, other in zip(gone[:swapped], new[:swapped], strict=True)
    ]
    threshold = state.threshold
    rest = len(state.owners)
    for other in new[swapped:]:
        rest += 1
        if threshold < row.threshold:
            threshold += 1
        changes.append(Effect(OWNERS, other, threshold))
    for old in gone[swapped:]:
        rest -= 1
        threshold = row.threshold if row.threshold < threshold else min(threshold, rest)
        changes.append(Effect(f"{OWNERS}-{old}", row.address, threshold))
    if threshold != row.threshold:
        changes.append(Effect(OWNERS, row.address, row.threshold))
    return changes


def ask(
    desk: Desk, *, change_id: str, initiator: str, fee_max: int, expires_ns: int
) -> WithdrawalIntent:
    """Return what officers are to approve next. Refused: zero_amount (the chain agrees already)."""
    state = desk.state()
    changes = plan_changes(desk.row, desk.owners, state)
    if not changes:
        raise Refused(Reason.ZERO_AMOUNT, f"owners of {desk.row.wallet} are those of the roster")
    return WithdrawalIntent(
        withdrawal_id=change_id,
        customer_no=0,
        initiator=initiator,
        chain=desk.chain_id,
        network=desk.chain.traits.network,
        asset_key=changes[0].asset_key,
        destination=changes[0].destination,
        amount=changes[0].amount,
        fee_minor=0,
        network_fee_max=fee_max,
        policy_version=POLICY_VERSION,
        expires_ns=expires_ns,
        rule=OWNERS_RULE,
        wallet=desk.row.wallet,
        policy_hash=NO_POLICY,
        decision_hash=NO_POLICY,
        excluded=(),
        not_before_ns=0,
    )


def carry_out(
    desk: Desk, intent: WithdrawalIntent, approvals: Sequence[Approval], *, roster: Roster
) -> Proposal:
    """Propose one approved change; from here on its owners sign it like a payment.

    The same change again gives the same proposal. Refused: intent_mismatch (no change of this
    wallet's owners), owner_change, and as verify_approvals.
    """
    now_ns = desk.clock.now_ns()
    verify_approvals(roster, intent, approvals, now_ns=now_ns)
    if intent.rule != OWNERS_RULE or intent.wallet != desk.row.wallet:
        raise Refused(Reason.INTENT_MISMATCH, f"no change of owners of {desk.row.wallet}")
    spend = spend_of(intent, address=desk.row.address)

    def note(conn: sa.Connection) -> None:
        rotations.keep(conn, intent, approvals, account=desk.row.wallet, now_ns=now_ns)
        audit_log.record(
            conn, actor=intent.initiator, action="wallet.owners_approved",
            subject=intent.withdrawal_id,
            detail={"wallet": desk.row.wallet, "change": intent.asset_key,
                    "to": intent.destination, "threshold": str(intent.amount)},
            at_ns=now_ns,
        )  # fmt: skip

    return propose.owners_change(desk, spend, note)


def spend_of(intent: WithdrawalIntent, *, address: str) -> SpendIntent:
    """Return the one spend that carries out an approved change."""
    return SpendIntent(
        spend_id=derived_id("spend", intent.withdrawal_id),
        kind=SpendKind.OWNERS,
        cause_id=intent.withdrawal_id,
        chain=intent.chain,
        network=intent.network,
        asset_key=intent.asset_key,
        source=address,
        destination=intent.destination,
        amount=intent.amount,
        fee_max=intent.network_fee_max,
    )
