"""Bugs on purpose: each replaces one thing of the platform inside a run, and must be caught.

They are the classic ones of this trade. A campaign that does not catch them proves nothing when it
is green.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

import custody.keys.roster as roster
import engine.recovery as recovery
import tests.support.rails as rails
from chains.base import BlockRef, BroadcastOutcome, FeeRate, Payment
from custody import deposit_rows, deposits, funding, settlement, velocity
from custody.db import next_number
from custody.deposit_rows import DepositState
from custody.keys import canonical
from custody.keys.signable import Signable, TypedField
from custody.policy.decision import Outcome
from custody.spending import broadcast, claims, effects, plan, rows, sign, sweep_items
from custody.spending.rows import SpendState
from custody.wallets import addresses, coins
from custody.withdrawals import judging, states
from custody.withdrawals.states import WithdrawalState, WithdrawalVerb
from engine.simulated_files import SimulatedFile
from engine.snapshot import sound_snapshots
from indexers import follow

Plant = tuple[object, str, Any]


def _cursor_before_deposits() -> list[Plant]:
    """Write what a block held in a transaction of its own, after the cursor moved over it."""
    honest_observe, honest_step = deposits.observe, follow.step
    later: list[Callable[[sa.Connection], int]] = []

    def observe(_conn: sa.Connection, *what: Any, **more: Any) -> int:
        later.append(lambda conn: honest_observe(conn, *what, **more))
        return 0

    def step(db: Any, *what: Any, **more: Any) -> Any:
        later.clear()
        done = honest_step(db, *what, **more)
        for write in later:
            db.run(write)
        return done

    return [(deposits, "observe", observe), (follow, "step", step)]


def _refund_on_unknown() -> list[Plant]:
    """Call a payment failed when nobody answered, and give the customer his money back."""
    honest = broadcast.send

    def send(db: Any, chain: Any, spend: Any, attempt: Any, *, now_ns: int) -> Any:
        result = honest(db, chain, spend, attempt, now_ns=now_ns)
        if result.outcome is BroadcastOutcome.UNKNOWN:

            def give_up(conn: sa.Connection) -> None:
                now = rows.get(conn, spend.spend_id)
                if now.state is SpendState.BROADCAST:
                    done = rows.advance(conn, now, SpendState.FAILED, failure="no answer")
                    effects.failed(conn, done, fee=0, reason="no answer", now_ns=now_ns)

            db.run(give_up)
        return result

    return [(broadcast, "send", send)]


def _deposits_twice() -> list[Plant]:
    """Take every seventh block that is read for two, as if nothing named a payment."""
    honest = deposits.observe
    reads = iter(range(1, 1 << 30))

    def observe(conn: Any, chain: Any, block: BlockRef, payments: Any, **more: Any) -> int:
        changed = honest(conn, chain, block, payments, **more)
        if next(reads) % 7 == 0:
            again: list[Payment] = [
                replace(paid, position=f"{paid.position} again") for paid in payments
            ]
            changed += honest(conn, chain, block, again, **more)
        return changed

    return [(deposits, "observe", observe)]


def _credit_at_seen() -> list[Plant]:
    """Credit what was seen, without waiting for finality."""
    honest = deposits.observe

    def observe(conn: Any, chain: Any, block: BlockRef, payments: Any, **more: Any) -> int:
        changed = honest(conn, chain, block, payments, **more)
        deposits.finalise(conn, chain, block, now_ns=more["now_ns"])
        return changed

    return [(deposits, "observe", observe)]


def _funding_number_skipped() -> list[Plant]:
    """Take a number for a row, and another one for the same row when numbering is run again."""
    honest = funding._number_new

    def number(conn: sa.Connection, *what: Any) -> None:
        honest(conn, *what)
        next_number(conn, "funding_number")

    return [(funding, "_number_new", number)]


def _nonce_of_the_node() -> list[Plant]:
    """Build a replacement on the nonce the node tells, instead of the spend's own."""
    honest = sign._draft

    def draft(db: Any, chain: Any, spend: Any, attempt_no: int, rate: FeeRate) -> Any:
        if attempt_no > 1:
            used = chain.used_nonces(spend.source, chain.head())
            spend = replace(spend, nonce=used + 1)
        return honest(db, chain, spend, attempt_no, rate)

    return [(sign, "_draft", draft)]


def _nonce_given_twice() -> list[Plant]:
    """Reserve without moving the lane on."""
    honest = plan.next_nonce

    def next_nonce(conn: Any, chain: Any, sender: str) -> int | None:
        found = honest(conn, chain, sender)
        return None if found is None else found - found % 2

    return [(plan, "next_nonce", next_nonce)]


def _fee_not_booked() -> list[Plant]:
    """Forget what a transaction cost."""
    return [(effects, "_book_fee", lambda *_arguments, **_names: None)]


def _snapshot_after_the_books() -> list[Plant]:
    """Start from the newest snapshot, whatever the books have followed."""
    honest = sound_snapshots
    return [(recovery, "sound_snapshots", lambda storage, *, up_to: honest(storage, up_to=1 << 62))]


def _position_after_the_books() -> list[Plant]:
    """Store how far the books are in a transaction of its own, after the books."""
    honest_step, honest_move = settlement.step, settlement._move

    def step(db: Any, log: Any, **more: Any) -> int:
        moves: list[tuple[Any, Any]] = []
        with patch.object(
            settlement, "_move", lambda _conn, before, after: moves.append((before, after))
        ):
            done = honest_step(db, log, **more)
        if moves:
            db.run(lambda conn: honest_move(conn, *moves[-1]))
        return done

    return [(settlement, "step", step)]


def _sweep_of_undecided() -> list[Plant]:
    """Gather what was only seen."""
    honest = sweep_items.unswept

    def unswept(conn: sa.Connection, chain: Any, *, limit: int, **more: Any) -> Sequence[Any]:
        early = [DepositState.SEEN, DepositState.COUNTING]
        found = list(honest(conn, chain, limit=limit, **more))
        own = {row.address: row.key_index for row in addresses.all_of(conn, chain)}
        for row in deposit_rows.list_deposits(conn, chain=chain, states=early, limit=limit):
            if row.customer_no is not None and row.asset_no is not None and row.amount:
                item = sweep_items.Unswept(
                    row.deposit_id, row.address, own[row.address], row.asset_no, row.amount
                )
                found.append(item)
        return found

    return [(sweep_items, "unswept", unswept)]


def _approval_of_anything() -> list[Plant]:
    """Have officers sign their verdict alone: it fits every withdrawal."""

    def signable(_intent: Any, verdict: roster.Verdict) -> Signable:
        said = roster.Verdict(verdict).value
        message = canonical.encode(roster.APPROVAL_TAG, 1, (said,))
        return Signable(message, "Approval", (TypedField("verdict", "string", said),))

    return [(owner, "approval_signable", signable) for owner in (roster, rails)]


def _cancel_after_planning() -> list[Plant]:
    """Let a withdrawal be cancelled, and its money released, when its payment is on the way."""
    late = {
        (state, WithdrawalVerb.CANCEL): WithdrawalState.CANCELLED
        for state in (WithdrawalState.PLANNED, WithdrawalState.SIGNED, WithdrawalState.BROADCAST)
    }
    return [(states, "TRANSITIONS", {**states.TRANSITIONS, **late})]


def _orphans_kept() -> list[Plant]:
    """Leave deposits standing when their block is gone."""
    return [(deposits, "orphan_above", lambda _conn, _chain, _height: 0)]


def _journal_not_synced() -> list[Plant]:
    """Answer before the journal is on the disk."""
    return [(SimulatedFile, "sync", lambda _file: None)]


def _release_without_a_look() -> list[Plant]:
    """Let every approved withdrawal go, whatever the policy says by then."""
    honest = judging.at_release

    def at_release(*what: Any, **more: Any) -> judging.Judged:
        judged = honest(*what, **more)
        yes = replace(judged.decision, outcome=Outcome.ALLOW, code="")
        return replace(judged, record=replace(judged.record, decision=yes))

    return [(judging, "at_release", at_release), (judging, "reprice", lambda *_arguments: None)]


def _delay_forgotten() -> list[Plant]:
    """Let a withdrawal go as soon as its quorum is there."""
    honest = states.advance

    def advance(conn: Any, row: Any, verb: WithdrawalVerb, **more: Any) -> Any:
        if verb is WithdrawalVerb.APPROVE:
            more["releasable_at_ns"] = more["now_ns"]
        return honest(conn, row, verb, **more)

    return [(states, "advance", advance)]


def _limits_read_before_the_lock() -> list[Plant]:
    """Believe that nobody else takes anything: each request sees an empty window."""

    def used(_conn: Any, charges: Any, _now_ns: int, **_more: Any) -> dict[str, int]:
        return {charge.key: 0 for charge in charges}

    def reserve(conn: Any, charges: Any, *, owner: str, now_ns: int) -> tuple[()]:
        honest(conn, [replace(one, cap=1 << 200) for one in charges], owner=owner, now_ns=now_ns)
        return ()

    honest = velocity.reserve
    blind = (judging, "reprice", lambda *_arguments: None)
    return [(velocity, "used", used), (velocity, "reserve", reserve), blind]


def _coin_given_twice() -> list[Plant]:
    """Take coins from whoever holds them."""
    honest = claims.take

    def take(conn: sa.Connection, chain: Any, spend_id: Any, names: Sequence[str]) -> None:
        table = claims.spend_claims
        conn.execute(table.delete().where(table.c.chain == chain, table.c.claim.in_(list(names))))
        honest(conn, chain, spend_id, names)

    return [(claims, "take", take), (claims, "held", lambda *_arguments: frozenset())]


def _coins_of_a_lost_branch_kept() -> list[Plant]:
    """Leave coins standing when their block is gone."""
    return [(coins, "rewind", lambda _conn, _chain, *, to_height: None)]


BUGS: dict[str, Callable[[], list[Plant]]] = {
    "cursor moved before commit": _cursor_before_deposits,
    "refund on unknown broadcast": _refund_on_unknown,
    "no dedupe of deposits": _deposits_twice,
    "credit at seen": _credit_at_seen,
    "funding number skipped": _funding_number_skipped,
    "nonce of the node on retry": _nonce_of_the_node,
    "nonce given twice": _nonce_given_twice,
    "network fee not booked": _fee_not_booked,
    "snapshot newer than the books": _snapshot_after_the_books,
    "position stored after the books": _position_after_the_books,
    "sweep of undecided deposits": _sweep_of_undecided,
    "approval not bound to its intent": _approval_of_anything,
    "cancel after planning": _cancel_after_planning,
    "orphan not undone": _orphans_kept,
    "answered before the journal is durable": _journal_not_synced,
    "release does not re-check": _release_without_a_look,
    "delay of the rule forgotten": _delay_forgotten,
    "limits of others not counted": _limits_read_before_the_lock,
    "coin given to two spends": _coin_given_twice,
    "coins of a lost branch kept": _coins_of_a_lost_branch_kept,
}
COIN_BUGS = frozenset({"coin given to two spends", "coins of a lost branch kept"})
"""They live where coins are spent, and nowhere else."""


@contextmanager
def planted(bug: str | None) -> Iterator[None]:
    """Plant a bug for the time of a run."""
    with ExitStack() as stack:
        for owner, name, replacement in BUGS[bug]() if bug is not None else ():
            stack.enter_context(patch.object(owner, name, replacement))
        yield
