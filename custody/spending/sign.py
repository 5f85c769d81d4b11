"""Turn a planned spend into saved bytes.

Build, have the guard release one signature, assemble, save.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from chains.base import Chain, FeeRate, SpendIntent, SpendKind, UnsignedTx
from core.errors import Reason, Refused
from custody import chain_state, stops, velocity
from custody.db import Database
from custody.spending import drafts, effects, means, rows
from custody.spending.means import NOTHING, Means
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
    """Sign a dearer replacement of the last attempt; both use up the same.

    A nonce, a ticket, or all the coins that the spend holds; where these do not pay for it any
    more, it gets further ones. Refused: as sign.
    """
    with db.read() as conn:
        made = rows.attempts(conn, spend.spend_id)
        held = means.held_by(conn, chain.traits, spend)
    current = chain.rate_of(made[-1].payload)
    rate = chain.bump(chain.fee_rate(), current=current)
    if spend.abandoned:
        rate = _above_what_waits(chain, spend, rate, held, _drafted(db, chain, spend, made))
    else:
        least = chain.bump(current, current=current)
        rate = _within_cap(chain, spend, rate, least=least, held=held)
    after = made[-1].attempt_no
    return _attempt(db, chain, spend, release=release, rate=rate, now_ns=now_ns, after=after)


def _drafted(db: Database, chain: Chain, spend: Spend, made: Sequence[Attempt]) -> list[UnsignedTx]:
    """Return what every attempt was drafted as."""
    nonce = means.nonce_in(chain.traits, spend)
    with db.read() as conn:
        found = [
            drafts.draft(conn, spend, one.attempt_no, cancels=one.cancels, nonce=nonce)
            for one in made
        ]
    return [one for one in found if one is not None]


def cancellation_of(spend: Spend, *, fee_max: int) -> SpendIntent:
    """Return the intent that spends what a spend uses up back to its own sender.

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


def _units_of(chain: Chain, spend: Spend, held: Means) -> int:
    """Return how many units the transaction of a spend may use, relayed or not."""
    if spend.relay is None or chain.wallets is None:
        return chain.fee_units(spend.intent, held.coins)
    return chain.wallets.relay_units(spend.relay, relayer=spend.source)


def _build(chain: Chain, spend: Spend, rate: FeeRate, held: Means) -> UnsignedTx:
    """Build the transaction of a spend, or of its cancellation, with what it holds."""
    nonce = means.nonce_in(chain.traits, spend)
    if spend.abandoned:
        return _build_cancellation(chain, spend, rate, held, nonce)
    units = _units_of(chain, spend, held)
    if spend.relay is None or spend.wallet_nonce is None or chain.wallets is None:
        return chain.build(
            spend.intent, nonce=nonce, rate=rate, units=units, coins=held.coins, ticket=held.ticket
        )
    return chain.wallets.relay(
        spend.relay,
        wallet_nonce=spend.wallet_nonce,
        relayer=spend.source,
        nonce=nonce,
        rate=rate,
        units=units,
        fee_max=spend.intent.fee_max,
    )


def _build_cancellation(
    chain: Chain, spend: Spend, rate: FeeRate, held: Means, nonce: int
) -> UnsignedTx:
    """Spend what a spend holds back to its source.

    Of the coins only those that are the source's: they are in every version of the spend, and what
    other deposits brought is not to reach the first one's address.
    """
    coins = tuple(coin for coin in held.coins if coin.owner == spend.source)
    free_of_charge = cancellation_of(spend, fee_max=0)
    units = chain.fee_units(free_of_charge, coins)
    cost = units * rate.max_rate + chain.fee_extra(free_of_charge)
    intent = cancellation_of(spend, fee_max=cost)
    return chain.build(intent, nonce=nonce, rate=rate, units=units, coins=coins, ticket=held.ticket)


def _within_cap(
    chain: Chain, spend: Spend, rate: FeeRate, *, least: FeeRate, held: Means
) -> FeeRate:
    """Return the rate, lowered to what the intent's cap pays for when that still replaces."""
    room = spend.intent.fee_max - chain.fee_extra(spend.intent)
    top = max(0, room) // _units_of(chain, spend, held)
    if not least.max_rate <= top < rate.max_rate:
        return rate
    return FeeRate(max_rate=top, tip_rate=min(max(least.tip_rate, rate.tip_rate), top))


def _above_what_waits(
    chain: Chain, spend: Spend, rate: FeeRate, held: Means, made: Sequence[UnsignedTx]
) -> FeeRate:
    """Return the rate at which a cancellation also costs more than each transaction it replaces.

    Nodes that keep coins ask for that, and it may be much smaller. Source: BIP-125, rule 3 and 4.
    """
    if not (spend.abandoned and held.coins and made):
        return rate
    coins = tuple(coin for coin in held.coins if coin.owner == spend.source)
    units = chain.fee_units(cancellation_of(spend, fee_max=0), coins)
    least = -(-(max(one.fee_max for one in made) + units) // units)
    return rate if rate.max_rate >= least else FeeRate(max_rate=least, tip_rate=least)


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
    again and one attempt can never become two. Coins that it needs beyond those of the spend are
    taken in the same transaction. Refused: in_progress (the spend ended or was abandoned).
    """
    nonce = means.nonce_in(chain.traits, spend)
    with db.read() as conn:
        saved = drafts.draft(conn, spend, attempt_no, cancels=spend.abandoned, nonce=nonce)
        if saved is not None:
            return saved
        held = means.held_by(conn, chain.traits, spend)
    built, more = _built(db, chain, spend, rate, held)

    def save(conn: sa.Connection) -> UnsignedTx:
        now = rows.get(conn, spend.spend_id)
        if now.state not in rows.IN_FLIGHT or now.abandoned != spend.abandoned:
            raise Refused(Reason.IN_PROGRESS, f"{spend.spend_id} is {now.state}")
        known = drafts.draft(conn, spend, attempt_no, cancels=spend.abandoned, nonce=nonce)
        if known is not None:
            return known
        if held.coins:
            means.refuse_if_built_upon(conn, spend)
        means.take(conn, spend, more)
        return drafts.save_draft(conn, spend, attempt_no, built, cancels=spend.abandoned)

    return db.run(save)


def _built(
    db: Database, chain: Chain, spend: Spend, rate: FeeRate, held: Means
) -> tuple[UnsignedTx, Means]:
    """Build with what a spend holds, or with as few further coins as pay for it; return these too.

    A sweep gets none: what else lies at its address is another deposit's.
    """
    try:
        return _build(chain, spend, rate, held), NOTHING
    except Refused as refused:
        is_fixed = spend.abandoned or spend.kind is SpendKind.SWEEP or not held.coins
        if is_fixed or refused.reason is not Reason.EXCEEDS_AVAILABLE:
            raise
        short = refused
    with db.read() as conn:
        free = means.free_coins(conn, spend.chain, spend.source)
    largest = sorted(free, key=lambda coin: -coin.amount)[: means.MORE_COINS_MAX]
    for count in range(1, len(largest) + 1):
        more = Means(coins=tuple(largest[:count]))
        try:
            return _build(chain, spend, rate, Means(coins=held.coins + more.coins)), more
        except Refused as refused:
            if refused.reason is not Reason.EXCEEDS_AVAILABLE:
                raise
    raise short
