"""What happens to a withdrawal between its request and its end.

Each function is one transaction's worth.

The money is held in the engine before anybody approves, approvals bind the intent's hash, and the
hold is captured or released only by what finality proves or by an end that came before any
signature.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import ChainWriter, Standing
from core.errors import Reason, Refused
from core.ids import CustomerNo, WithdrawalId
from core.money import ENGINE_AMOUNT_LIMIT, require_int
from custody import audit_log, catalogue, chain_state, funding, velocity
from custody.funding import FundingKind
from custody.multisig import holds
from custody.policy.decision import Outcome
from custody.spending import batch_items
from custody.wallets import addresses
from custody.withdrawals import destinations, judging, states
from custody.withdrawals.composing import WithdrawalRequest, compose, payment_of
from custody.withdrawals.states import (
    RELEASING,
    Withdrawal,
    WithdrawalState,
    WithdrawalVerb,
)
from custody.withdrawals.terms import WithdrawalTerms

__all__ = ["WithdrawalRequest", "WithdrawalTerms"]
EXPIRE_BATCH_MAX = 100


@dataclass(frozen=True, slots=True)
class Paid:
    """What a confirmed withdrawal paid, from which wallet."""

    amount: int
    fee: int
    wallet: str


def request(
    conn: sa.Connection,
    asked: WithdrawalRequest,
    *,
    chain: ChainWriter,
    terms: WithdrawalTerms,
    now_ns: int,
    standing: Standing | None = None,
) -> Withdrawal:
    """Decide about a request, and ask the engine to hold amount + fee unless it is blocked.

    The same request again is returned, whatever became of it. A blocked one is a row in state
    REFUSED with its decision, and nothing is held. standing: what the node found at the
    destination. Refused, and then nothing is stored: exists_with_other_content, unknown_customer,
    unknown_asset, frozen, invalid_address, forbidden_destination, own_address, zero_amount,
    below_minimum, amount_out_of_range, unknown_policy.
    """
    velocity.take_turn(conn)
    asset = catalogue.asset(conn, asked.asset_no)
    destination = chain.parse_address(asked.destination)
    earlier = states.by_client_id(conn, asked.customer_no, asked.client_withdrawal_id)
    if earlier is not None:
        content = (earlier.asset_no, earlier.destination, earlier.amount)
        if content != (asked.asset_no, destination, asked.amount):
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, asked.client_withdrawal_id)
        return earlier
    _check_amount(asked.amount, asset)
    if catalogue.customer(conn, asked.customer_no).frozen:
        raise Refused(Reason.FROZEN, "customer")
    chain_state.refuse_if_frozen(conn, asset.chain)
    _refuse_destination(conn, asked.customer_no, asset, destination, standing)
    payment = payment_of(asked, asset, destination, standing)
    judged = judging.at_first_wallet(conn, payment, terms=terms, now_ns=now_ns)
    row = compose(conn, asked, judged, asset=asset, terms=terms)
    states.insert(conn, row)
    judging.keep(conn, judged, row.withdrawal_id)
    audit_log.record(
        conn, actor=asked.initiator, action="withdrawal.request", subject=row.withdrawal_id,
        detail={"intent": row.intent_hash.hex(), "outcome": judged.decision.outcome.value},
        at_ns=now_ns,
    )  # fmt: skip
    if judged.decision.outcome is Outcome.BLOCK:
        reason = judging.reason_of(judged.decision)
        return states.advance(conn, row, WithdrawalVerb.REFUSE, now_ns=now_ns, reason=reason)
    judging.reserve(conn, judged, row.withdrawal_id)
    destinations.note_used(conn, asset.chain, asked.customer_no, destination, now_ns)
    funding.put(
        conn,
        FundingKind.HOLD,
        customer_no=row.customer_no,
        asset_no=row.asset_no,
        amount=row.amount + row.fee,
        cause_id=row.withdrawal_id,
    )
    return row


def on_held(conn: sa.Connection, withdrawal_id: WithdrawalId, *, now_ns: int) -> None:
    """Called by settlement: the engine holds the money, officers may look.

    What its rule allows without officers is approved at once.
    """
    row = states.get(conn, withdrawal_id)
    held = states.advance(conn, row, WithdrawalVerb.HOLD, now_ns=now_ns)
    if judging.taken_of(conn, withdrawal_id).decision.outcome is Outcome.ALLOW:
        states.advance(conn, held, WithdrawalVerb.APPROVE, now_ns=now_ns, releasable_at_ns=now_ns)


def on_refused(
    conn: sa.Connection, withdrawal_id: WithdrawalId, *, reason: str, now_ns: int
) -> None:
    """Called by settlement: the engine refused the hold; nothing was taken."""
    row = states.get(conn, withdrawal_id)
    states.advance(conn, row, WithdrawalVerb.REFUSE, now_ns=now_ns, reason=reason)
    velocity.free(conn, withdrawal_id, now_ns)


def cancel(conn: sa.Connection, withdrawal_id: WithdrawalId, *, by: str, now_ns: int) -> Withdrawal:
    """Cancel before anything is planned; the race with planning has one winner.

    Refused: not_found, illegal_transition (too late).
    """
    velocity.take_turn(conn)  # before the counters that a request takes after it
    row = states.get(conn, withdrawal_id)
    if row.state is WithdrawalState.CANCELLED:
        return row
    done = states.advance(conn, row, WithdrawalVerb.CANCEL, now_ns=now_ns, reason=f"by {by}")
    release(conn, done, now_ns=now_ns)
    audit_log.record(
        conn, actor=by, action="withdrawal.cancel", subject=withdrawal_id, detail={}, at_ns=now_ns
    )
    return done


def reject(conn: sa.Connection, row: Withdrawal, *, by: str, now_ns: int) -> Withdrawal:
    """End a withdrawal that an officer rejected and give its money back.

    One rejection is enough.
    """
    done = states.advance(
        conn, row, WithdrawalVerb.REJECT, now_ns=now_ns, reason=f"rejected by {by}"
    )
    release(conn, done, now_ns=now_ns)
    return done


def expire(conn: sa.Connection, *, now_ns: int, limit: int = EXPIRE_BATCH_MAX) -> int:
    """End requests whose approvals came too late and give their money back; return how many."""
    waiting = (WithdrawalState.HELD, WithdrawalState.APPROVED)
    query = (
        sa.select(states.withdrawals.c.withdrawal_id)
        .where(
            states.withdrawals.c.state.in_([state.value for state in waiting]),
            states.withdrawals.c.expires_at_ns <= now_ns,
        )
        .order_by(states.withdrawals.c.request_no)
        .limit(limit)
    )
    ids = [WithdrawalId(found) for found in conn.execute(query).scalars()]
    if ids:
        velocity.take_turn(conn)
    for withdrawal_id in ids:
        row = states.get(conn, withdrawal_id)
        done = states.advance(conn, row, WithdrawalVerb.EXPIRE, now_ns=now_ns)
        release(conn, done, now_ns=now_ns)
        audit_log.record(
            conn, actor="platform", action="withdrawal.expire", subject=withdrawal_id,
            detail={"state": row.state.value}, at_ns=now_ns,
        )  # fmt: skip
    return len(ids)


def release(conn: sa.Connection, row: Withdrawal, *, now_ns: int) -> None:
    """Ask the engine to give a withdrawal's hold back, and free what it took of every limit.

    Refused: illegal_transition (it may still be paid).
    """
    if row.state not in RELEASING:
        raise Refused(Reason.ILLEGAL_TRANSITION, f"{row.withdrawal_id} is {row.state}")
    if holds.is_held_back(conn, row.withdrawal_id):
        return  # owners signed: when their wallet's nonce is used up, this is asked again
    _end_hold(conn, row, FundingKind.RELEASE)
    velocity.free(conn, row.withdrawal_id, now_ns)


def confirm(conn: sa.Connection, withdrawal_id: WithdrawalId, *, now_ns: int) -> None:
    """Called when the payment is final: the hold is captured."""
    row = states.get(conn, withdrawal_id)
    done = states.advance(conn, row, WithdrawalVerb.CONFIRM, now_ns=now_ns)
    _end_hold(conn, done, FundingKind.CAPTURE)


def fail(conn: sa.Connection, withdrawal_id: WithdrawalId, *, reason: str, now_ns: int) -> None:
    """Called when finality proves that the payment can never land: the hold is released."""
    row = states.get(conn, withdrawal_id)
    done = states.advance(conn, row, WithdrawalVerb.FAIL, now_ns=now_ns, reason=reason)
    release(conn, done, now_ns=now_ns)
    audit_log.record(
        conn, actor="platform", action="withdrawal.fail", subject=withdrawal_id,
        detail={"state": row.state.value, "reason": reason}, at_ns=now_ns,
    )  # fmt: skip


def refuse_if_stopped(conn: sa.Connection, row: Withdrawal) -> None:
    """Refused: frozen. The customer owes us, or a reversal that may end so is on its way (R04)."""
    if catalogue.customer(conn, row.customer_no).frozen:
        raise Refused(Reason.FROZEN, f"customer {row.customer_no}")
    if funding.is_taking_back(conn, row.customer_no):
        raise Refused(Reason.FROZEN, f"a deposit of customer {row.customer_no} is taken back")


def refuse_if_outdated(conn: sa.Connection, row: Withdrawal, *, now_ns: int) -> None:
    """Refused: approval_expired, own_address (issued to a customer after the request)."""
    if now_ns >= row.expires_at_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, row.withdrawal_id)
    if row.wallet == states.INSIDE:
        return
    if addresses.find(conn, row.chain, row.destination) is not None:
        raise Refused(Reason.OWN_ADDRESS, f"{row.destination} became ours after the request")


def paid_of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> Paid:
    """Return what settlement books when the hold is captured."""
    row = states.get(conn, withdrawal_id)
    if row.wallet == states.INSIDE:
        return Paid(row.amount, row.fee, states.INSIDE)
    spend = batch_items.spend_of(conn, withdrawal_id)
    if spend is None:
        raise Refused(Reason.NOT_FOUND, f"{withdrawal_id} has no spend")
    return Paid(row.amount, row.fee, spend.payer)


def _check_amount(amount: int, asset: catalogue.Asset) -> None:
    require_int(amount)
    if amount == 0:
        raise Refused(Reason.ZERO_AMOUNT)
    if amount + asset.spec.withdrawal_fee >= ENGINE_AMOUNT_LIMIT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "amounts in the engine are below 2^96")
    if amount < asset.spec.withdrawal_minimum:
        raise Refused(Reason.BELOW_MINIMUM, str(asset.spec.withdrawal_minimum))


def _refuse_destination(
    conn: sa.Connection,
    customer_no: CustomerNo,
    asset: catalogue.Asset,
    destination: str,
    standing: Standing | None,
) -> None:
    """Refuse what money may never go to, before anything is stored."""
    _, found = destinations.judge(conn, asset.chain, customer_no, destination, standing=standing)
    for finding in found:
        raise Refused(Reason(finding.code), finding.detail)


def _end_hold(conn: sa.Connection, row: Withdrawal, kind: FundingKind) -> None:
    funding.put(
        conn,
        kind,
        customer_no=row.customer_no,
        asset_no=row.asset_no,
        amount=row.amount + row.fee,
        cause_id=row.withdrawal_id,
    )
