"""How a spend ended: decided from what is final, tracked by what it uses up and by effect.

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
from custody.keys.signers.base import wallet_of
from custody.spending import claims, drafts, effects, means, rows
from custody.spending.rows import Attempt, Spend, SpendState
from custody.wallets import coins
from custody.wallets.addresses import DEPOSITS
from custody.wallets.inventory import GAS

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
    """Its nonce, coin or ticket is used at finality by a transaction that we never signed."""


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
    tx_id: str = ""
    """The attempt that is final."""


def decide(
    spend: Spend,
    attempts: Sequence[Attempt],
    statuses: Mapping[str, TxStatus],
    *,
    used_up: str,
    final: BlockRef,
    is_odd: bool = False,
    wallet_nonces: int | None = None,
) -> Outcome:
    """Decide how a spend ended.

    Statuses by tx id; used_up names what of the spend's is used in the state after the final block,
    by whomever, empty while nothing is; wallet_nonces are those of the wallet whose transaction is
    relayed. While its own is not used, a failure is not the end: anybody may send the same
    signatures again.
    """
    ended = _decide(spend, attempts, statuses, used_up, final, is_odd=is_odd)
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
    used_up: str,
    final: BlockRef,
    *,
    is_odd: bool,
) -> Outcome:
    for attempt in attempts:
        status = statuses[attempt.tx_id]
        if status.block is None or status.block.height > final.height:
            continue
        return replace(_included(spend, attempt, status, is_odd=is_odd), tx_id=attempt.tx_id)
    if used_up:
        return Outcome(Ending.FOREIGN, f"{used_up} was used by a foreign transaction")
    return Outcome(Ending.WAIT)


def _included(spend: Spend, attempt: Attempt, status: TxStatus, *, is_odd: bool) -> Outcome:
    """Decide what the attempt that a final block holds has done."""
    height, fee = status.block.height if status.block else 0, status.fee
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
        held = claims.of(conn, spend.spend_id)
        used_up = _coin_used_up(conn, spend, attempts, held, final)
    if means.counts_nonces(chain.traits):
        nonces = chain.used_nonces(spend.source, final)
        used_up = f"nonce {spend.nonce}" if nonces > spend.nonce else ""
    outcome = _ask(chain, spend, attempts, used_up, final, is_odd=is_odd)
    if outcome.ending is Ending.WAIT and chain.traits.uses_tickets:
        # Strangers may make this question hard to answer: what landed is booked without it.
        used_up = _ticket_used_up(chain, attempts, held, final)
        outcome = _ask(chain, spend, attempts, used_up, final, is_odd=is_odd)
    if outcome.ending is Ending.FOREIGN:
        # The statuses may have been asked of a node that lags behind the one that counted: ask once
        # more.
        outcome = _ask(chain, spend, attempts, used_up, final, is_odd=is_odd)
    if outcome.ending is not Ending.WAIT:
        used = _used_by(chain, spend, attempts, outcome.tx_id)
        db.run(lambda conn: _book(conn, chain, spend, outcome, used, now_ns))
    return outcome


def _ticket_used_up(
    chain: Chain, attempts: Sequence[Attempt], held: Sequence[str], final: BlockRef
) -> str:
    """Return a held ticket that is used at finality by nothing of ours, or nothing.

    An attempt of ours in a later block has used it there, whatever a node that lags behind says.
    """
    used = sorted(chain.spent_coins(held, final))
    if not used or any(chain.tx_status(one.tx_id).block is not None for one in attempts):
        return ""
    return used[0]


def _coin_used_up(
    conn: sa.Connection,
    spend: Spend,
    attempts: Sequence[Attempt],
    held: Sequence[str],
    final: BlockRef,
) -> str:
    """Return a held coin that a final block uses in a transaction that is no attempt, or nothing.

    Another attempt of ours may have left it alone; then it stays unused.
    """
    mine = {attempt.tx_id for attempt in attempts}
    for outpoint in held:
        coin = coins.get(conn, spend.chain, outpoint)
        if coin is None or coin.used_height is None or coin.used_height > final.height:
            continue
        if coin.used_tx not in mine:
            return outpoint
    return ""


def _used_by(
    chain: Chain, spend: Spend, attempts: Sequence[Attempt], tx_id: str
) -> tuple[str, ...] | None:
    """Return the coins that the attempt which is final has used; None where none are used."""
    found = [attempt for attempt in attempts if attempt.tx_id == tx_id]
    if not chain.traits.spends_coins or not found:
        return None
    return chain.decode(found[0].payload, sender=spend.source).claims(spend.source)


def _ask(
    chain: Chain,
    spend: Spend,
    attempts: Sequence[Attempt],
    used_up: str,
    final: BlockRef,
    *,
    is_odd: bool,
) -> Outcome:
    statuses = {
        attempt.tx_id: as_written(chain, spend, attempt, chain.tx_status(attempt.tx_id))
        for attempt in attempts
    }
    wallet_nonces = None
    if spend.wallet_nonce is not None and chain.wallets is not None:
        wallet_nonces = chain.wallets.state(spend.intent.source, final).nonce
    return decide(
        spend, attempts, statuses, used_up=used_up, final=final, is_odd=is_odd,
        wallet_nonces=wallet_nonces,
    )  # fmt: skip


def as_written(chain: Chain, spend: Spend, attempt: Attempt, status: TxStatus) -> TxStatus:
    """Return a status with what a transaction of coins does once a block holds it.

    It does all that is written in it, or it is in no block; its id is the hash of what we wrote.
    """
    if not chain.traits.spends_coins or status.block is None:
        return status
    return replace(
        status,
        succeeded=True,
        fee=chain.decode(attempt.payload, sender=spend.source).fee_max,
        effect_amount=spend.amount,
        items=tuple(ItemStatus(paid=True, amount=one.amount) for one in spend.intent.items),
    )


def fee_wallet(chain: Chain, spend: Spend) -> str:
    """Return the wallet that pays a spend's fee: where deposits are keys, `gas` does for them."""
    if chain.traits.uses_tickets and wallet_of(spend.account) == DEPOSITS:
        return GAS
    return spend.account


def _book(
    conn: sa.Connection,
    chain: Chain,
    spend: Spend,
    outcome: Outcome,
    used: tuple[str, ...] | None,
    now_ns: int,
) -> None:
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
        counted = means.counts_nonces(chain.traits)
        chain_state.freeze(
            conn, spend.chain, kind="foreign_nonce" if counted else "foreign_use",
            detail=f"{spend.spend_id} {spend.source}: {outcome.reason}", now_ns=now_ns,
        )  # fmt: skip
        return
    ended = SpendState.CONFIRMED if outcome.ending is Ending.CONFIRMED else SpendState.FAILED
    done = rows.advance(
        conn, now, ended, failure=outcome.reason or None, fee_paid=outcome.fee,
        final_height=outcome.height, delivered=outcome.delivered,
    )  # fmt: skip
    if used is not None:
        claims.keep_only(conn, spend.spend_id, used)
    payer = fee_wallet(chain, spend)
    if ended is SpendState.CONFIRMED:
        effects.confirmed(
            conn, done, fee=outcome.fee, now_ns=now_ns, items=outcome.items, fee_wallet=payer
        )
    else:
        effects.failed(
            conn, done, fee=outcome.fee, reason=outcome.reason, now_ns=now_ns,
            wallet_open=outcome.wallet_open, fee_wallet=payer,
        )  # fmt: skip


def end_unsigned(db: Database, spend: Spend, *, now_ns: int) -> bool:
    """End an abandoned spend of which nothing was ever drafted, where no lane waits for a nonce.

    Then no signature can exist, and what it holds is free. Returns whether it ended.
    """

    def apply(conn: sa.Connection) -> bool:
        now = rows.get(conn, spend.spend_id)
        if (
            now.state is not SpendState.PLANNED
            or not now.abandoned
            or drafts.count(conn, spend.spend_id)
        ):
            return False
        reason = now.failure or "cancelled"
        done = rows.advance(conn, now, SpendState.FAILED, fee_paid=0)
        claims.give_back(conn, spend.spend_id)
        effects.failed(conn, done, fee=0, reason=reason, now_ns=now_ns)
        return True

    return db.run(apply)
