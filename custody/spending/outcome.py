"""How a spend ended: decided from what is final, tracked by nonce and effect.

Not by transaction id alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from chains.base import BlockRef, Chain, ItemStatus, SpendKind, TxStatus
from core.errors import Unavailable
from custody import catalogue, chain_state
from custody.db import Database
from custody.spending import effects, rows
from custody.spending.rows import Attempt, Spend, SpendState

MOVES_NOTHING = frozenset({SpendKind.OWNERS, SpendKind.CANCELLATION})
_BY_THE_WALLET = frozenset({"inner_failed", "no_effect"})
"""Failures in which the wallet itself acted, so that its nonce is used."""


class Ending(enum.StrEnum):
    """What finality says of a spend."""

    WAIT = "wait"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNCLEAR = "unclear"
    """A token known to lie says that nothing arrived; what left us only a person can say."""
    FOREIGN = "foreign"
    """The nonce is used at finality by a transaction that we never signed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An ending with its evidence.

    fee: native units paid by the included attempt; delivered: what arrived of the amount.
    """

    ending: Ending
    reason: str = ""
    fee: int = 0
    height: int = 0
    delivered: int = 0
    wallet_open: bool = False
    """It failed, and the wallet's signatures that it carried are still good."""
    items: tuple[ItemStatus, ...] = ()
    """Of a batch, what became of each."""


def decide(
    spend: Spend,
    attempts: Sequence[Attempt],
    statuses: Mapping[str, TxStatus],
    *,
    used_nonces: int,
    final: BlockRef,
    is_odd: bool = False,
    wallet_nonces: int | None = None,
) -> Outcome:
    """Decide how a spend ended.

    Statuses by tx id, used_nonces in the state after the final block; wallet_nonces are those of
    the wallet whose transaction is relayed. While its own is not used, a failure is not the end:
    anybody may send the same signatures again.
    """
    ended = _decide(spend, attempts, statuses, used_nonces, final, is_odd=is_odd)
    if spend.wallet_nonce is None or ended.ending is not Ending.FAILED:
        return ended
    if ended.reason in _BY_THE_WALLET:
        return ended
    if wallet_nonces is None or wallet_nonces > spend.wallet_nonce:
        return Outcome(Ending.FOREIGN, f"wallet nonce {spend.wallet_nonce} was used by another")
    return replace(ended, wallet_open=True)


def _decide(
    spend: Spend,
    attempts: Sequence[Attempt],
    statuses: Mapping[str, TxStatus],
    used_nonces: int,
    final: BlockRef,
    *,
    is_odd: bool,
) -> Outcome:
    for attempt in attempts:
        status = statuses[attempt.tx_id]
        if status.block is None or status.block.height > final.height:
            continue
        height, fee = status.block.height, status.fee
        if attempt.cancels:
            return Outcome(Ending.FAILED, spend.failure or "cancelled", fee, height)
        if not status.succeeded:
            reason = "inner_failed" if status.inner_failed else effects.EXECUTION_FAILED
            return Outcome(Ending.FAILED, reason, fee, height)
        if spend.kind in MOVES_NOTHING:
            return Outcome(Ending.CONFIRMED, "", fee, height)
        if status.effect_amount == 0 and is_odd:
            return Outcome(Ending.UNCLEAR, "no_effect", fee, height)
        if status.effect_amount == 0:
            return Outcome(Ending.FAILED, effects.NO_EFFECT, fee, height)
        if spend.kind is SpendKind.BATCH and len(status.items) != len(spend.intent.items):
            raise Unavailable("unreadable_batch: its items are not said")
        moved = moved_amount(spend, status)
        return Outcome(Ending.CONFIRMED, "", fee, height, moved, items=status.items)
    if used_nonces > spend.nonce:
        return Outcome(Ending.FOREIGN, f"nonce {spend.nonce} was used by a foreign transaction")
    return Outcome(Ending.WAIT)


def moved_amount(spend: Spend, status: TxStatus) -> int:
    """Return what an included attempt moved; of a batch what its paid items were to get."""
    if spend.kind is not SpendKind.BATCH:
        return status.effect_amount
    pairs = zip(spend.intent.items, status.items, strict=True)
    return sum(item.amount for item, found in pairs if effects.is_paid(found))


def settle(db: Database, chain: Chain, spend: Spend, *, final: BlockRef, now_ns: int) -> Outcome:
    """Ask the chain how a spend ended at a final block, and book the ending when there is one."""
    with db.read() as conn:
        attempts = rows.attempts(conn, spend.spend_id)
        is_odd = catalogue.asset(conn, spend.asset_no).spec.odd
    used = chain.used_nonces(spend.source, final)
    outcome = _ask(chain, spend, attempts, used, final, is_odd=is_odd)
    if outcome.ending is Ending.FOREIGN:
        # The statuses may have been asked of a node that lags behind the one that counted: ask once
        # more.
        outcome = _ask(chain, spend, attempts, used, final, is_odd=is_odd)
    if outcome.ending is not Ending.WAIT:
        db.run(lambda conn: _book(conn, spend, outcome, now_ns))
    return outcome


def _ask(
    chain: Chain,
    spend: Spend,
    attempts: Sequence[Attempt],
    used: int,
    final: BlockRef,
    *,
    is_odd: bool,
) -> Outcome:
    statuses = {attempt.tx_id: chain.tx_status(attempt.tx_id) for attempt in attempts}
    wallet_nonces = None
    if spend.wallet_nonce is not None and chain.wallets is not None:
        wallet_nonces = chain.wallets.state(spend.intent.source, final).nonce
    return decide(
        spend, attempts, statuses, used_nonces=used, final=final, is_odd=is_odd,
        wallet_nonces=wallet_nonces,
    )  # fmt: skip


def _book(conn: sa.Connection, spend: Spend, outcome: Outcome, now_ns: int) -> None:
    now = rows.get(conn, spend.spend_id)
    if now.state is not SpendState.BROADCAST:
        return
    if outcome.ending is Ending.UNCLEAR:
        chain_state.open_incident(
            conn, spend.chain, kind="unclear_payment",
            detail=f"{spend.spend_id}: {outcome.reason} at {outcome.height}", now_ns=now_ns,
        )  # fmt: skip
        return
    if outcome.ending is Ending.FOREIGN:
        chain_state.freeze(
            conn, spend.chain, kind="foreign_nonce",
            detail=f"{spend.spend_id} {spend.source}: {outcome.reason}", now_ns=now_ns,
        )  # fmt: skip
        return
    ended = SpendState.CONFIRMED if outcome.ending is Ending.CONFIRMED else SpendState.FAILED
    done = rows.advance(
        conn, now, ended, failure=outcome.reason or None, fee_paid=outcome.fee,
        final_height=outcome.height, delivered=outcome.delivered,
    )  # fmt: skip
    if ended is SpendState.CONFIRMED:
        effects.confirmed(conn, done, fee=outcome.fee, now_ns=now_ns, items=outcome.items)
    else:
        effects.failed(
            conn, done, fee=outcome.fee, reason=outcome.reason, now_ns=now_ns,
            wallet_open=outcome.wallet_open,
        )  # fmt: skip
