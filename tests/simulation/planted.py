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
from chains.base import BlockRef, BroadcastOutcome, FeeRate, Payment
from custody import chain_state, deposit_rows, deposits, funding, settlement
from custody.db import next_number
from custody.deposit_rows import DepositState
from custody.keys import canonical
from custody.spending import broadcast, effects, plan, rows, sign, sweep_items
from custody.spending.rows import SpendState
from custody.wallets import addresses
from custody.withdrawals import states
from custody.withdrawals.states import WithdrawalState, WithdrawalVerb
from engine.simulated_files import SimulatedFile
from engine.snapshot import sound_snapshots
from indexers import follow

Plant = tuple[object, str, Any]


def _cursor_before_deposits() -> list[Plant]:
    """Move the cursor in a transaction of its own, before what the block held is written."""

    def take(db: Any, chain: Any, block: Any, watched: Any, clock: Any, tip: Any) -> Any:
        payments, name = chain.payments_in(block, watched), chain.traits.chain

        def move(conn: sa.Connection) -> bool:
            if chain_state.cursor(conn, name) != tip:
                return False
            chain_state.append_block(conn, name, block, keep=chain.traits.reorg_limit)
            return True

        def write(conn: sa.Connection) -> int:
            own = rows.own_tx_ids(conn, name, [paid.tx_id for paid in payments])
            return deposits.observe(
                conn, name, block.ref, payments, own_tx_ids=own, now_ns=clock.now_ns()
            )

        if not db.run(move):
            return follow.Followed(follow.Progress.IDLE, block.ref.height - 1)
        return follow.Followed(follow.Progress.ADVANCED, block.ref.height, db.run(write))

    return [(follow, "_take", take)]


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
    """Give every sight of a payment an id of its own, and let two followers read one block."""
    sights = iter(range(1 << 30))
    honest_observe, honest_append = deposits.observe, chain_state.append_block

    def observe(conn: Any, chain: Any, block: BlockRef, payments: Any, **more: Any) -> int:
        seen: list[Payment] = [
            replace(paid, position=f"{paid.position}#{next(sights)}") for paid in payments
        ]
        return honest_observe(conn, chain, block, seen, **more)

    def append_block(conn: Any, chain: Any, block: Any, *, keep: int) -> None:
        tip = chain_state.cursor(conn, chain)
        if tip != block.ref:
            honest_append(conn, chain, block, keep=keep)

    def take(db: Any, chain: Any, block: Any, watched: Any, clock: Any, tip: Any) -> Any:
        payments, name = chain.payments_in(block, watched), chain.traits.chain

        def write(conn: sa.Connection) -> int:
            if chain_state.cursor(conn, name) not in (tip, block.ref):
                return 0
            append_block(conn, name, block, keep=chain.traits.reorg_limit)
            own = rows.own_tx_ids(conn, name, [paid.tx_id for paid in payments])
            return observe(conn, name, block.ref, payments, own_tx_ids=own, now_ns=clock.now_ns())

        return follow.Followed(follow.Progress.ADVANCED, block.ref.height, db.run(write))

    return [(follow, "_take", take)]


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

    def number(conn: sa.Connection, batch_max: int) -> None:
        honest(conn, batch_max)
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
    return [(effects, "_book_fee", lambda *_arguments: None)]


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

    def unswept(conn: sa.Connection, chain: Any, *, limit: int) -> Sequence[Any]:
        early = [DepositState.SEEN, DepositState.COUNTING]
        found = list(honest(conn, chain, limit=limit))
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

    def message(_intent: Any, verdict: roster.Verdict) -> bytes:
        return canonical.encode(roster.APPROVAL_TAG, 1, (roster.Verdict(verdict).value,))

    return [(roster, "approval_message", message)]


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
}


@contextmanager
def planted(bug: str | None) -> Iterator[None]:
    """Plant a bug for the time of a run."""
    with ExitStack() as stack:
        for owner, name, replacement in BUGS[bug]() if bug is not None else ():
            stack.enter_context(patch.object(owner, name, replacement))
        yield
