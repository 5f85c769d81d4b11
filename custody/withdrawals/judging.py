"""What the policy says of a payment: gather -> decide -> keep, at its request and at its release.

Everything is read in the transaction that carries the decision out, and every decision is stored
with what it was given. What only the network can say (what stands at a destination, what a
screening provider answers) was asked before and is handed in or read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from chains.base import Standing
from core.errors import Corrupt, Reason, Refused
from core.ids import CustomerNo, WithdrawalId
from custody import catalogue, chain_state, policies, prices, stops, velocity
from custody.catalogue import Asset
from custody.policy.decide import charges_of
from custody.policy.decision import Decision, Outcome
from custody.policy.record import (
    Moment,
    Record,
    decision_hash,
    decode_record,
    encode_record,
    recorded,
)
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Finding,
    Movement,
    PolicyRequest,
    Verdict,
)
from custody.policy.rules import Policy
from custody.policy.scope import price_state, usd_value
from custody.screening import judging as screening
from custody.screening.judging import Subject
from custody.wallets import addresses
from custody.withdrawals import addressbook, book_rows, decisions, security
from custody.withdrawals.book_rows import EntryState
from custody.withdrawals.decisions import Stored
from custody.withdrawals.states import INSIDE, Withdrawal
from custody.withdrawals.terms import WithdrawalTerms

WITHDRAWAL = "withdrawal"
PLATFORM = "platform"
_UNDECIDED = frozenset({Outcome.WAIT, Outcome.REQUIRE})
LASTING_NS = 600 * 10**9
"""An own transfer that is blocked for longer is an incident."""
BLOCKED_INCIDENT = "own_transfer_blocked"
NO_RULE = "no_rule"
"""The policy's own code of a request that no rule matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment that somebody asks for, before anything is decided. amount in minor units."""

    cause_id: str
    kind: str
    initiator: str
    roles: frozenset[str]
    customer_no: CustomerNo | None
    asset: Asset
    address: str
    amount: int
    wallet: str
    """Account that pays, unless it is settled inside."""
    standing: Standing | None = None
    """What the node found at the address; None when it was not asked."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision, and the record of everything that it was made of."""

    policy: Policy
    record: Record

    @property
    def decision(self) -> Decision:
        """Return what was decided."""
        return self.record.decision

    @property
    def hash(self) -> bytes:
        """Return the hash that the intent carries."""
        return decision_hash(self.record)


def at_request(
    conn: sa.Connection, payment: Payment, *, terms: WithdrawalTerms | None, now_ns: int
) -> Judged:
    """Decide about a new payment by the policy in force. Writes nothing but what screening opens.

    Refused: unknown_policy.
    """
    policy = _in_force(conn, now_ns)
    request, facts = _gather(conn, policy, payment, terms, now_ns, Moment.REQUEST)
    return Judged(policy, recorded(policy, request, facts))


def at_first_wallet(
    conn: sa.Connection, payment: Payment, *, terms: WithdrawalTerms | None, now_ns: int
) -> Judged:
    """Decide about a new payment as at_request, by the first wallet that a rule lets pay it.

    The hot wallet comes first; wallets of several owners only where no rule matched before.
    """
    judged = first = at_request(conn, payment, terms=terms, now_ns=now_ns)
    for wallet in addresses.contract_wallets(conn, payment.asset.chain):
        if judged.decision.code != NO_RULE:
            return judged
        other = replace(payment, wallet=wallet)
        judged = at_request(conn, other, terms=terms, now_ns=now_ns)
    return first if judged.decision.code == NO_RULE else judged


def at_release(
    conn: sa.Connection, row: Withdrawal, *, terms: WithdrawalTerms, now_ns: int
) -> Judged:
    """Decide whether an approved withdrawal may be signed now: all but the rule again.

    With the policy of its request, the newest denies and the newest price. Refused: unknown_policy.
    """
    taken = taken_of(conn, row.withdrawal_id)
    policy, newest = (
        policies.get(conn, taken.policy_hash),
        policies.in_force(conn, now_ns, since=decisions.last_policy(conn)),
    )
    was_contract = taken.request.destination.kind is DestinationKind.CONTRACT
    payment = Payment(
        cause_id=row.withdrawal_id,
        kind=taken.request.kind,
        initiator=row.initiator,
        roles=taken.request.roles,
        customer_no=row.customer_no,
        asset=catalogue.asset(conn, row.asset_no),
        address=row.destination,
        amount=row.amount,
        wallet=row.wallet,
        standing=Standing.CONTRACT if was_contract else None,
    )
    request, facts = _gather(conn, policy, payment, terms, now_ns, Moment.RELEASE)
    if (gone := _entry_gone(conn, row.customer_no, taken.request.destination)) is not None:
        facts = replace(facts, destination=(*facts.destination, gone))
    found = recorded(policy, request, facts, newest=newest, taken=taken.decision)
    return Judged(policy, found)


def _in_force(conn: sa.Connection, now_ns: int) -> Policy:
    """Return the policy of now: never an older one than the last decision was taken by."""
    return policies.in_force(conn, now_ns, since=decisions.last_policy(conn))


def _entry_gone(
    conn: sa.Connection, customer_no: CustomerNo, destination: Destination
) -> Finding | None:
    """Return a block when the entry that a payment was decided by was removed since.

    Whether the book is obligatory does not matter: its rule may have asked for less because of it.
    """
    if destination.entry is None:
        return None
    if book_rows.get(conn, customer_no, destination.entry).state is EntryState.CONFIRMED:
        return None
    detail = f"{destination.entry} was removed"
    return Finding(Verdict.BLOCK, Reason.NOT_IN_ADDRESS_BOOK.value, detail)


def taken_of(conn: sa.Connection, withdrawal_id: WithdrawalId) -> Record:
    """Return what was decided when a withdrawal was asked for.

    Corrupt: nothing was, or the record is not what its hash says.
    """
    stored = decisions.last(conn, withdrawal_id, Moment.REQUEST)
    if stored is None:
        raise Corrupt(f"{withdrawal_id} was never decided about")
    try:
        record = decode_record(stored.record)
    except Refused as refused:
        raise Corrupt(f"the decision about {withdrawal_id} cannot be read") from refused
    if decision_hash(record) != stored.hash or record.policy_hash != stored.policy_hash:
        raise Corrupt(f"the decision about {withdrawal_id} was changed")
    return record


def keep(conn: sa.Connection, judged: Judged, cause_id: str) -> Stored:
    """Store a decision, unless the last one of this cause and moment said the same."""
    decision, moment = judged.decision, judged.record.moment
    before = decisions.last(conn, cause_id, moment)
    said = (decision.outcome.value, decision.code)
    if before is not None and (before.outcome, before.code) == said:
        return before
    if before is not None and decisions.is_full(conn, cause_id) and decision.outcome in _UNDECIDED:
        return before
    return decisions.put(
        conn,
        Stored(
            decision_no=0,
            cause_id=cause_id,
            moment=moment,
            policy_hash=judged.policy.hash,
            outcome=decision.outcome.value,
            code=decision.code,
            rule=decision.rule,
            record=encode_record(judged.record),
            hash=judged.hash,
            at_ns=judged.record.request.now_ns,
        ),
    )


def reserve(conn: sa.Connection, judged: Judged, owner: str) -> None:
    """Reserve what a decision takes of every bucket.

    The decision was taken in the same turn, so nothing can be exceeded. Corrupt: something is.
    """
    if not judged.decision.charges:
        return
    exceeded = velocity.reserve(
        conn, judged.decision.charges, owner=owner, now_ns=judged.record.request.now_ns
    )
    if exceeded:
        raise Corrupt(f"velocity changed under the decision about {owner}: {exceeded[0].key}")


def reprice(conn: sa.Connection, judged: Judged, owner: str) -> None:
    """Give what a payment reserved the amounts of its release. Corrupt: as reserve."""
    if not judged.decision.charges:
        return
    exceeded = velocity.reprice(
        conn, judged.decision.charges, owner=owner, now_ns=judged.record.request.now_ns
    )
    if exceeded:
        raise Corrupt(f"velocity changed under the release of {owner}: {exceeded[0].key}")


def own_transfer(conn: sa.Connection, payment: Payment, *, now_ns: int) -> str | None:
    """Decide about an own transfer and reserve what it takes; return why not, or None.

    Its outcome must be ALLOW: nobody approves a sweep. What is blocked is stored when the answer
    changes, and becomes an incident when it lasts. Refused: unknown_policy.
    """
    velocity.take_turn(conn)
    judged = at_request(conn, payment, terms=None, now_ns=now_ns)
    decision, chain = judged.decision, payment.asset.chain
    keep(conn, judged, payment.cause_id)
    (first,) = decisions.of(conn, payment.cause_id, limit=1)
    if decision.outcome is Outcome.ALLOW and not decision.code:
        reserve(conn, judged, payment.cause_id)
        if now_ns - first.at_ns >= LASTING_NS:
            chain_state.close_incidents(conn, chain, kind=BLOCKED_INCIDENT, now_ns=now_ns)
        return None
    why = decision.code or f"{decision.rule} asks for approvals"
    if now_ns - first.at_ns >= LASTING_NS:
        detail = f"{payment.kind} to {payment.address}: {why}"
        chain_state.open_incident(conn, chain, kind=BLOCKED_INCIDENT, detail=detail, now_ns=now_ns)
    return why


def reason_of(decision: Decision) -> str:
    """Return why a payment is blocked, for its customer: a reason of the API's closed list."""
    try:
        return Reason(decision.code).value
    except ValueError:
        return Reason.POLICY_BLOCKED.value


def _gather(
    conn: sa.Connection,
    policy: Policy,
    payment: Payment,
    terms: WithdrawalTerms | None,
    now_ns: int,
    moment: Moment,
) -> tuple[PolicyRequest, Facts]:
    asset, chain = payment.asset, payment.asset.chain
    request = PolicyRequest(
        request_id=payment.cause_id,
        kind=payment.kind,
        initiator=payment.initiator,
        roles=payment.roles,
        customer_no=payment.customer_no,
        chain=chain,
        asset_key=asset.spec.key,
        scale=asset.spec.scale,
        amount=payment.amount,
        price=prices.latest(conn, asset.asset_no),
        wallet=payment.wallet,
        destination=Destination(payment.address, DestinationKind.EXTERNAL),
        effects=(Movement(asset.spec.key, payment.address, payment.amount),),
        now_ns=now_ns,
    )
    is_fresh = price_state(request, policy.stale_after_ns) == "fresh"
    value_usd = usd_value(request) if is_fresh else None
    destination, against = addressbook.destination_of(
        conn,
        chain,
        payment.customer_no,
        payment.address,
        now_ns,
        value_usd=value_usd,
        standing=payment.standing,
        terms=None if terms is None else terms.book,
    )
    is_release = moment is Moment.RELEASE
    to_customer = destination.kind is DestinationKind.OWN_CUSTOMER and payment.kind == WITHDRAWAL
    is_inside = payment.wallet == INSIDE or (to_customer and not is_release)
    wallet = INSIDE if is_inside else payment.wallet
    request = replace(request, destination=destination, wallet=wallet)
    covered = stops.findings(
        conn,
        customer_no=payment.customer_no,
        chain=chain,
        asset_key=asset.spec.key,
        now_ns=now_ns,
    )
    covered += security.findings(conn, payment.customer_no, now_ns, at_release=is_release)
    charges = charges_of(policy, request)
    facts = Facts(
        stops=covered,
        screening=_screened(conn, payment, terms, value_usd, now_ns, moment, is_inside),
        destination=against,
        used=velocity.used(conn, charges, now_ns, but=payment.cause_id) if charges else {},
    )
    return request, facts


def _screened(
    conn: sa.Connection,
    payment: Payment,
    terms: WithdrawalTerms | None,
    value_usd: int | None,
    now_ns: int,
    moment: Moment,
    is_inside: bool,
) -> tuple[Finding, ...]:
    if payment.customer_no is None or terms is None:
        return ()
    subject = Subject(
        withdrawal_id=WithdrawalId(payment.cause_id),
        customer_no=payment.customer_no,
        chain=payment.asset.chain,
        asset_key=payment.asset.spec.key,
        address=payment.address,
        amount=payment.amount,
        value_usd=value_usd,
        inside=is_inside,
    )
    ask = screening.begin if moment is Moment.REQUEST else screening.findings
    return ask(conn, subject, terms=terms.screening, now_ns=now_ns)
