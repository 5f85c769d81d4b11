"""Turn a planned spend into saved bytes.

Build, have the guard release one signature, assemble, save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

from chains.base import Chain, FeeRate, SpendIntent, SpendKind, UnsignedTx
from core.errors import Reason, Refused
from custody import chain_state, stops, velocity
from custody.db import Database
from custody.spending import drafts, effects, rows
from custody.spending.rows import Attempt, Spend, SpendState

ATTEMPTS_MAX = 20
"""Replacements of one spend.

Each is an eighth dearer, so the fee cap ends the series long before.
"""

Release = Callable[[Spend, SpendIntent, UnsignedTx], bytes]
"""The guard with a spend's authority bound to it: the only thing that releases a signature."""


def sign(db: Database, chain: Chain, spend: Spend, *, release: Release, now_ns: int) -> Attempt:
    """Sign a planned spend for the first time and save the bytes.

    Refused: frozen, paused, fee_above_cap, and whatever the guard refuses. After a crash anywhere
    the same call goes on where it stopped: the draft is saved, and the guard gives the same
    signature again.
    """
    rate = chain.fee_rate()
    return _attempt(db, chain, spend, release=release, rate=rate, now_ns=now_ns, after=0)


def bump(db: Database, chain: Chain, spend: Spend, *, release: Release, now_ns: int) -> Attempt:
    """Sign a dearer replacement of the last attempt; both spend the same nonce.

    Refused: as sign.
    """
    with db.read() as conn:
        made = rows.attempts(conn, spend.spend_id)
    current = chain.rate_of(made[-1].payload)
    rate = chain.bump(chain.fee_rate(), current=current)
    if not spend.abandoned:
        rate = _within_cap(chain, spend, rate, least=chain.bump(current, current=current))
    after = made[-1].attempt_no
    return _attempt(db, chain, spend, release=release, rate=rate, now_ns=now_ns, after=after)


def cancellation_of(spend: Spend, *, fee_max: int) -> SpendIntent:
    """Return the intent that spends the nonce of a spend back to its own sender.

    It may cost more than the spend itself might: a nonce that is never used stops its whole lane.
    How much at most is the mandate's business.
    """
    is_cancelling = spend.kind is SpendKind.CANCELLATION  # a wallet's nonce, for the same spend
    return replace(
        spend.intent,
        spend_id=f"{spend.spend_id}_cancel",
        kind=SpendKind.CANCELLATION,
        cause_id=spend.intent.cause_id if is_cancelling else spend.spend_id,
        asset_key="native",
        source=spend.source,
        destination=spend.source,
        amount=0,
        fee_max=fee_max,
        items=(),
    )


def units_of(chain: Chain, spend: Spend) -> int:
    """Return how many units the transaction of a spend may use, relayed or not."""
    if spend.relay is None or chain.wallets is None:
        return chain.fee_units(spend.intent)
    return chain.wallets.relay_units(spend.relay, relayer=spend.source)


def _build(chain: Chain, spend: Spend, rate: FeeRate) -> UnsignedTx:
    """Build the first attempt's transaction, or its cancellation's."""
    if spend.abandoned:
        units = chain.fee_units(cancellation_of(spend, fee_max=0))
        intent = cancellation_of(spend, fee_max=rate.max_rate * units)
        return chain.build(intent, nonce=spend.nonce, rate=rate, units=units)
    units = units_of(chain, spend)
    if spend.relay is None or spend.wallet_nonce is None or chain.wallets is None:
        return chain.build(spend.intent, nonce=spend.nonce, rate=rate, units=units)
    return chain.wallets.relay(
        spend.relay,
        wallet_nonce=spend.wallet_nonce,
        relayer=spend.source,
        nonce=spend.nonce,
        rate=rate,
        units=units,
        fee_max=spend.intent.fee_max,
    )


def _within_cap(chain: Chain, spend: Spend, rate: FeeRate, *, least: FeeRate) -> FeeRate:
    """Return the rate, lowered to what the intent's cap pays for when that still replaces."""
    top = spend.intent.fee_max // units_of(chain, spend)
    if not least.max_rate <= top < rate.max_rate:
        return rate
    return FeeRate(max_rate=top, tip_rate=min(max(least.tip_rate, rate.tip_rate), top))


def _attempt(
    db: Database,
    chain: Chain,
    spend: Spend,
    *,
    release: Release,
    rate: FeeRate,
    now_ns: int,
    after: int,
) -> Attempt:
    with db.read() as conn:
        chain_state.refuse_if_frozen(conn, spend.chain)
        if not spend.abandoned:  # a cancellation moves nothing and lets others go on
            stops.refuse_if_stopped(
                conn, chain=spend.chain, asset_key=spend.intent.asset_key, now_ns=now_ns
            )
        made = rows.attempts(conn, spend.spend_id)
    if made and made[-1].attempt_no != after:
        return made[-1]  # another worker was faster; one step makes at most one attempt
    if len(made) >= ATTEMPTS_MAX * (2 if spend.abandoned else 1):
        raise Refused(Reason.TOO_LARGE, f"{spend.spend_id} has {len(made)} attempts")
    unsigned = _draft(db, chain, spend, len(made) + 1, rate)
    intent = spend.intent
    if spend.abandoned:
        intent = cancellation_of(spend, fee_max=unsigned.fee_max)
    signed = chain.assemble(unsigned, release(spend, intent, unsigned))
    attempt = Attempt(
        spend_id=spend.spend_id,
        attempt_no=len(made) + 1,
        tx_id=signed.tx_id,
        payload=unsigned.payload,
        raw=signed.raw,
        cancels=spend.abandoned,
        signed_at_ns=now_ns,
        sent_at_ns=None,
        sends=0,
        outcome=None,
        detail=None,
    )

    def save(conn: sa.Connection) -> None:
        velocity.take_turn(conn)
        now = rows.get(conn, spend.spend_id)
        if now.abandoned != attempt.cancels:
            raise Refused(Reason.IN_PROGRESS, f"{spend.spend_id} was abandoned meanwhile")
        rows.save_attempt(conn, attempt, spend.chain)
        if now.state is SpendState.PLANNED:
            effects.signed(conn, rows.advance(conn, now, SpendState.SIGNED), now_ns=now_ns)

    db.run(save)
    return attempt


def _draft(db: Database, chain: Chain, spend: Spend, attempt_no: int, rate: FeeRate) -> UnsignedTx:
    """Return the saved draft of an attempt, or build and save it.

    What the guard is asked to sign is saved first, so that after a crash the same digest is asked
    again and one attempt can never become two.
    """
    with db.read() as conn:
        saved = drafts.draft(conn, spend, attempt_no, cancels=spend.abandoned)
    if saved is not None:
        return saved
    built = _build(chain, spend, rate)
    return db.run(
        lambda conn: drafts.save_draft(conn, spend, attempt_no, built, cancels=spend.abandoned)
    )
