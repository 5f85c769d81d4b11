"""Deposits: from a payment seen in a block to a credited customer.

And every way it can end otherwise.

    SEEN -> COUNTING -> FINAL -> CREDITED          the natural way; credit at FINAL only
    HELD(reason)  DUST(accumulating)  UNATTRIBUTED(claimable)  ORPHANED  REVERSED

A row's key is (chain, tx id, position, asset key), so a block read twice changes nothing. Nothing
that reached one of our addresses is forgotten: what is not credited stays listed with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import NATIVE, SET_ASIDE, UNEXPLAINED, BlockRef, Payment
from core.errors import Corrupt
from core.ids import ChainId, DepositId, derived_id
from core.money import ENGINE_AMOUNT_LIMIT
from custody import catalogue, chain_state, decided_deposits, funding
from custody.catalogue import Asset
from custody.db import next_number, sum_amount
from custody.decided_deposits import FELL_OUT, REAPPEARED
from custody.deposit_rows import (
    UNDECIDED,
    Deposit,
    DepositState,
    DepositVerb,
    advance,
    deposit_of,
    deposits,
    find,
    get,
)
from custody.funding import FundingKind
from custody.ledger import templates
from custody.ledger.transfers import post
from custody.wallets import addresses, inventory
from custody.wallets.addresses import Address

FINALISE_BATCH_MAX = 500
OWN_WALLET = "own_wallet"
"""Reason of an arrival in one of our own wallets: operators' funding, waiting in suspense."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a final payment becomes, and why."""

    verb: DepositVerb
    reason: str | None = None


def deposit_id_of(chain: ChainId, payment: Payment) -> DepositId:
    """Return the derived id of a payment: the same payment has the same id wherever it is seen."""
    parts = (chain, payment.tx_id, payment.position, payment.asset_key)
    return DepositId(derived_id("dep", *parts))


def deposit_id_of_coin(chain: ChainId, outpoint: str) -> DepositId:
    """Return the id of the payment that made a coin."""
    tx_id, _, position = outpoint.partition(":")
    return DepositId(derived_id("dep", chain, tx_id, position, NATIVE))


def decide_final(deposit: Deposit, asset: Asset | None, *, dust_before: int) -> Decision:
    """Decide what a deposit becomes at finality.

    dust_before: what this customer gathered below the minimum.
    """
    if asset is None:
        return Decision(DepositVerb.SET_ASIDE, "unlisted_asset")
    if deposit.customer_no is None:
        return Decision(DepositVerb.SET_ASIDE, OWN_WALLET)
    if deposit.anomaly in SET_ASIDE:
        return Decision(DepositVerb.SET_ASIDE, deposit.anomaly)
    if deposit.amount == 0:
        return Decision(DepositVerb.HOLD, "not_delivered")
    if deposit.amount >= ENGINE_AMOUNT_LIMIT:
        return Decision(DepositVerb.HOLD, "too_large")
    if dust_before + deposit.amount < asset.spec.deposit_minimum:
        return Decision(DepositVerb.ACCUMULATE, "below_minimum")
    return Decision(DepositVerb.FINALISE)


def observe(
    conn: sa.Connection,
    chain: ChainId,
    block: BlockRef,
    payments: Sequence[Payment],
    *,
    own_tx_ids: frozenset[str],
    now_ns: int,
) -> int:
    """Record the payments of one followed block; return how many rows are new or seen again.

    own_tx_ids: transactions this platform made; what they pay to our own addresses is no deposit.
    """
    changed = 0
    for payment in payments:
        if payment.tx_id in own_tx_ids and payment.anomaly != UNEXPLAINED:
            continue  # nobody paid the rest to us: rent of an account that was closed with it
        owner = addresses.find(conn, chain, payment.to_address)
        if owner is None:
            raise Corrupt(f"{chain} {payment.to_address} was watched but is not ours")
        existing = find(conn, deposit_id_of(chain, payment))
        if existing is None:
            _insert(conn, chain, block, payment, owner, now_ns)
        elif existing.state is DepositState.ORPHANED:
            _see_again(conn, existing, block, payment)
        elif decided_deposits.is_taken_back(conn, existing):
            _reappear(conn, existing, block, now_ns)
        elif existing.block != block:
            _relocate(conn, existing, block, payment, now_ns)
        else:
            continue
        changed += 1
    return changed


def orphan_above(conn: sa.Connection, chain: ChainId, height: int) -> int:
    """Orphan every undecided deposit above a fork point, in order; return how many.

    Deposits already decided stay as they are: the caller has frozen the chain when there are any.
    What was taken back and had reappeared there is gone again.
    """
    conn.execute(
        deposits.update()
        .where(
            deposits.c.chain == chain,
            deposits.c.height > height,
            deposits.c.state == DepositState.REVERSED.value,
            deposits.c.reason == REAPPEARED,
        )
        .values(reason=FELL_OUT)
    )
    query = (
        sa.select(deposits)
        .where(
            deposits.c.chain == chain,
            deposits.c.height > height,
            deposits.c.state.in_([state.value for state in UNDECIDED]),
        )
        .order_by(deposits.c.arrival_no)
    )
    rows = [deposit_of(row) for row in conn.execute(query)]
    for row in rows:
        advance(conn, row, DepositVerb.ORPHAN)
    return len(rows)


def finalise(conn: sa.Connection, chain: ChainId, final: BlockRef, *, now_ns: int) -> int:
    """Decide every undecided deposit that a final block of the followed chain makes final.

    Return how many. A large amount waits for as many final blocks above it as its payment said.

    Credits become funding rows in this transaction; operators' funding of own wallets is booked
    here.
    """
    rows = _undecided_up_to(conn, chain, final.height)
    dust: dict[tuple[int | None, int | None], int] = {}
    for row in rows:
        asset = None if row.asset_no is None else catalogue.asset(conn, row.asset_no)
        whose = (row.customer_no, row.asset_no)
        if whose not in dust:
            dust[whose] = _dust(conn, row)  # once: anybody can send a customer a heap of dust
        decision = decide_final(row, asset, dust_before=dust[whose])
        if decision.verb is DepositVerb.ACCUMULATE:
            dust[whose] += row.amount
        elif decision.verb is DepositVerb.FINALISE:
            dust[whose] = 0
        moved = advance(conn, row, decision.verb, reason=decision.reason)
        if moved.state is DepositState.FINAL:
            _release_dust(conn, row)
            _fund(conn, moved)
        elif decision.reason == OWN_WALLET and asset is not None and moved.amount > 0:
            posted = templates.operator_funding(
                wallet=row.account, kind=inventory.kind_of(row.account),
                asset_no=asset.asset_no, amount=row.amount, deposit_id=row.deposit_id,
            )  # fmt: skip
            post(conn, posted, at_ns=now_ns)
    return len(rows)


def count(conn: sa.Connection, chain: ChainId, *, below: int) -> None:
    """Mark deposits that have at least one block above them as counting."""
    conn.execute(
        deposits.update()
        .where(
            deposits.c.chain == chain,
            deposits.c.state == DepositState.SEEN.value,
            deposits.c.height < below,
        )
        .values(state=DepositState.COUNTING.value)
    )


def mark_credited(conn: sa.Connection, deposit_id: DepositId) -> None:
    """Called by settlement when the engine has credited the deposit."""
    row = get(conn, deposit_id)
    advance(conn, row, DepositVerb.CREDIT, reason=row.reason)


def mark_refused(conn: sa.Connection, deposit_id: DepositId, reason: str) -> None:
    """Called by settlement when the engine refused the credit: the deposit waits for a person."""
    advance(conn, get(conn, deposit_id), DepositVerb.HOLD, reason=reason)


def mark_reversed(conn: sa.Connection, deposit_id: DepositId) -> None:
    """Called by settlement when the engine has taken a reversed deposit back."""
    row = get(conn, deposit_id)
    reason = REAPPEARED if row.reason == REAPPEARED else FELL_OUT
    advance(conn, row, DepositVerb.REVERSE, reason=reason)


def take_back(
    conn: sa.Connection, deposit_id: DepositId, *, recognised: bool = False, now_ns: int
) -> None:
    """Undo a decided deposit that fell out of the chain; the caller has the officers' quorum.

    What was credited is taken back through the engine; what was not is closed at once. A deposit
    between the two (its credit is on the way) is taken back as soon as it is credited: the engine
    takes commands in the order of their funding rows.
    """
    row = get(conn, deposit_id)
    if row.state in (DepositState.CREDITED, DepositState.FINAL):
        if row.customer_no is None or row.asset_no is None:
            raise Corrupt(f"{deposit_id} was credited to nobody")
        funding.put(
            conn,
            FundingKind.DEBIT,
            customer_no=row.customer_no,
            asset_no=row.asset_no,
            amount=row.amount,
            cause_id=deposit_id,
        )
        return
    if row.reason == OWN_WALLET and row.asset_no is not None and row.amount:
        posted = templates.operator_funding_reversed(
            wallet=row.account,
            kind=inventory.kind_of(row.account),
            asset_no=row.asset_no,
            amount=row.amount,
            deposit_id=deposit_id,
            recognised=recognised,
        )
        post(conn, posted, at_ns=now_ns)
    advance(conn, row, DepositVerb.REVERSE, reason=FELL_OUT)


def _undecided_up_to(conn: sa.Connection, chain: ChainId, height: int) -> list[Deposit]:
    query = (
        sa.select(deposits)
        .where(
            deposits.c.chain == chain,
            deposits.c.height + deposits.c.extra_depth <= height,
            deposits.c.state.in_([state.value for state in UNDECIDED]),
        )
        .order_by(deposits.c.arrival_no)
        .limit(FINALISE_BATCH_MAX)
    )
    return [deposit_of(row) for row in conn.execute(query)]


def _is_dust_of(row: Deposit) -> sa.ColumnElement[bool]:
    return sa.and_(
        deposits.c.customer_no == row.customer_no,
        deposits.c.asset_no == row.asset_no,
        deposits.c.state == DepositState.DUST.value,
    )


def _dust(conn: sa.Connection, row: Deposit) -> int:
    if row.customer_no is None or row.asset_no is None:
        return 0
    return conn.execute(
        sa.select(sum_amount(deposits.c.amount)).where(_is_dust_of(row))
    ).scalar_one()


def _release_dust(conn: sa.Connection, row: Deposit) -> None:
    query = sa.select(deposits).where(_is_dust_of(row)).order_by(deposits.c.arrival_no)
    for dust in [deposit_of(found) for found in conn.execute(query)]:
        _fund(conn, advance(conn, dust, DepositVerb.FINALISE))


def _fund(conn: sa.Connection, row: Deposit) -> None:
    if row.customer_no is None or row.asset_no is None:
        raise Corrupt(f"{row.deposit_id} is final without customer or asset")
    funding.put(
        conn,
        FundingKind.CREDIT,
        customer_no=row.customer_no,
        asset_no=row.asset_no,
        amount=row.amount,
        cause_id=row.deposit_id,
    )


def _insert(
    conn: sa.Connection,
    chain: ChainId,
    block: BlockRef,
    payment: Payment,
    owner: Address,
    now_ns: int,
) -> None:
    asset = catalogue.asset_by_key(conn, chain, payment.asset_key)
    conn.execute(
        deposits.insert().values(
            deposit_id=deposit_id_of(chain, payment),
            arrival_no=next_number(conn, "deposit_arrival"),
            chain=chain,
            tx_id=payment.tx_id,
            position=payment.position,
            asset_key=payment.asset_key,
            asset_no=None if asset is None else asset.asset_no,
            address=payment.to_address,
            account=owner.account,
            customer_no=owner.customer_no,
            from_address=payment.from_address,
            amount=payment.amount,
            claimed=payment.claimed,
            anomaly=payment.anomaly,
            height=block.height,
            block_hash=block.hash,
            extra_depth=payment.extra_depth,
            state=DepositState.SEEN.value,
            seen_at_ns=now_ns,
        )
    )


def _reappear(conn: sa.Connection, row: Deposit, block: BlockRef, now_ns: int) -> None:
    """List money that came back after it was taken from its customer; a person decides."""
    decided_deposits.move(conn, row.deposit_id, block)
    conn.execute(
        deposits.update().where(deposits.c.deposit_id == row.deposit_id).values(reason=REAPPEARED)
    )
    chain_state.open_incident(
        conn, row.chain, kind=chain_state.REAPPEARED, detail=row.deposit_id,
        now_ns=now_ns, each=True,
    )  # fmt: skip


def _relocate(
    conn: sa.Connection, row: Deposit, block: BlockRef, payment: Payment, now_ns: int
) -> None:
    """Carry a decided deposit to the block that holds it after a resolved deep reorganisation."""
    if chain_state.hash_at(conn, row.chain, row.block.height) == row.block.hash:
        raise Corrupt(f"{row.deposit_id} is in {row.block} and again in {block}")
    decided_deposits.move(conn, row.deposit_id, block)
    if payment.amount != row.amount:
        chain_state.freeze(
            conn, row.chain, kind="decided_deposit_changed",
            detail=f"{row.deposit_id} was {row.amount} and is {payment.amount}", now_ns=now_ns,
        )  # fmt: skip


def _see_again(conn: sa.Connection, row: Deposit, block: BlockRef, payment: Payment) -> None:
    advance(conn, row, DepositVerb.SEE_AGAIN)
    conn.execute(
        deposits.update()
        .where(deposits.c.deposit_id == row.deposit_id)
        .values(
            height=block.height,
            block_hash=block.hash,
            amount=payment.amount,
            claimed=payment.claimed,
            anomaly=payment.anomaly,
            extra_depth=payment.extra_depth,
        )
    )
