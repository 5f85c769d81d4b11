"""Group approved withdrawals of one asset into one transaction, where the hot wallet can.

Only when at least two wait. Where coins are spent they are outputs of one transaction, which
happens as a whole or not at all; elsewhere an account runs code that pays each for itself. What
would fail today is left out by a simulation beforehand and paid alone, as is what was in a batch
before that had to be cancelled: so nothing can keep others from being paid, again and again. A
token known to lie is never batched, nor is native coin where that costs more than payments alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from chains.base import NATIVE, Chain, SpendIntent, SpendItem, SpendKind
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import AssetNo, derived_id
from custody import catalogue, chain_state
from custody.catalogue import Asset
from custody.db import Database
from custody.keys.roster import Roster
from custody.spending import batch_items, drive, means, plan
from custody.spending.drive import Note, Problem
from custody.spending.means import Means
from custody.spending.rows import Spend
from custody.wallets import addresses
from custody.wallets.addresses import Address
from custody.wallets.inventory import HOT
from custody.withdrawals import approvals, execute, states
from custody.withdrawals.releasing import Gate, Ready
from custody.withdrawals.states import Withdrawal, WithdrawalVerb
from custody.withdrawals.terms import WithdrawalTerms

ITEMS_MAX = 50
"""Withdrawals in one batch; also its bound of gas, since each has its own."""
LOOKED_AT_MAX = 200
"""Approved withdrawals that one step may look at."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that may be planned: its withdrawals in the order of the requests."""

    rows: tuple[Withdrawal, ...]
    intent: SpendIntent
    means: Means
    """The coins or the ticket that it takes."""


def step(
    db: Database,
    chain: Chain,
    *,
    roster: Roster,
    terms: WithdrawalTerms,
    clock: Clock,
    note: Note,
) -> int:
    """Plan one batch for every asset of which at least two withdrawals wait; return how many.

    Of the oldest approved withdrawals of the hot wallet whose delay is over. What cannot be batched
    now is left as it is, for the road of single payments.
    """
    most = min(chain.traits.batch_max, ITEMS_MAX)
    if most < 2:
        return 0
    chain_id, may = chain.traits.chain, Gate(roster, terms, clock)
    with db.read() as conn:
        if chain_state.state(conn, chain_id).frozen:
            return 0
        source = addresses.own_wallet(conn, chain_id, HOT)
    approved = execute.approved(db, chain_id, wallet=HOT, now_ns=clock.now_ns())
    planned = 0
    for asset_no, rows in _by_asset(islice(approved, LOOKED_AT_MAX)).items():
        if len(rows) < 2:
            continue
        with db.read() as conn:
            asset = catalogue.asset(conn, asset_no)
            fresh = [row for row in rows if not batch_items.ever(conn, row.withdrawal_id)]
        costs_more = asset.spec.key == NATIVE and not chain.traits.batches_coin
        if asset.spec.odd or costs_more or len(fresh) < 2:
            continue
        try:
            plan.open_lane(db, chain, source.address)
            ready = [row for row in fresh if _may_go(db, row, may, note)][:most]
            planned += _plan(db, chain, ready, source, asset, may)
        except (Refused, Unavailable) as error:
            note(Problem(f"batch of {asset.spec.symbol}", str(error)))
    return planned


def _by_asset(waiting: Iterable[Withdrawal]) -> dict[AssetNo, list[Withdrawal]]:
    found: dict[AssetNo, list[Withdrawal]] = {}
    for row in waiting:
        found.setdefault(row.asset_no, []).append(row)
    return found


def _may_go(db: Database, row: Withdrawal, may: Gate, note: Note) -> bool:
    try:
        return may.look(db, row)
    except (Refused, Unavailable) as error:
        note(Problem(row.withdrawal_id, str(error)))
        return False


def intent_of(rows: Sequence[Withdrawal], *, source: str, asset_key: str) -> SpendIntent:
    """Return the one spend that carries out several withdrawals; its ids follow from theirs.

    It may cost what the most careful of them allows for each.
    """
    approved = [approvals.intent_of(row) for row in rows]
    batch_id = derived_id("batch", *(row.withdrawal_id for row in rows))
    return SpendIntent(
        spend_id=derived_id("spend", batch_id),
        kind=SpendKind.BATCH,
        cause_id=batch_id,
        chain=rows[0].chain,
        network=approved[0].network,
        asset_key=asset_key,
        source=source,
        destination=source,
        amount=sum(row.amount for row in rows),
        fee_max=len(rows) * min(one.network_fee_max for one in approved),
        items=tuple(SpendItem(row.withdrawal_id, row.destination, row.amount) for row in rows),
    )


def affordable(
    rows: Sequence[Withdrawal], free: int, *, fee_each: int, asset_is_native: bool
) -> list[Withdrawal]:
    """Return the withdrawals that an amount pays for, each before the later ones. Pure.

    free: minor units of the asset that nothing else takes; of native coin fees come out of it too.
    """
    chosen = []
    for row in rows:
        takes = row.amount + (fee_each if asset_is_native else 0)
        if takes <= free:
            chosen.append(row)
            free -= takes
    return chosen


def _plan(
    db: Database,
    chain: Chain,
    rows: Sequence[Withdrawal],
    source: Address,
    asset: Asset,
    may: Gate,
) -> int:
    """Plan one batch of what may go. Returns 0 where that is fewer than two."""
    with db.read() as conn:
        flying = drive.in_flight(conn, asset.chain)
        nonce = plan.next_nonce(conn, asset.chain, source.address)
    batch = _compose(db, chain, rows, source, asset, flying)
    if batch is None:
        return 0
    db.run(lambda conn: _reserve(conn, batch, source, nonce, may))
    return len(batch.rows)


def _compose(
    db: Database,
    chain: Chain,
    rows: Sequence[Withdrawal],
    source: Address,
    asset: Asset,
    flying: Sequence[Spend],
) -> Batch | None:
    """Return the batch of what the wallet can pay now and the chain would carry out today."""
    key = asset.spec.key
    held = execute.purse_of(chain, source.address, key, asset.chain, flying, db=db)
    fees = [approvals.intent_of(row).network_fee_max for row in rows]
    chosen = affordable(
        rows,
        held.asset - held.reserved_asset if key != NATIVE else held.native - held.reserved_native,
        fee_each=max(fees, default=0),
        asset_is_native=key == NATIVE,
    )
    if len(chosen) < 2:
        return None
    paid = chain.payable_items(intent_of(chosen, source=source.address, asset_key=key))
    chosen = [row for row, is_paid in zip(chosen, paid, strict=True) if is_paid]
    if len(chosen) < 2:
        return None
    intent = intent_of(chosen, source=source.address, asset_key=key)
    taken = execute.means_of(db, chain, intent)
    if means.cost_of(chain, intent, chain.fee_rate(), taken.coins) > intent.fee_max:
        return None  # a payment alone has less to reserve: it may fit under the cap
    if key != NATIVE and held.native - held.reserved_native < intent.fee_max:
        return None
    return Batch(tuple(chosen), intent, taken)


def _reserve(
    conn: sa.Connection, batch: Batch, source: Address, nonce: int | None, may: Gate
) -> None:
    """Take the nonce and move every withdrawal on, in one transaction, or none of it."""
    for row in batch.rows:
        found = may.release(conn, row)
        if found.ready is not Ready.GO:
            raise Refused(Reason.IN_PROGRESS, f"{row.withdrawal_id}: {found.ready} {found.why}")
        states.advance(conn, found.row, WithdrawalVerb.PLAN, now_ns=may.clock.now_ns())
    intent = batch.intent
    if plan.next_nonce(conn, intent.chain, source.address) != nonce:
        raise Refused(Reason.IN_PROGRESS, "another payment was planned from the same purse")
    spend = plan.reserve(
        conn, intent, source=source, asset_no=batch.rows[0].asset_no, destination_account=None,
        now_ns=may.clock.now_ns(), claims=batch.means,
    )  # fmt: skip
    batch_items.add(conn, spend.spend_id, intent.items)
