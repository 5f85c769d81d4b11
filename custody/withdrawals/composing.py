"""From a request and its decision to the row, and to the intent whose hash officers sign."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import Standing
from core.ids import AssetNo, CustomerNo, WithdrawalId, derived_id
from custody import chain_state
from custody.catalogue import Asset
from custody.keys import intent as intents
from custody.keys.intent import WithdrawalIntent
from custody.wallets.inventory import HOT
from custody.withdrawals import states
from custody.withdrawals.judging import WITHDRAWAL, Judged, Payment
from custody.withdrawals.states import INSIDE, Withdrawal, WithdrawalState
from custody.withdrawals.terms import WithdrawalTerms

NO_RULE = "none"
"""What the intent of a request names that no rule matched; nobody ever signs it."""
CUSTOMER = frozenset({"customer"})


@dataclass(frozen=True, slots=True)
class WithdrawalRequest:
    """What a customer asks for. client_withdrawal_id is the idempotency key, valid for ever."""

    client_withdrawal_id: str
    customer_no: CustomerNo
    initiator: str
    asset_no: AssetNo
    destination: str
    amount: int
    roles: frozenset[str] = CUSTOMER
    """Of the initiator."""


def withdrawal_id_of(asked: WithdrawalRequest) -> WithdrawalId:
    """Return the id, which follows from whose request it is and his own id for it.

    So a retry cannot make a second one.
    """
    return WithdrawalId(derived_id("wd", asked.customer_no, asked.client_withdrawal_id))


def payment_of(
    asked: WithdrawalRequest, asset: Asset, destination: str, standing: Standing | None
) -> Payment:
    """Return a request as the policy is asked about it. destination: canonical text."""
    return Payment(
        cause_id=withdrawal_id_of(asked),
        kind=WITHDRAWAL,
        initiator=asked.initiator,
        roles=asked.roles,
        customer_no=asked.customer_no,
        asset=asset,
        address=destination,
        amount=asked.amount,
        wallet=HOT,
        standing=standing,
    )


def compose(
    conn: sa.Connection,
    asked: WithdrawalRequest,
    judged: Judged,
    *,
    asset: Asset,
    terms: WithdrawalTerms,
) -> Withdrawal:
    """Return the new row of a request with its intent, as the decision says.

    The shorter of the rule's expiry and the operators' counts; what is signed before the rule's
    delay is over, counted from the request, the signer refuses.
    """
    request, decision = judged.record.request, judged.decision
    required = decision.requirement
    now_ns, address = request.now_ns, request.destination.address
    is_inside = request.wallet == INSIDE
    fee = 0 if is_inside and terms.inside_is_free else asset.spec.withdrawal_fee
    expiry_ns = terms.expiry_ns if required is None else min(terms.expiry_ns, required.expiry_ns)
    intent = WithdrawalIntent(
        withdrawal_id=request.request_id,
        customer_no=asked.customer_no,
        initiator=asked.initiator,
        chain=asset.chain,
        network=chain_state.state(conn, asset.chain).network,
        asset_key=asset.spec.key,
        destination=address,
        amount=asked.amount,
        fee_minor=fee,
        network_fee_max=0 if is_inside else terms.network_fee_max,
        policy_version=judged.policy.serial,
        expires_ns=now_ns + expiry_ns,
        rule=decision.rule or NO_RULE,
        wallet=request.wallet,
        policy_hash=judged.policy.hash.hex(),
        decision_hash=judged.hash.hex(),
        excluded=() if required is None else required.exclude,
        not_before_ns=now_ns + (0 if required is None else required.delay_ns),
    )
    return Withdrawal(
        withdrawal_id=WithdrawalId(request.request_id),
        request_no=states.next_request_no(conn),
        client_withdrawal_id=asked.client_withdrawal_id,
        customer_no=asked.customer_no,
        initiator=asked.initiator,
        chain=asset.chain,
        asset_no=asset.asset_no,
        destination=address,
        amount=asked.amount,
        fee=fee,
        intent=intents.encode(intent),
        intent_hash=intents.intent_hash(intent),
        wallet=request.wallet,
        expires_at_ns=intent.expires_ns,
        releasable_at_ns=None,
        state=WithdrawalState.REQUESTED,
        reason=None,
        requested_at_ns=now_ns,
    )
