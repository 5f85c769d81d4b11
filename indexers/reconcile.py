"""Compare the node's balances with the books at one final block; every residual is listed by id.

    on chain at the final block = books + residuals        (I5)

Whatever this equation leaves over is unexplained and opens an incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from chains.base import NATIVE, BlockRef, Chain
from core.clock import Clock
from core.errors import Unavailable
from core.ids import AssetNo, ChainId
from custody import catalogue, chain_state, residuals
from custody.catalogue import Asset
from custody.db import Database
from custody.residuals import Residual
from custody.wallets import addresses, coins, inventory
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
class Stray:
    """An address whose coins, as we followed them, are not what the node says it holds."""

    address: str
    on_chain: int
    coins: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison of one chain at one final block."""

    chain: ChainId
    at: BlockRef
    lines: tuple[Line, ...]
    strays: tuple[Stray, ...] = ()

    @property
    def holds(self) -> bool:
        """Return whether every difference is explained."""
        return not self.strays and all(line.unexplained == 0 for line in self.lines)

    @property
    def unexplained(self) -> list[str]:
        """Return what nothing explains, in words that name it."""
        return [
            f"{line.account} asset {line.asset_no}: {line.unexplained}"
            for line in self.lines
            if line.unexplained
        ] + [f"coins of {one.address}: {one.on_chain - one.coins}" for one in self.strays]


@dataclass(frozen=True, slots=True)
class _Books:
    at: BlockRef
    assets: Sequence[Asset]
    own: Sequence[Address]
    balances: Mapping[tuple[str, AssetNo], int]
    residuals: Sequence[Residual]
    coins: Mapping[str, int]
    """What the coins of each address come to at the block, as we followed them."""


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
        books = _read(conn, chain_id, statuses, gas_pays=chain.traits.uses_tickets)
    if books.at != at:
        raise Unavailable(f"{chain_id} went on while it was reconciled", retry_after_ms=1_000)
    on_chain: dict[tuple[str, AssetNo], int] = {}
    strays: list[Stray] = []
    for asset in books.assets:
        found = chain.balances_of([own.address for own in books.own], asset.spec.key, at)
        for own in books.own:
            key = (own.account, asset.asset_no)
            on_chain[key] = on_chain.get(key, 0) + found[own.address]
        if chain.traits.spends_coins and asset.spec.key == NATIVE:
            strays = _strays(books, found)
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
    return Reconciliation(chain_id, at, tuple(lines), tuple(strays))


def step(db: Database, chain: Chain, *, clock: Clock) -> Reconciliation:
    """Reconcile and open an incident when something is unexplained."""
    result = reconcile(db, chain)
    for detail in result.unexplained:
        report = partial(
            chain_state.open_incident,
            chain=result.chain,
            kind="unexplained_balance",
            detail=detail,
            now_ns=clock.now_ns(),
            each=True,
        )
        db.run(report)
    return result


def _strays(books: _Books, found: Mapping[str, int]) -> list[Stray]:
    return [
        Stray(own.address, found[own.address], books.coins.get(own.address, 0))
        for own in books.own
        if found[own.address] != books.coins.get(own.address, 0)
    ]


def _final(conn: sa.Connection, chain_id: ChainId) -> BlockRef:
    final = chain_state.state(conn, chain_id).final
    if final is None:
        raise Unavailable(f"nothing is final on {chain_id} yet", retry_after_ms=10_000)
    return final


def _read(
    conn: sa.Connection, chain_id: ChainId, statuses: residuals.Statuses, *, gas_pays: bool
) -> _Books:
    at = _final(conn, chain_id)
    return _Books(
        at=at,
        assets=[a for a in catalogue.all_assets(conn) if a.chain == chain_id],
        own=addresses.all_of(conn, chain_id),
        balances=inventory.custody_balances(conn),
        residuals=residuals.residuals(conn, chain_id, at, statuses, gas_pays=gas_pays),
        coins=coins.held_at(conn, chain_id, at.height),
    )
