"""What a spend uses up where its sender counts no nonces: coins, or a ticket.

Free is what no spend holds (custody.spending.claims). What is free is read before a transaction and
taken in it, where taking it twice is refused; so nobody waits for a node while a row is locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import Chain, ChainTraits, Coin, FeeRate, SpendIntent, SpendKind
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from custody import chain_state
from custody.db import Database
from custody.spending import claims, drafts, rows
from custody.spending.rows import Spend
from custody.wallets import coins as inventory

MORE_COINS_MAX = 50
"""Coins that a replacement may use beyond those of the spend."""


@dataclass(frozen=True, slots=True)
class Means:
    """What one transaction uses up: coins, or a ticket; neither where nonces are counted."""

    coins: tuple[Coin, ...] = ()
    ticket: str = ""

    @property
    def claims(self) -> tuple[str, ...]:
        """Return what a spend must hold to use it."""
        return tuple(coin.outpoint for coin in self.coins) or tuple(filter(None, (self.ticket,)))


NOTHING = Means()


def counts_nonces(traits: ChainTraits) -> bool:
    """Return whether senders of a chain use up one nonce after another."""
    return not (traits.spends_coins or traits.uses_tickets)


def nonce_in(traits: ChainTraits, spend: Spend) -> int:
    """Return the nonce inside a spend's transactions; elsewhere its number is only ours."""
    return spend.nonce if counts_nonces(traits) else 0


def is_of_owners(traits: ChainTraits, spend: Spend) -> bool:
    """Return whether several owners signed the spend itself: nothing here can sign it anew."""
    return traits.spends_coins and spend.wallet is not None


def account_of(ticket: str) -> str:
    """Return what a ticket is the value of: only one spend at a time may wait for it."""
    return ticket.rpartition(":")[0] or ticket


def held_by(conn: sa.Connection, traits: ChainTraits, spend: Spend) -> Means:
    """Return what a spend holds. Unavailable: no followed block shows one of its coins (any more).

    That heals when the block that made it is followed again. A sweep goes on without it, to be
    cancelled: whatever else it holds is in every version of it.
    """
    held = claims.of(conn, spend.spend_id)
    if traits.uses_tickets:
        return Means(ticket=held[0] if held else "")
    if not traits.spends_coins:
        return NOTHING
    found = []
    for outpoint in held:
        coin = inventory.get(conn, spend.chain, outpoint)
        if coin is not None:
            found.append(coin.coin)
        elif spend.kind is not SpendKind.SWEEP:
            raise Unavailable(f"coin_gone: {outpoint}")
    return Means(coins=tuple(found))


def has_lost_coins(db: Database, traits: ChainTraits, spend: Spend) -> bool:
    """Return whether a sweep holds a coin that is in no followed block any more.

    It was final when the sweep was planned, and a resolved deep reorganisation took it away.
    """
    if not traits.spends_coins or spend.kind is not SpendKind.SWEEP:
        return False
    with db.read() as conn:
        held = claims.of(conn, spend.spend_id)
        return any(inventory.get(conn, spend.chain, outpoint) is None for outpoint in held)


def free_coins(conn: sa.Connection, chain: ChainId, address: str) -> list[Coin]:
    """Return the coins of an address that may be taken now: used by no block, held by no spend.

    Those that are final come first. A coin that is not final may fall out of the chain and take
    along what it pays; so only what a transaction of our own made counts, of which there is no
    other version (`is_lasting`).
    """
    held = claims.held(conn, chain)
    final = chain_state.state(conn, chain).final
    height = -1 if final is None else final.height
    found = [
        one for one in inventory.unused(conn, chain, address=address)
        if one.coin.outpoint not in held
        and (one.height <= height or is_lasting(conn, chain, one.coin.outpoint))
    ]  # fmt: skip
    return [one.coin for one in sorted(found, key=lambda one: one.height > height)]


def is_lasting(conn: sa.Connection, chain: ChainId, outpoint: str) -> bool:
    """Return whether a coin was made by a spend of ours that has one version.

    Its bytes are sent until a block holds them again, and it gets no other version while its coins
    are held (`refuse_if_built_upon`).
    """
    spend_id = rows.spend_of_tx(conn, chain, outpoint.partition(":")[0])
    return spend_id is not None and drafts.count(conn, spend_id) == 1


def refuse_if_built_upon(conn: sa.Connection, spend: Spend) -> None:
    """Refuse another version of a spend while others hold coins that it made.

    Refused: in_progress. The present version is sent again meanwhile.
    """
    mine = {attempt.tx_id for attempt in rows.attempts(conn, spend.spend_id)}
    if not mine:
        return
    for claim in sorted(claims.held_in_flight(conn, spend.chain)):
        if claim.partition(":")[0] in mine:
            raise Refused(Reason.IN_PROGRESS, f"another spend stands on {claim}")


def final_coins(conn: sa.Connection, chain: ChainId, among: Sequence[Coin]) -> list[Coin]:
    """Return which of some coins were made by blocks that are final."""
    final = chain_state.state(conn, chain).final
    if final is None:
        return []
    rows = [inventory.get(conn, chain, coin.outpoint) for coin in among]
    return [row.coin for row in rows if row is not None and row.height <= final.height]


def choose(
    db: Database, chain: Chain, intent: SpendIntent, *, rate: FeeRate, payer: str | None = None
) -> Means:
    """Return what a new spend may take; nothing where nonces are counted.

    payer: who pays the fee and whose ticket it is, where that is not the source. Coins that are
    final are enough, or all that are free are offered. Refused: exceeds_available. Unavailable:
    no_ticket_free.
    """
    traits = chain.traits
    if traits.uses_tickets:
        return Means(ticket=free_ticket(db, chain, payer or intent.source))
    if not traits.spends_coins:
        return NOTHING
    with db.read() as conn:
        free = free_coins(conn, traits.chain, intent.source)
        final = final_coins(conn, traits.chain, free)
    try:
        return Means(coins=tuple(chain.choose(intent, final, rate=rate)))
    except Refused as refused:
        if refused.reason is not Reason.EXCEEDS_AVAILABLE or len(final) == len(free):
            raise
    return Means(coins=tuple(chain.choose(intent, free, rate=rate)))


def free_ticket(db: Database, chain: Chain, sender: str) -> str:
    """Return an open ticket of a sender that no spend of ours waits for.

    Unavailable: no_ticket_free, or the node does not say.
    """
    listed = chain.tickets(sender, chain.head())
    with db.read() as conn:
        for ticket in listed:
            if is_free(conn, chain.traits.chain, ticket):
                return ticket
    raise Unavailable("no_ticket_free", retry_after_ms=5_000)


def is_free(conn: sa.Connection, chain: ChainId, ticket: str) -> bool:
    """Return whether nobody holds a ticket, nor waits for what it is the value of."""
    if claims.holder_of(conn, chain, ticket) is not None:
        return False
    waiting = {account_of(one) for one in claims.held_in_flight(conn, chain)}
    return account_of(ticket) not in waiting


def take(conn: sa.Connection, spend: Spend, wanted: Means) -> None:
    """Give a spend what it is to use, in the transaction that plans it or its replacement.

    Refused: in_progress (it went to another spend meanwhile, or a block has used it).
    """
    final = chain_state.state(conn, spend.chain).final if wanted.coins else None
    height = -1 if final is None else final.height
    for coin in wanted.coins:
        found = inventory.get(conn, spend.chain, coin.outpoint)
        if found is None or found.coin != coin or found.used_height is not None:
            raise Refused(Reason.IN_PROGRESS, f"{coin.outpoint} is not there any more")
        if found.height > height and not is_lasting(conn, spend.chain, coin.outpoint):
            raise Refused(Reason.IN_PROGRESS, f"{coin.outpoint} may fall out of the chain")
    if wanted.ticket and not is_free(conn, spend.chain, wanted.ticket):
        raise Refused(Reason.IN_PROGRESS, f"{wanted.ticket} is waited for")
    claims.take(conn, spend.chain, spend.spend_id, wanted.claims)


def cost_of(chain: Chain, intent: SpendIntent, rate: FeeRate, coins: Sequence[Coin] = ()) -> int:
    """Return the most native units that a transaction costs: by its size, and at any rate.

    Unavailable: it would fail as a whole.
    """
    return chain.fee_units(intent, coins) * rate.max_rate + chain.fee_extra(intent)
