"""The steps that move spends.

Sign what is planned, send what is signed, resend and bump what waits, settle.

Every step handles a bounded number of spends, and one poisoned spend never stops the others (P04).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import BroadcastOutcome, Chain, SpendKind
from core.clock import SECOND_NS, Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from custody import chain_state
from custody.db import Database
from custody.spending import broadcast, outcome, rows, sign
from custody.spending.rows import Attempt, Spend, SpendState
from custody.spending.sign import Release

BATCH_MAX = 50
_FATAL = frozenset(
    {
        Reason.QUORUM_NOT_MET,
        Reason.APPROVAL_EXPIRED,
        Reason.REJECTED_BY_OFFICER,
        Reason.NOT_AN_OFFICER,
        Reason.INTENT_MISMATCH,
        Reason.BAD_SIGNATURE,
        Reason.INITIATOR_CANNOT_APPROVE,
        Reason.ALREADY_APPROVED,
        Reason.POLICY_BLOCKED,
    }
)
"""Refusals of the guard that time cannot heal.

The spend is abandoned and its nonce spent on ourselves.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: before sending the same bytes again, paying more, and giving up.

    Only own transfers are given up: what a sweep planned at yesterday's fees would else keep its
    address busy for as long as fees stay above its cap.
    """

    resend_after_ns: int = 15 * SECOND_NS
    bump_after_ns: int = 120 * SECOND_NS
    give_up_after_ns: int = 3_600 * SECOND_NS


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
    batch_max: int = BATCH_MAX,
) -> int:
    """Move every spend of a chain one stage where it can be moved; return how many moved."""
    chain_id = chain.traits.chain
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
    wait = patience or Patience()
    stages: list[tuple[SpendState, Callable[[Spend], bool]]] = [
        (SpendState.PLANNED, lambda spend: _sign(db, chain, spend, release, clock, wait)),
        (SpendState.SIGNED, lambda spend: _send_last(db, chain, spend, clock, note)),
        (SpendState.BROADCAST, lambda spend: _nudge(db, chain, spend, release, clock, wait, note)),
    ]
    moved = 0
    for state, move in stages:
        for spend in _take(db, chain_id, (state,), batch_max):
            moved += _guarded(spend, note, move)
    return moved


def settle_step(
    db: Database, chain: Chain, *, clock: Clock, note: Note, batch_max: int = BATCH_MAX
) -> int:
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

    waiting = _take(db, chain_id, (SpendState.BROADCAST,), batch_max)
    return sum(_guarded(spend, note, settle) for spend in waiting)


def _take(db: Database, chain_id: ChainId, states: Sequence[SpendState], limit: int) -> list[Spend]:
    with db.read() as conn:
        return rows.in_states(conn, chain_id, states, limit=limit)


def _guarded(spend: Spend, note: Note, move: Callable[[Spend], bool]) -> int:
    try:
        return int(move(spend))
    except (Refused, Unavailable) as error:
        note(Problem(spend.spend_id, str(error)))
        return 0


def _sign(
    db: Database, chain: Chain, spend: Spend, release: Release, clock: Clock, wait: Patience
) -> bool:
    spend = _given_up(db, spend, clock.now_ns(), wait)
    try:
        sign.sign(db, chain, spend, release=release, now_ns=clock.now_ns())
    except Refused as refused:
        if refused.reason in _FATAL and not spend.abandoned:
            reason = refused.reason.value
            db.run(lambda conn: rows.abandon(conn, spend, reason))
        raise
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
    spend = _given_up(db, spend, now_ns, wait)
    if _due_for_bump(last, now_ns, wait) or (spend.abandoned and not last.cancels):
        try:
            sign.bump(db, chain, spend, release=release, now_ns=now_ns)
        except Refused as refused:
            # The old bytes are still good; but when approvals no longer count they can never be
            # replaced by dearer ones, and a lane must not wait for them for ever: cancel them.
            note(Problem(spend.spend_id, f"not bumped: {refused}"))
            if refused.reason in _FATAL and not spend.abandoned:
                reason = refused.reason.value
                db.run(lambda conn: rows.abandon(conn, spend, reason))
    return _send_last(db, chain, spend, clock, note)


def _given_up(db: Database, spend: Spend, now_ns: int, wait: Patience) -> Spend:
    """Return the spend, abandoned when it is an own transfer that has waited too long."""
    waited_ns = now_ns - spend.planned_at_ns
    is_own = spend.kind is not SpendKind.WITHDRAWAL
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
