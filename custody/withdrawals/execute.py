"""Plan approved withdrawals onto the hot wallet's lane, coins or tickets.

As long as the wallet can really pay them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import NATIVE, BlockRef, Chain, SpendIntent, SpendKind
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, derived_id
from custody import catalogue, chain_state
from custody.db import Database
from custody.keys.roster import Roster
from custody.spending import claims, drive, means, plan
from custody.spending.drive import Note, Problem
from custody.spending.means import Means
from custody.spending.rows import Spend
from custody.wallets import addresses
from custody.wallets.addresses import Address
from custody.wallets.inventory import HOT
from custody.withdrawals import approvals, states
from custody.withdrawals.releasing import Gate, Looked, Ready
from custody.withdrawals.states import Withdrawal, WithdrawalState, WithdrawalVerb
from custody.withdrawals.terms import WithdrawalTerms

BATCH_MAX = 20
"""Withdrawals read at once; every approved one is looked at until enough are planned."""
PLANNED_MAX = 20
"""Withdrawals planned in one step: they are signed and sent before more are planned.

Otherwise nothing of a long queue would be paid before all of it is planned.
"""


@dataclass(frozen=True, slots=True)
class Purse:
    """What a wallet holds of two assets and what its planned spends may still take.

    In minor units.
    """

    asset: int
    native: int
    reserved_asset: int
    reserved_native: int


def decide_payable(purse: Purse, *, amount: int, fee_max: int, asset_is_native: bool) -> str | None:
    """Return None when the wallet can pay, else what is short."""
    free_native = purse.native - purse.reserved_native
    if asset_is_native:
        return None if free_native >= amount + fee_max else "hot_wallet_short"
    if purse.asset - purse.reserved_asset < amount:
        return "hot_wallet_short"
    return None if free_native >= fee_max else "hot_wallet_short_of_fees"


def step(
    db: Database,
    chain: Chain,
    *,
    roster: Roster,
    terms: WithdrawalTerms,
    clock: Clock,
    note: Note,
) -> int:
    """Plan approved withdrawals in the order they were requested; return how many were planned.

    At most PLANNED_MAX. One that cannot be paid now stays approved and does not stop the others.
    """
    may = Gate(roster, terms, clock)
    chain_id = chain.traits.chain
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
        source = addresses.own_wallet(conn, chain_id, HOT)
    planned = 0
    for row in approved(db, chain_id, wallet=HOT, now_ns=clock.now_ns()):
        try:
            if not may.look(db, row):
                continue
            plan.open_lane(db, chain, source.address)
            _plan(db, chain, row, source, may)
        except (Refused, Unavailable) as error:
            note(Problem(row.withdrawal_id, str(error)))
        else:
            planned += 1
            if planned == PLANNED_MAX:
                break
    return planned


def approved(db: Database, chain_id: ChainId, *, wallet: str, now_ns: int) -> Iterator[Withdrawal]:
    """Yield every approved withdrawal that a wallet pays and whose delay is over, oldest first."""
    after = 0
    while True:
        with db.read() as conn:
            page = states.in_states(
                conn, [WithdrawalState.APPROVED], chain=chain_id, wallet=wallet, after=after,
                limit=BATCH_MAX,
            )  # fmt: skip
        yield from (row for row in page if (row.releasable_at_ns or 0) <= now_ns)
        if len(page) < BATCH_MAX:
            return
        after = page[-1].request_no


def intent_of(row: Withdrawal, *, source: str, asset_key: str) -> SpendIntent:
    """Return the one spend that carries out a withdrawal; its id follows from the withdrawal's."""
    approved = approvals.intent_of(row)
    return SpendIntent(
        spend_id=derived_id("spend", row.withdrawal_id),
        kind=SpendKind.WITHDRAWAL,
        cause_id=row.withdrawal_id,
        chain=row.chain,
        network=approved.network,
        asset_key=asset_key,
        source=source,
        destination=row.destination,
        amount=row.amount,
        fee_max=approved.network_fee_max,
    )


def _plan(db: Database, chain: Chain, row: Withdrawal, source: Address, may: Gate) -> None:
    with db.read() as conn:
        asset = catalogue.asset(conn, row.asset_no)
        waiting = drive.in_flight(conn, row.chain)
        nonce = plan.next_nonce(conn, row.chain, source.address)
    intent = intent_of(row, source=source.address, asset_key=asset.spec.key)
    chosen = means_of(db, chain, intent)
    # It simulates: what would revert is not planned.
    if means.cost_of(chain, intent, chain.fee_rate(), chosen.coins) > intent.fee_max:
        # What cannot be signed must not take a nonce: every later payment would wait for it.
        raise Unavailable("fees_above_cap", retry_after_ms=30_000)
    if not chain.traits.spends_coins:
        short = decide_payable(
            purse_of(chain, source.address, asset.spec.key, row.chain, waiting, db=db),
            amount=row.amount,
            fee_max=intent.fee_max,
            asset_is_native=asset.spec.key == NATIVE,
        )
        if short is not None:
            raise Unavailable(short, retry_after_ms=30_000)

    def apply(conn: sa.Connection) -> Looked:
        found = may.release(conn, row)
        if found.ready is not Ready.GO:
            return found
        now_ns = may.clock.now_ns()
        if plan.next_nonce(conn, row.chain, source.address) != nonce:
            raise Refused(Reason.IN_PROGRESS, "another payment was planned from the same purse")
        states.advance(conn, found.row, WithdrawalVerb.PLAN, now_ns=now_ns)
        plan.reserve(
            conn, intent, source=source, asset_no=row.asset_no, destination_account=None,
            now_ns=now_ns, claims=chosen,
        )  # fmt: skip
        return found

    found = db.run(apply)
    if found.ready is not Ready.GO:
        raise Refused(Reason.IN_PROGRESS, f"{found.ready}: {found.why}")


def means_of(db: Database, chain: Chain, intent: SpendIntent) -> Means:
    """Return the coins or the ticket that a payment may take; nothing where nonces are counted.

    Unavailable: hot_wallet_short (the free coins do not pay for it), no_ticket_free.
    """
    try:
        return means.choose(db, chain, intent, rate=chain.fee_rate())
    except Refused as refused:
        if refused.reason is not Reason.EXCEEDS_AVAILABLE:
            raise
        raise Unavailable("hot_wallet_short", retry_after_ms=30_000) from refused


def purse_of(
    chain: Chain,
    address: str,
    asset_key: str,
    chain_id: ChainId,
    waiting: Sequence[Spend],
    *,
    db: Database,
) -> Purse:
    """Return what a wallet holds at the head, and what its spends in flight may still take.

    Where coins are spent: what its free coins hold, of which nothing is taken.
    """
    if chain.traits.spends_coins:
        with db.read() as conn:
            free = sum(coin.amount for coin in means.free_coins(conn, chain_id, address))
        return Purse(free, free, 0, 0)
    head = chain.head()
    mine = [spend for spend in waiting if spend.source == address and spend.chain == chain_id]
    open_spends = _not_included(chain, address, mine, head, db)
    native = chain.balance_of(address, NATIVE, head)
    reserved = {
        key: sum(spend.amount for spend in open_spends if spend.intent.asset_key == key)
        for key in (asset_key, NATIVE)
    }
    return Purse(
        asset=native if asset_key == NATIVE else chain.balance_of(address, asset_key, head),
        native=native,
        reserved_asset=reserved[asset_key],
        reserved_native=reserved[NATIVE] + sum(spend.intent.fee_max for spend in open_spends),
    )


def _not_included(
    chain: Chain, address: str, mine: Sequence[Spend], head: BlockRef, db: Database
) -> list[Spend]:
    """Return the spends that still take from a balance: what the head includes has left it."""
    if not chain.traits.uses_tickets:
        used = chain.used_nonces(address, head)
        return [spend for spend in mine if spend.nonce >= used]
    with db.read() as conn:
        held = {spend.spend_id: claims.of(conn, spend.spend_id) for spend in mine}
    tickets = sorted(ticket for some in held.values() for ticket in some)
    gone = chain.spent_coins(tickets, head) if tickets else frozenset()
    return [spend for spend in mine if gone.isdisjoint(held[spend.spend_id])]
