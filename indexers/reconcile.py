"""Compare the node's balances with the books at one final block; every residual is listed by id.

    on chain at the final block = books + residuals        (I5)

Whatever this equation leaves over is unexplained and opens an incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from chains.base import BlockRef, Chain
from core.clock import Clock
from core.errors import Unavailable
from core.ids import AssetNo, ChainId
from custody import catalogue, chain_state, residuals
from custody.catalogue import Asset
from custody.db import Database
from custody.residuals import Residual
from custody.wallets import addresses, inventory
from custody.wallets.addresses import Address


@dataclass(frozen=True, slots=True)
class Line:
    """One wallet and asset, in minor units; unexplained is zero when I5 holds."""

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
    assets: Sequence[Asset]
    own: Sequence[Address]
    balances: Mapping[tuple[str, AssetNo], int]
    residuals: Sequence[Residual]


def reconcile(db: Database, chain: Chain) -> Reconciliation:
    """Compare a chain with the books at our final block.

    Unavailable: nothing is final yet, the final block moved meanwhile, or a node does not answer.
    """
    chain_id = chain.traits.chain
    with db.read() as conn:
        at = _final(conn, chain_id)
        tx_ids = residuals.open_transactions(conn, chain_id)
    statuses = residuals.ask_statuses(chain, tx_ids)
    with db.read() as conn:
        books = _read(conn, chain_id, statuses)
    if books.at != at:
        raise Unavailable(f"{chain_id} went on while it was reconciled", retry_after_ms=1_000)
    on_chain: dict[tuple[str, AssetNo], int] = {}
    for own in books.own:
        for asset in books.assets:
            key = (own.account, asset.asset_no)
            balance = chain.balance_of(own.address, asset.spec.key, at)
            on_chain[key] = on_chain.get(key, 0) + balance
    lines = [
        Line(
            account=account,
            asset_no=asset_no,
            on_chain=held,
            books=books.balances.get((account, asset_no), 0),
            residuals=tuple(
                residual
                for residual in books.residuals
                if (residual.account, residual.asset_no) == (account, asset_no)
            ),
        )
        for (account, asset_no), held in sorted(on_chain.items())
    ]
    return Reconciliation(chain_id, at, tuple(lines))


def step(db: Database, chain: Chain, *, clock: Clock) -> Reconciliation:
    """Reconcile and open an incident when something is unexplained."""
    result = reconcile(db, chain)
    for line in result.lines:
        if line.unexplained:
            report = partial(
                chain_state.open_incident,
                chain=result.chain,
                kind="unexplained_balance",
                detail=f"{line.account} asset {line.asset_no}: {line.unexplained}",
                now_ns=clock.now_ns(),
                each=True,
            )
            db.run(report)
    return result


def _final(conn: sa.Connection, chain_id: ChainId) -> BlockRef:
    final = chain_state.state(conn, chain_id).final
    if final is None:
        raise Unavailable(f"nothing is final on {chain_id} yet", retry_after_ms=10_000)
    return final


def _read(conn: sa.Connection, chain_id: ChainId, statuses: residuals.Statuses) -> _Books:
    at = _final(conn, chain_id)
    return _Books(
        at=at,
        assets=[a for a in catalogue.all_assets(conn) if a.chain == chain_id],
        own=addresses.all_of(conn, chain_id),
        balances=inventory.custody_balances(conn),
        residuals=residuals.residuals(conn, chain_id, at, statuses),
    )
