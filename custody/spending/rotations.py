"""A wallet moves to new keys: what is to be approved, and an approved move as one more spend.

The roster has retired the old keys (custody.keys.rotation). What they hold is read from the chain,
officers approve one intent per asset with their own keys, and the move goes the only way out. In
the books it is a transfer from the retired account to the present one; liabilities are untouched.
Whatever arrives at the old address later is credited as before and can be moved again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from chains.base import Chain
from core.clock import Clock
from core.errors import Corrupt, Reason, Refused
from custody import audit_log, catalogue
from custody.db import Bytes, Database, Int64, Text, append_only, table
from custody.keys import intent as intents
from custody.keys.authority import Approvals
from custody.keys.intent import WithdrawalIntent
from custody.keys.roster import Approval, Roster, Verdict, verify_approvals
from custody.keys.rotation import Move, plan_rotation, present_key, spend_of
from custody.keys.signers.base import KeyRef, wallet_of
from custody.spending import means, plan, rows
from custody.spending.means import NOTHING
from custody.spending.rows import Spend
from custody.wallets import addresses
from custody.wallets.addresses import Address

POLICY_VERSION = 1

rotations = table(
    "rotations",
    sa.Column("rotation_id", Text, primary_key=True),
    sa.Column("chain", Text, sa.ForeignKey("chain_states.chain"), nullable=False),
    sa.Column("account", Text, nullable=False),
    sa.Column("intent", Bytes, nullable=False),
    sa.Column("approvals", Text, nullable=False),
    sa.Column("at_ns", Int64, nullable=False),
)
append_only(rotations)


def ask(
    db: Database,
    chain: Chain,
    account: str,
    *,
    roster: Roster,
    rotation_id: str,
    initiator: str,
    fee_max: int,
    expires_ns: int,
) -> list[WithdrawalIntent]:
    """Return what officers are to approve so that a retired account is emptied.

    fee_max: most native units that one of the transactions may cost. Refused: not_found (no such
    account, or the present keys are not registered), intent_mismatch (its keys are present ones),
    zero_amount, exceeds_available. Unavailable: the node does not answer.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        old, new = _from_and_to(conn, chain, account, roster)
        listed = [one.spec for one in catalogue.all_assets(conn) if one.spec.chain == chain_id]
    head = chain.head()
    return plan_rotation(
        Move(
            rotation_id=rotation_id,
            initiator=initiator,
            chain=chain_id,
            network=chain.traits.network,
            wallet=wallet_of(account),
            destination=new.address,
            balances={spec.key: chain.balance_of(old.address, spec.key, head) for spec in listed},
            fee_max=fee_max,
            policy_version=POLICY_VERSION,
            expires_ns=expires_ns,
        )
    )


def carry_out(
    db: Database,
    chain: Chain,
    account: str,
    intent: WithdrawalIntent,
    approvals: Sequence[Approval],
    *,
    roster: Roster,
    clock: Clock,
) -> Spend:
    """Plan one approved move; from here on the worker signs, sends and books it.

    The same move again gives the same spend. Refused: as ask and verify_approvals,
    forbidden_destination, exists_with_other_content, frozen, in_progress (another spend took a coin
    meanwhile), exceeds_available (the free coins do not pay for it). Unavailable: no_ticket_free.
    """
    verify_approvals(roster, intent, approvals, now_ns=clock.now_ns())
    with db.read() as conn:
        old, new = _from_and_to(conn, chain, account, roster)
        asset = catalogue.asset_by_key(conn, chain.traits.chain, intent.asset_key)
    if intent.destination != new.address:
        raise Refused(Reason.FORBIDDEN_DESTINATION, "not the present keys of the wallet")
    if asset is None:
        raise Refused(Reason.UNKNOWN_ASSET, intent.asset_key)
    what = spend_of(intent, source=old.address)
    plan.open_lane(db, chain, old.address)
    with db.read() as conn:
        is_new = rows.find_by_cause(conn, intent.withdrawal_id, what.kind) is None
    taken = means.choose(db, chain, what, rate=chain.fee_rate()) if is_new else NOTHING

    def apply(conn: sa.Connection) -> Spend:
        now_ns = clock.now_ns()
        known = rows.find_by_cause(conn, intent.withdrawal_id, what.kind)
        if known is not None:
            if known.intent != what:
                raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, intent.withdrawal_id)
            return known
        keep(conn, intent, approvals, account=account, now_ns=now_ns)
        audit_log.record(
            conn, actor=intent.initiator, action="wallet.rotate", subject=intent.withdrawal_id,
            detail={
                "from": f"{account} {old.address}", "to": f"{new.account} {new.address}",
                "asset": intent.asset_key, "amount": str(intent.amount),
            },
            at_ns=now_ns,
        )  # fmt: skip
        return plan.reserve(
            conn, what, source=old, asset_no=asset.asset_no, destination_account=new.account,
            now_ns=now_ns, claims=taken,
        )  # fmt: skip

    return db.run(apply)


def keep(
    conn: sa.Connection,
    intent: WithdrawalIntent,
    approvals: Sequence[Approval],
    *,
    account: str,
    now_ns: int,
) -> None:
    """Store what officers approved about a wallet's keys or owners, for ever."""
    conn.execute(
        rotations.insert().values(
            rotation_id=intent.withdrawal_id,
            chain=intent.chain,
            account=account,
            intent=intents.encode(intent),
            approvals=_dump(approvals),
            at_ns=now_ns,
        )
    )


def authority_of(conn: sa.Connection, rotation_id: str) -> Approvals:
    """Return by what right a move is signed; the guard verifies all of it again."""
    row = conn.execute(
        sa.select(rotations).where(rotations.c.rotation_id == rotation_id)
    ).one_or_none()
    if row is None:
        raise Corrupt(f"nobody approved {rotation_id}")
    intent = intents.decode(row.intent)
    if not isinstance(intent, WithdrawalIntent):
        raise Corrupt(f"{rotation_id} holds another intent")
    return Approvals(intent, _load(row.approvals))


def _from_and_to(
    conn: sa.Connection, chain: Chain, account: str, roster: Roster
) -> tuple[Address, Address]:
    chain_id = chain.traits.chain
    here = KeyRef(account, 0)
    there = present_key(roster, chain_id, here)
    if here == there:
        raise Refused(Reason.INTENT_MISMATCH, f"{account} has the wallet's present keys")
    known = {row.account: row for row in addresses.own_wallets(conn, chain_id, wallet_of(account))}
    if not {here.account, there.account} <= set(known):
        raise Refused(Reason.NOT_FOUND, f"{chain_id} {here.account} or {there.account}")
    return known[here.account], known[there.account]


def _dump(approvals: Sequence[Approval]) -> str:
    return json.dumps(
        [
            [one.public_key.hex(), one.verdict.value, one.signature.hex(), one.evidence.hex()]
            for one in approvals
        ]
    )


def _load(text: str) -> tuple[Approval, ...]:
    return tuple(
        Approval(
            bytes.fromhex(key), Verdict(verdict), bytes.fromhex(signature), bytes.fromhex(evidence)
        )
        for key, verdict, signature, evidence in json.loads(text)
    )
