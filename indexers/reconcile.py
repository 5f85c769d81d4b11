"""Compare the node's balances with the books at one final block.

Every residual is listed by id (I5).

    on chain at the final block = books - posted, not yet on chain + on chain, not yet posted

Whatever this equation leaves over is unexplained and opens an incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from chains.base import BlockRef, Chain, SpendKind
from core.clock import Clock
from core.errors import Unavailable
from core.ids import AssetNo, ChainId
from custody import catalogue, chain_state, deposit_rows
from custody.catalogue import Asset
from custody.db import Database
from custody.deposit_rows import Deposit, DepositState
from custody.spending import rows
from custody.spending.rows import Attempt, Spend, SpendState
from custody.wallets import addresses, inventory

DEPOSITS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Residual:
    """One known difference between chain and books.

    Signed minor units the chain has more than the books.
    """

    account: str
    asset_no: AssetNo
    cause_id: str
    why: str
    amount: int


@dataclass(frozen=True, slots=True)
class Line:
    """One wallet and asset: unexplained = on_chain - books - sum of residuals.

    Zero when I5 holds.
    """

    account: str
    asset_no: AssetNo
    on_chain: int
    books: int
    residuals: tuple[Residual, ...]

    @property
    def unexplained(self) -> int:
        """Return what no residual explains."""
        return self.on_chain - self.books - sum(residual.amount for residual in self.residuals)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison of one chain at one final block."""

    chain: ChainId
    at: BlockRef
    lines: tuple[Line, ...]

    @property
    def holds(self) -> bool:
        """Return whether every difference is explained."""
        return all(line.unexplained == 0 for line in self.lines)


@dataclass(frozen=True, slots=True)
class _Books:
    at: BlockRef
    assets: Mapping[AssetNo, Asset]
    native_no: AssetNo
    accounts: Sequence[addresses.Address]
    books: Mapping[tuple[str, AssetNo], int]
    deposits: Sequence[Deposit]
    spends: Sequence[tuple[Spend, Sequence[Attempt]]]


@dataclass(slots=True)
class _Ledgerless:
    residuals: list[Residual] = field(default_factory=list)

    def add(self, account: str, asset_no: AssetNo, cause_id: str, why: str, amount: int) -> None:
        if amount:
            self.residuals.append(Residual(account, asset_no, cause_id, why, amount))


def reconcile(db: Database, chain: Chain) -> Reconciliation:
    """Compare a chain with the books at our final block.

    Unavailable: nothing is final yet, or a node fails.
    """
    with db.read() as conn:
        books = _read(conn, chain.traits.chain)
    on_chain: dict[tuple[str, AssetNo], int] = {}
    for own in books.accounts:
        for asset in books.assets.values():
            key = (own.account, asset.asset_no)
            balance = chain.balance_of(own.address, asset.spec.key, books.at)
            on_chain[key] = on_chain.get(key, 0) + balance
    residuals = _residuals(chain, books)
    lines = [
        Line(
            account=account,
            asset_no=asset_no,
            on_chain=held,
            books=books.books.get((account, asset_no), 0),
            residuals=tuple(r for r in residuals if (r.account, r.asset_no) == (account, asset_no)),
        )
        for (account, asset_no), held in sorted(on_chain.items())
    ]
    return Reconciliation(chain.traits.chain, books.at, tuple(lines))


def step(db: Database, chain: Chain, *, clock: Clock) -> Reconciliation:
    """Reconcile and open an incident when something is unexplained."""
    result = reconcile(db, chain)
    for line in result.lines:
        if line.unexplained:
            detail = (
                f"{line.account} asset {line.asset_no}: {line.unexplained} at {result.at.height}"
            )
            report = partial(
                chain_state.open_incident,
                chain=result.chain,
                kind="unexplained_balance",
                detail=detail,
                now_ns=clock.now_ns(),
            )
            db.run(report)
    return result


def _read(conn: sa.Connection, chain_id: ChainId) -> _Books:
    at = chain_state.state(conn, chain_id).final
    if at is None:
        raise Unavailable(f"nothing is final on {chain_id} yet", retry_after_ms=10_000)
    assets = {a.asset_no: a for a in catalogue.all_assets(conn) if a.chain == chain_id}
    return _Books(
        at=at,
        assets=assets,
        native_no=catalogue.native_asset(conn, chain_id).asset_no,
        accounts=addresses.all_of(conn, chain_id),
        books=inventory.custody_balances(conn),
        deposits=deposit_rows.list_deposits(conn, chain=chain_id, limit=DEPOSITS_MAX),
        spends=[
            (spend, rows.attempts(conn, spend.spend_id)) for spend in rows.all_of(conn, chain_id)
        ],
    )


def _residuals(chain: Chain, books: _Books) -> list[Residual]:
    out = _Ledgerless()
    for deposit in books.deposits:
        _of_deposit(out, deposit, books.at)
    for spend, attempts in books.spends:
        _of_spend(out, chain, spend, attempts, books)
    return out.residuals


def _of_deposit(out: _Ledgerless, deposit: Deposit, at: BlockRef) -> None:
    if deposit.asset_no is None or deposit.state is DepositState.ORPHANED:
        return
    arrived = deposit.amount if deposit.block.height <= at.height else 0
    own_wallet = deposit.customer_no is None and deposit.state is DepositState.UNATTRIBUTED
    posted = deposit.amount if deposit.state is DepositState.CREDITED or own_wallet else 0
    why = "arrived_not_posted" if arrived > posted else "posted_not_arrived"
    out.add(deposit.account, deposit.asset_no, deposit.deposit_id, why, arrived - posted)


def _of_spend(
    out: _Ledgerless,
    chain: Chain,
    spend: Spend,
    attempts: Sequence[Attempt],
    books: _Books,
) -> None:
    """Compare what a spend moved on chain by the final block with what the books say."""
    if spend.state in (SpendState.PLANNED, SpendState.SIGNED):
        return
    moved, fee = _on_chain(chain, spend, attempts, books.at)
    ended = spend.state in (SpendState.CONFIRMED, SpendState.FAILED)
    if spend.kind is SpendKind.WITHDRAWAL:
        posted = spend.amount if spend.state is not SpendState.FAILED and not spend.abandoned else 0
    else:
        posted = spend.amount if spend.state is SpendState.CONFIRMED else 0
    fee_posted = (spend.fee_paid or 0) if ended else 0
    out.add(spend.account, spend.asset_no, spend.spend_id, "sent", posted - moved)
    out.add(spend.account, books.native_no, spend.spend_id, "network_fee", fee_posted - fee)
    if spend.destination_account is not None:
        out.add(
            spend.destination_account, spend.asset_no, spend.spend_id, "received", moved - posted
        )


def _on_chain(
    chain: Chain, spend: Spend, attempts: Sequence[Attempt], at: BlockRef
) -> tuple[int, int]:
    if spend.state in (SpendState.CONFIRMED, SpendState.FAILED) and (
        spend.final_height is not None and spend.final_height <= at.height
    ):
        return (spend.amount if spend.state is SpendState.CONFIRMED else 0), spend.fee_paid or 0
    for attempt in attempts:
        status = chain.tx_status(attempt.tx_id)
        if status.block is not None and status.block.height <= at.height:
            moved = 0 if attempt.cancels or not status.succeeded else status.effect_amount
            return moved, status.fee
    return 0, 0
