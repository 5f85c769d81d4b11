"""The steps that move spends.

Sign what is planned, send what is signed, resend and bump what waits, settle.

Every step looks at each spend in flight once, and one poisoned spend never stops the others (P04).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BroadcastOutcome, Chain, SpendKind
from core.clock import SECOND_NS, Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from custody import chain_state, stops
from custody.db import Database
from custody.keys.service import SignerAway
from custody.spending import broadcast, means, outcome, rows, sign
from custody.spending.rows import Attempt, Spend, SpendState
from custody.spending.sign import Release

BATCH_MAX = 50
"""Spends of one kind looked at in one step."""
_FATAL = frozenset(
    {
        Reason.QUORUM_NOT_MET,
        Reason.APPROVAL_EXPIRED,
        Reason.REJECTED_BY_OFFICER,
        Reason.NOT_AN_OFFICER,
        Reason.NOT_AN_OWNER,
        Reason.INTENT_MISMATCH,
        Reason.WRONG_NETWORK,
        Reason.MISSING_NETWORK,
        Reason.DELEGATE_CALL,
        Reason.APPROVAL_CALL,
        Reason.OWNER_CHANGE,
        Reason.UNKNOWN_CALL,
        Reason.FOREIGN_DELEGATE,
        Reason.FOREIGN_INPUT,
        Reason.FOREIGN_CHANGE,
        Reason.SIGNATURE_SCOPE,
        Reason.EXTRA_EFFECT,
        Reason.BAD_SIGNATURE,
        Reason.INITIATOR_CANNOT_APPROVE,
        Reason.ALREADY_APPROVED,
        Reason.POLICY_BLOCKED,
    }
)
"""Refusals of the guard that time cannot heal.

A withdrawal is abandoned and its nonce spent on ourselves. An own transfer waits: mandates are
renewed and their windows open again, and planning it anew would cost a cancellation every time.
"""
_LATE = frozenset(
    {
        Reason.FEE_ABOVE_CAP,
        Reason.FORBIDDEN_DESTINATION,
        Reason.INVALID_ADDRESS,
        Reason.SIGNER_LIMIT,
        Reason.PAUSED,
        Reason.TOO_LARGE,
    }
)
"""Refusals that may heal, but not for as long as a lane waits.

Paused among them is a customer or an asset: of a chain or the whole platform nothing is asked.
"""
_STOPPED = frozenset({Reason.FROZEN, Reason.STALE_SIGNER, Reason.SIGNER_CLOCK})
"""Refusals that stop everything alike: they say nothing about one batch."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: before sending the same bytes again, paying more, and giving up.

    Own transfers are given up: what a sweep planned at yesterday's fees would else keep its address
    busy for as long as fees stay above its cap. So is a withdrawal that could not be signed for
    long: later ones wait for its nonce, and its destination may be what refuses it.
    """

    resend_after_ns: int = 15 * SECOND_NS
    bump_after_ns: int = 120 * SECOND_NS
    give_up_after_ns: int = 3_600 * SECOND_NS
    sign_within_ns: int = 300 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Problem:
    """One spend that could not be moved now, and why."""

    spend_id: str
    why: str


Note = Callable[[Problem], None]


def step(
    db: Database,
    chain: Chain,
    *,
    release: Release,
    clock: Clock,
    note: Note,
    patience: Patience | None = None,
) -> int:
    """Move every spend of a chain one stage where it can be moved; return how many moved."""
    chain_id = chain.traits.chain
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
        if stops.is_halted(conn, chain_id, clock.now_ns()):
            return 0
    wait = patience or Patience()
    stages: list[tuple[SpendState, Callable[[Spend], bool]]] = [
        (SpendState.PLANNED, lambda spend: _sign(db, chain, spend, release, clock, wait)),
        (SpendState.SIGNED, lambda spend: _send_last(db, chain, spend, clock, note)),
        (SpendState.BROADCAST, lambda spend: _nudge(db, chain, spend, release, clock, wait, note)),
    ]
    moved = 0
    for state, move in stages:
        for spend in _each(db, chain_id, state):
            moved += _guarded(spend, note, move)
    return moved


def settle_step(db: Database, chain: Chain, *, clock: Clock, note: Note) -> int:
    """Book every spend whose end is final; return how many ended."""
    chain_id = chain.traits.chain
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
        final = chain_state.state(conn, chain_id).final
    if final is None:
        return 0

    def settle(spend: Spend) -> bool:
        done = outcome.settle(db, chain, spend, final=final, now_ns=clock.now_ns())
        return done.ending is not outcome.Ending.WAIT

    waiting = _each(db, chain_id, SpendState.BROADCAST)
    return sum(_guarded(spend, note, settle) for spend in waiting)


def _each(db: Database, chain_id: ChainId, state: SpendState) -> Iterator[Spend]:
    """Yield every spend in a state, payments to customers first.

    All of them, or those that wait for cheaper days would hide what can be moved (P04).
    """
    with db.read() as conn:
        spend_ids = rows.ids_in_state(conn, chain_id, state)
    for start in range(0, len(spend_ids), BATCH_MAX):
        with db.read() as conn:
            some = [rows.get(conn, found) for found in spend_ids[start : start + BATCH_MAX]]
        yield from (spend for spend in some if spend.state is state)


def _guarded(spend: Spend, note: Note, move: Callable[[Spend], bool]) -> int:
    try:
        return int(move(spend))
    except (Refused, Unavailable) as error:
        note(Problem(spend.spend_id, str(error)))
        return 0


def _sign(
    db: Database, chain: Chain, spend: Spend, release: Release, clock: Clock, wait: Patience
) -> bool:
    has_no_lane = spend.abandoned and not means.counts_nonces(chain.traits)
    if has_no_lane and outcome.end_unsigned(db, spend, now_ns=clock.now_ns()):
        return True
    try:
        sign.sign(db, chain, spend, release=release, now_ns=clock.now_ns())
    except (Refused, Unavailable) as error:
        waited_ns = clock.now_ns() - spend.planned_at_ns
        is_late = waited_ns >= wait.give_up_after_ns
        has_lost = is_late and means.has_lost_coins(db, chain.traits, spend)
        if not spend.abandoned and (has_lost or _is_hopeless(chain, spend, error, waited_ns, wait)):
            reason = error.reason.value if isinstance(error, Refused) else "waited_too_long"
            db.run(lambda conn: rows.abandon(conn, spend, reason))
        raise
    return True


def _is_hopeless(
    chain: Chain, spend: Spend, error: Refused | Unavailable, waited_ns: int, wait: Patience
) -> bool:
    """Return whether a spend that could not be signed must make way for others."""
    if isinstance(error, SignerAway):
        return False  # it says nothing about this spend, and all others wait for the same
    is_own = spend.kind not in rows.TO_CUSTOMERS
    # Where no lane waits, giving up what was never drafted costs nothing and frees its coins (P04).
    is_free = is_own and not means.counts_nonces(chain.traits)
    if isinstance(error, Refused) and error.reason in _FATAL and not is_free:
        return not is_own
    if waited_ns < (wait.give_up_after_ns if is_own else wait.sign_within_ns):
        return False
    if isinstance(error, Refused):
        # What a batch pays is paid one by one once the batch has made way.
        is_batch = spend.kind is SpendKind.BATCH
        is_loose = is_batch or is_free
        return error.reason in _LATE or (is_loose and error.reason not in _STOPPED)
    # Is it the node that does not answer, or this spend that cannot be carried out?
    chain.fee_units(sign.cancellation_of(spend, fee_max=0))
    return True


def _send_last(db: Database, chain: Chain, spend: Spend, clock: Clock, note: Note) -> bool:
    with db.read() as conn:
        attempt = rows.attempts(conn, spend.spend_id)[-1]
    result = broadcast.send(db, chain, spend, attempt, now_ns=clock.now_ns())
    if result.outcome in (BroadcastOutcome.REJECTED, BroadcastOutcome.UNKNOWN):
        note(Problem(spend.spend_id, f"{result.outcome}: {result.detail}"))
    return True


def _nudge(
    db: Database,
    chain: Chain,
    spend: Spend,
    release: Release,
    clock: Clock,
    wait: Patience,
    note: Note,
) -> bool:
    with db.read() as conn:
        attempts = rows.attempts(conn, spend.spend_id)
    last, now_ns = attempts[-1], clock.now_ns()
    if last.sent_at_ns is not None and now_ns - last.sent_at_ns < wait.resend_after_ns:
        return False
    if any(chain.tx_status(attempt.tx_id).block is not None for attempt in attempts):
        return False
    if means.is_of_owners(chain.traits, spend):
        return _send_last(db, chain, spend, clock, note)
    spend = _given_up(db, spend, now_ns, wait)
    if _due_for_bump(last, now_ns, wait) or (spend.abandoned and not last.cancels):
        try:
            sign.bump(db, chain, spend, release=release, now_ns=now_ns)
        except Refused as refused:
            # The old bytes are still good; but when approvals no longer count they can never be
            # replaced by dearer ones, and a lane must not wait for them for ever: cancel them.
            note(Problem(spend.spend_id, f"not bumped: {refused}"))
            # An own transfer has its own patience: a mandate's window opens again.
            is_payment = spend.kind in rows.TO_CUSTOMERS
            if is_payment and refused.reason in _FATAL and not spend.abandoned:
                reason = refused.reason.value
                db.run(lambda conn: rows.abandon(conn, spend, reason))
    return _send_last(db, chain, spend, clock, note)


def _given_up(db: Database, spend: Spend, now_ns: int, wait: Patience) -> Spend:
    """Return the spend, abandoned when it is an own transfer that has waited too long."""
    waited_ns = now_ns - spend.planned_at_ns
    is_own = spend.kind not in rows.TO_CUSTOMERS
    if spend.abandoned or not is_own or waited_ns < wait.give_up_after_ns:
        return spend

    def apply(conn: sa.Connection) -> Spend:
        rows.abandon(conn, spend, "waited_too_long")
        return rows.get(conn, spend.spend_id)

    return db.run(apply)


def _due_for_bump(last: Attempt, now_ns: int, wait: Patience) -> bool:
    return now_ns - last.signed_at_ns >= wait.bump_after_ns


def in_flight(conn: sa.Connection, chain_id: ChainId) -> list[Spend]:
    """Return a chain's spends that are not ended."""
    return rows.in_states(conn, chain_id, rows.IN_FLIGHT, limit=10_000)
