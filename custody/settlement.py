"""The projector: tails the journal's blocks and books them.

So that the books equal the engine at a sequence.

One step posts whole blocks in one transaction together with (epoch, sequence, hash). The update of
that row is conditional on what was read, so a second projector or an old leader can never book
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import sqlalchemy as sa

from core.errors import Corrupt, OutcomeUnknown
from core.ids import CustomerNo, DepositId, WithdrawalId
from custody import (
    audit_log,
    catalogue,
    deposit_rows,
    deposits,
    funding,
    lease,
    order_history,
    velocity,
)
from custody.db import Bytes, Database, Int64, table
from custody.funding import FundingKind
from custody.ledger import templates
from custody.ledger.records import Transfer
from custody.ledger.transfers import post
from custody.withdrawals import inside, workflow
from engine.market import Market, fill_amounts
from engine.types import (
    GENESIS_HASH,
    AppliedBlock,
    Captured,
    Credited,
    Debited,
    Event,
    FundingRefused,
    Held,
    MarketAdded,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReduced,
    OrderReplaced,
    Projected,
    Released,
    Trade,
)

BLOCKS_MAX = 64

projector = table(
    "projector",
    sa.Column("projector_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("epoch", Int64, nullable=False),
    sa.Column("sequence", Int64, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.CheckConstraint("projector_no = 1", name="only_one"),
)


class EventLog(Protocol):
    """What settlement needs of the engine's event log."""

    def blocks_after(self, sequence: int, limit: int) -> Sequence[AppliedBlock]:
        """Return durable blocks whose first sequence is above a sequence, in order."""
        ...

    def mark_projected(self, sequence: int) -> None:
        """Let go of blocks up to a sequence."""
        ...


@dataclass(slots=True)
class _Books:
    """What one step gathers before it writes: transfers of many blocks go out in one posting."""

    conn: sa.Connection
    markets: dict[int, Market]
    now_ns: int
    transfers: list[Transfer] = field(default_factory=list)


def position(conn: sa.Connection) -> Projected:
    """Return how far the books have followed; (0, 0, genesis) before the first block."""
    row = conn.execute(sa.select(projector)).one_or_none()
    if row is None:
        return Projected(epoch=0, sequence=0, hash=GENESIS_HASH)
    return Projected(epoch=row.epoch, sequence=row.sequence, hash=row.hash)


def step(
    db: Database, log: EventLog, *, blocks_max: int = BLOCKS_MAX, epoch: int | None = None
) -> int:
    """Book the next durable blocks; return how many.

    With an epoch, only while it is the newest one: LeaseLost. Corrupt when journal and books do not
    connect.
    """
    with db.read() as conn:
        before = position(conn)
    blocks = log.blocks_after(before.sequence, blocks_max)
    if not blocks:
        return 0
    if blocks[0].first_sequence != before.sequence + 1 or blocks[0].epoch < before.epoch:
        raise Corrupt(
            f"the journal goes on at {blocks[0].first_sequence}, the books are at {before}"
        )
    after = blocks[-1].projected

    frees = any(isinstance(event, FundingRefused) for block in blocks for event in block.events)

    def book(conn: sa.Connection) -> None:
        if frees:  # first, or whoever asks for a withdrawal meanwhile makes this run again
            velocity.take_turn(conn)
        if epoch is not None:
            lease.still_held(conn, epoch)
        _move(conn, before, after)
        markets = {int(row.market_no): _market(row) for row in catalogue.all_markets(conn)}
        for block in blocks:
            _book_block(_Books(conn, markets, block.time_ns), block)

    try:
        db.run(book)
    except OutcomeUnknown:
        with db.read() as conn:
            if position(conn) == before:
                raise
    log.mark_projected(after.sequence)
    return len(blocks)


def _move(conn: sa.Connection, before: Projected, after: Projected) -> None:
    values = {"epoch": after.epoch, "sequence": after.sequence, "hash": after.hash}
    if before.sequence == 0:
        conn.execute(projector.insert().values(projector_no=1, **values))
        return
    moved = conn.execute(
        projector.update()
        .where(
            projector.c.epoch == before.epoch,
            projector.c.sequence == before.sequence,
            projector.c.hash == before.hash,
        )
        .values(**values)
    )
    if moved.rowcount != 1:
        raise Corrupt("another projector has moved the books")


def _market(row: catalogue.MarketRow) -> Market:
    return Market(
        market_no=row.market_no,
        base_asset_no=row.base_asset_no,
        quote_asset_no=row.quote_asset_no,
        tick_minor=row.tick_minor,
        lot_minor=row.lot_minor,
        maker_ppm=row.maker_ppm,
        taker_ppm=row.taker_ppm,
    )


def _book_block(books: _Books, block: AppliedBlock) -> None:
    n_of: dict[int, int] = {}
    for event in block.events:
        n = n_of[event.sequence] = n_of.get(event.sequence, -1) + 1
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(books, event, n)
    post(books.conn, books.transfers)


def _credited(books: _Books, event: Credited, n: int) -> None:
    row = funding.by_number(books.conn, event.number)
    if row.kind is FundingKind.RECEIVE:
        _received(books, event, n, row.cause_id)
        return
    deposit = deposit_rows.get(books.conn, DepositId(row.cause_id))
    books.transfers += templates.deposit_credited(
        sequence=event.sequence, n=n, customer_no=event.customer_no, asset_no=event.asset_no,
        amount=event.amount, wallet=deposit.account, deposit_id=row.cause_id,
    )  # fmt: skip
    funding.settle(books.conn, event.number, sequence=event.sequence)
    deposits.mark_credited(books.conn, deposit.deposit_id)


def _received(books: _Books, event: Credited, n: int, withdrawal_id: str) -> None:
    inside_transfer = inside.booked(books.conn, withdrawal_id, receiver_no=event.customer_no)
    books.transfers += templates.withdrawal_received(
        sequence=event.sequence, n=n, customer_no=event.customer_no, asset_no=event.asset_no,
        amount=event.amount, wallet=inside.WALLET, withdrawal_id=withdrawal_id,
    )  # fmt: skip
    if (inside_transfer.asset_no, inside_transfer.amount) != (event.asset_no, event.amount):
        raise Corrupt(f"{withdrawal_id} pays {inside_transfer} and credits {event.amount}")
    funding.settle(books.conn, event.number, sequence=event.sequence)


def _debited(books: _Books, event: Debited, n: int) -> None:
    row = funding.by_number(books.conn, event.number)
    deposit = deposit_rows.get(books.conn, DepositId(row.cause_id))
    books.transfers += templates.deposit_reversed(
        sequence=event.sequence, n=n, customer_no=event.customer_no, asset_no=event.asset_no,
        taken=event.amount_taken, shortfall=event.shortfall, wallet=deposit.account,
        deposit_id=row.cause_id,
    )  # fmt: skip
    funding.settle(books.conn, event.number, sequence=event.sequence, shortfall=event.shortfall)
    deposits.mark_reversed(books.conn, deposit.deposit_id)
    if event.shortfall:
        catalogue.freeze_customer(
            books.conn, CustomerNo(event.customer_no), f"receivable of {row.cause_id}"
        )
        audit_log.record(
            books.conn, actor="platform", action="customer.freeze",
            subject=f"customer:{event.customer_no}",
            detail={"receivable_of": row.cause_id, "shortfall": str(event.shortfall)},
            at_ns=books.now_ns,
        )  # fmt: skip


def _held(books: _Books, event: Held, n: int) -> None:
    row = funding.by_number(books.conn, event.number)
    books.transfers += templates.withdrawal_held(
        sequence=event.sequence, n=n, customer_no=event.customer_no, asset_no=event.asset_no,
        amount=event.amount, withdrawal_id=row.cause_id,
    )  # fmt: skip
    funding.settle(books.conn, event.number, sequence=event.sequence)
    workflow.on_held(books.conn, WithdrawalId(row.cause_id), now_ns=books.now_ns)


def _captured(books: _Books, event: Captured, n: int) -> None:
    row = funding.by_number(books.conn, event.number)
    paid = workflow.paid_of(books.conn, WithdrawalId(row.cause_id))
    books.transfers += templates.withdrawal_captured(
        sequence=event.sequence, n=n, customer_no=event.customer_no, asset_no=event.asset_no,
        amount=paid.amount, fee=paid.fee, wallet=paid.wallet, withdrawal_id=row.cause_id,
    )  # fmt: skip
    if paid.amount + paid.fee != event.amount:
        raise Corrupt(f"{row.cause_id} holds {event.amount} and pays {paid}")
    funding.settle(books.conn, event.number, sequence=event.sequence)


def _released(books: _Books, event: Released, n: int) -> None:
    row = funding.by_number(books.conn, event.number)
    books.transfers += templates.withdrawal_released(
        sequence=event.sequence, n=n, customer_no=event.customer_no, asset_no=event.asset_no,
        amount=event.amount, withdrawal_id=row.cause_id,
    )  # fmt: skip
    funding.settle(books.conn, event.number, sequence=event.sequence)


def _funding_refused(books: _Books, event: FundingRefused, _n: int) -> None:
    row = funding.by_number(books.conn, event.number)
    reason = event.reason.name.lower()
    funding.settle(books.conn, event.number, sequence=event.sequence, reason=reason)
    if row.kind is FundingKind.CREDIT:
        deposits.mark_refused(books.conn, DepositId(row.cause_id), reason)
    elif row.kind is FundingKind.HOLD:
        workflow.on_refused(
            books.conn, WithdrawalId(row.cause_id), reason=reason, now_ns=books.now_ns
        )
    else:
        raise Corrupt(f"the engine refused {row.kind} of {row.cause_id}: {reason}")


def _traded(books: _Books, event: Trade, n: int) -> None:
    market = books.markets[event.market_no]
    amounts = fill_amounts(event, market)
    books.transfers += templates.trade_fill(
        sequence=event.sequence, n=n, base_asset_no=market.base_asset_no,
        quote_asset_no=market.quote_asset_no, buyer_no=amounts.buyer_customer_no,
        seller_no=amounts.seller_customer_no, base_minor=amounts.base_minor,
        quote_minor=amounts.quote_minor, buyer_fee_base=amounts.buyer_fee_base,
        seller_fee_quote=amounts.seller_fee_quote,
    )  # fmt: skip
    order_history.traded(books.conn, event, n, amounts)


def _accepted(books: _Books, event: OrderAccepted, _n: int) -> None:
    order_history.accepted(books.conn, event)


def _order_changed(
    books: _Books, event: OrderReduced | OrderReplaced | OrderFilled | OrderCancelled, _n: int
) -> None:
    order_history.changed(books.conn, event)


def _market_added(books: _Books, event: MarketAdded, _n: int) -> None:
    if event.market_no not in books.markets:
        raise Corrupt(f"the journal opened market {event.market_no}, which is not listed")


_HANDLERS: dict[type[Event], Callable[..., None]] = {
    Credited: _credited,
    Debited: _debited,
    Held: _held,
    Captured: _captured,
    Released: _released,
    FundingRefused: _funding_refused,
    Trade: _traded,
    OrderAccepted: _accepted,
    OrderReduced: _order_changed,
    OrderReplaced: _order_changed,
    OrderFilled: _order_changed,
    OrderCancelled: _order_changed,
    MarketAdded: _market_added,
}
