"""Owners' signatures: what each of them is asked to sign, and what is taken from them.

A signature is evidence, not authority: it is checked against the wallet's owners on the chain and
in the roster when it comes, when it is joined with the others, and by the guard once more.
"""

from __future__ import annotations

import sqlalchemy as sa

from chains.base import SpendKind
from chains.multisig import SigningRequest
from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody import audit_log
from custody.multisig import rows
from custody.multisig.coin_desk import CoinDesk
from custody.multisig.propose import Desk
from custody.multisig.rows import Cosignature, Proposal, ProposalState
from custody.withdrawals import states
from custody.withdrawals.states import WithdrawalState

AnyDesk = Desk | CoinDesk


def request_of(desk: Desk, row: Proposal, owner: str) -> SigningRequest:
    """Return what one owner signs."""
    (request,) = desk.wallets.requests(row.unsigned, [owner])
    return request


def add(desk: AnyDesk, proposal_id: str, signature: bytes, *, owner: str, person: str) -> Proposal:
    """Take one owner's signature; the same again is quiet.

    `person` is who hands it in, and `owner` his key by the roster. Refused: not_found, not_an_owner
    (on the chain at a final block, or in the roster), bad_signature, illegal_transition (no longer
    to be signed), approval_expired, already_approved (another signature of the same owner).
    """
    with desk.db.read() as conn:
        row = rows.get(conn, proposal_id)
    if (row.chain, row.address) != (desk.chain_id, desk.row.address):
        raise Refused(Reason.NOT_FOUND, f"{proposal_id} of {desk.row.wallet}")
    signer = desk.owner_of(row, signature)
    if signer != owner:
        raise Refused(Reason.BAD_SIGNATURE, f"{signer} signed, not {owner}")
    if signer not in desk.state().owners:
        raise Refused(Reason.NOT_AN_OWNER, f"{signer} does not own {row.wallet}")
    if row.kind is not SpendKind.OWNERS and signer not in desk.owners:
        raise Refused(Reason.NOT_AN_OWNER, f"{signer} is not in the roster")

    def apply(conn: sa.Connection) -> Proposal:
        now = rows.get(conn, proposal_id)
        known = [one for one in rows.signatures(conn, proposal_id) if one.owner == signer]
        if known:
            if known[0].signature != signature:
                raise Refused(Reason.ALREADY_APPROVED, signer)
            return now
        _check_open(conn, now, now_ns=desk.clock.now_ns())
        at_ns = desk.clock.now_ns()
        rows.add_signature(conn, Cosignature(proposal_id, signer, person, signature, at_ns))
        audit_log.record(
            conn, actor=person, action="wallet.cosign", subject=proposal_id,
            detail={"owner": signer, "digest": now.digest.hex()}, at_ns=at_ns,
        )  # fmt: skip
        return now

    return desk.db.run(apply)


def hand_in(desk: CoinDesk, proposal_id: str, returned: bytes, *, person: str) -> list[str]:
    """Take every owner's signature in a payload that came back; return whose are in it.

    Owners who signed before stay with what they gave then. Refused: not_found, and as
    CoinWallet.take and add.
    """
    with desk.db.read() as conn:
        row = rows.get(conn, proposal_id)
        known = {one.owner for one in rows.signatures(conn, proposal_id)}
    if (row.chain, row.address) != (desk.chain_id, desk.row.address):
        raise Refused(Reason.NOT_FOUND, f"{proposal_id} of {desk.row.wallet}")
    found = desk.wallet.take(row.unsigned, returned)
    for owner, signature in found:
        if owner not in known:
            add(desk, proposal_id, signature, owner=owner, person=person)
    return [owner for owner, _ in found]


def payload_of(desk: CoinDesk, row: Proposal) -> bytes:
    """Return what the next owner's device is shown, with the signatures that are there."""
    with desk.db.read() as conn:
        given = [one.signature for one in rows.signatures(conn, row.proposal_id)]
    return desk.wallet.joined(row.unsigned, given)


def count(desk: AnyDesk, row: Proposal) -> int:
    """Return how many owners have signed."""
    with desk.db.read() as conn:
        return len(rows.signatures(conn, row.proposal_id))


def waiting_for(desk: AnyDesk, owner: str) -> list[Proposal]:
    """Return what an owner may sign now and has not, oldest first."""
    found = []
    with desk.db.read() as conn:
        for row in rows.in_state(conn, desk.chain_id, ProposalState.OPEN):
            if row.address != desk.row.address:
                continue
            try:
                _check_open(conn, row, now_ns=desk.clock.now_ns())
            except Refused:
                continue
            if owner not in {one.owner for one in rows.signatures(conn, row.proposal_id)}:
                found.append(row)
    return found


def _check_open(conn: sa.Connection, row: Proposal, *, now_ns: int) -> None:
    """Refused: illegal_transition, approval_expired."""
    if row.state is not ProposalState.OPEN:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.proposal_id} is {row.state}")
    if row.kind is not SpendKind.WITHDRAWAL:
        return
    withdrawal = states.get(conn, WithdrawalId(row.cause_id))
    if withdrawal.state is not WithdrawalState.APPROVED:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.cause_id} is {withdrawal.state}")
    if now_ns >= withdrawal.expires_at_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, row.cause_id)
