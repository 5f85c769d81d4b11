"""Customers, assets and markets: append-only rows whose numbers the engine and the books speak in.

Numbers are allocated here, without gaps, and never reused (rules §2a).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from chains.base import AssetSpec
from core.errors import Corrupt, Reason, Refused
from core.ids import (
    ASSET_NO_LIMIT,
    CUSTOMER_NO_LIMIT,
    MARKET_NO_LIMIT,
    AssetNo,
    ChainId,
    CustomerNo,
    MarketNo,
)
from custody import audit_log
from custody.db import Amount, Flag, Int64, Text, next_number, table

customers = table(
    "customers",
    sa.Column("customer_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("external_id", Text, nullable=False, unique=True),
    sa.Column("frozen", Flag, nullable=False, default=False),
    sa.Column("frozen_reason", Text),
    sa.Column("created_at_ns", Int64, nullable=False),
)

assets = table(
    "assets",
    sa.Column("asset_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("chain", Text, nullable=False),
    sa.Column("asset_key", Text, nullable=False),
    sa.Column("symbol", Text, nullable=False),
    sa.Column("scale", Int64, nullable=False),
    sa.Column("deposit_minimum", Amount, nullable=False),
    sa.Column("withdrawal_minimum", Amount, nullable=False),
    sa.Column("withdrawal_fee", Amount, nullable=False),
    sa.Column("sweep_minimum", Amount, nullable=False),
    sa.Column("odd", Flag, nullable=False),
    sa.UniqueConstraint("chain", "asset_key"),
)

markets = table(
    "markets",
    sa.Column("market_no", Int64, primary_key=True, autoincrement=False),
    sa.Column("name", Text, nullable=False, unique=True),
    sa.Column("base_asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("quote_asset_no", Int64, sa.ForeignKey("assets.asset_no"), nullable=False),
    sa.Column("tick_minor", Amount, nullable=False),
    sa.Column("lot_minor", Amount, nullable=False),
    sa.Column("maker_ppm", Int64, nullable=False),
    sa.Column("taker_ppm", Int64, nullable=False),
    sa.Column("collar_ppm", Int64, nullable=False),
    sa.Column("retired", Flag, nullable=False),
    sa.CheckConstraint("base_asset_no <> quote_asset_no", name="two_assets"),
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A listed asset with its number."""

    asset_no: AssetNo
    spec: AssetSpec

    @property
    def chain(self) -> ChainId:
        """Return the chain the asset lives on."""
        return self.spec.chain


@dataclass(frozen=True, slots=True)
class MarketRow:
    """A market as listed: see engine.market for what the units mean."""

    market_no: MarketNo
    name: str
    base_asset_no: AssetNo
    quote_asset_no: AssetNo
    tick_minor: int
    lot_minor: int
    maker_ppm: int
    taker_ppm: int
    collar_ppm: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer."""

    customer_no: CustomerNo
    external_id: str
    frozen: bool


def add_customer(conn: sa.Connection, external_id: str, *, now_ns: int) -> Customer:
    """Open a customer, or return the one already open under the same external id."""
    existing = customer_by_external_id(conn, external_id)
    if existing is not None:
        return existing
    number = next_number(conn, "customer_no")
    if number >= CUSTOMER_NO_LIMIT:
        raise Corrupt("customer numbers are used up")
    conn.execute(
        customers.insert().values(
            customer_no=number, external_id=external_id, frozen=False, created_at_ns=now_ns
        )
    )
    return Customer(CustomerNo(number), external_id, frozen=False)


def customer_by_external_id(conn: sa.Connection, external_id: str) -> Customer | None:
    """Return the customer with that external id, None when there is none."""
    row = conn.execute(
        sa.select(customers).where(customers.c.external_id == external_id)
    ).one_or_none()
    return None if row is None else Customer(row.customer_no, row.external_id, row.frozen)


def customer(conn: sa.Connection, customer_no: CustomerNo) -> Customer:
    """Return a customer. Refused: unknown_customer."""
    row = conn.execute(
        sa.select(customers).where(customers.c.customer_no == customer_no)
    ).one_or_none()
    if row is None:
        raise Refused(Reason.UNKNOWN_CUSTOMER, str(customer_no))
    return Customer(row.customer_no, row.external_id, row.frozen)


def customers_after(conn: sa.Connection, after: int, *, limit: int) -> list[Customer]:
    """Return customers with a number above `after`, in the order of their numbers."""
    query = (
        sa.select(customers)
        .where(customers.c.customer_no > after)
        .order_by(customers.c.customer_no)
        .limit(limit)
    )
    return [Customer(row.customer_no, row.external_id, row.frozen) for row in conn.execute(query)]


def freeze_customer(conn: sa.Connection, customer_no: CustomerNo, reason: str) -> None:
    """Stop a customer's withdrawals and orders until an officer lifts it."""
    conn.execute(
        customers.update()
        .where(customers.c.customer_no == customer_no)
        .values(frozen=True, frozen_reason=reason)
    )


def list_asset(conn: sa.Connection, spec: AssetSpec, *, now_ns: int = 0) -> Asset:
    """List an asset, or return it when listed; its limits and fee follow the list from now on.

    Refused: exists_with_other_content (scale, oddness).
    """
    row = conn.execute(
        sa.select(assets).where(assets.c.chain == spec.chain, assets.c.asset_key == spec.key)
    ).one_or_none()
    if row is not None:
        found = _asset(row)
        if (found.spec.scale, found.spec.odd) != (spec.scale, spec.odd):
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"{spec.chain} {spec.key}")
        return _with_limits(conn, found, spec, now_ns)
    number = next_number(conn, "asset_no")
    if number >= ASSET_NO_LIMIT:
        raise Corrupt("asset numbers are used up")
    conn.execute(
        assets.insert().values(
            asset_no=number,
            chain=spec.chain,
            asset_key=spec.key,
            symbol=spec.symbol,
            scale=spec.scale,
            deposit_minimum=spec.deposit_minimum,
            withdrawal_minimum=spec.withdrawal_minimum,
            withdrawal_fee=spec.withdrawal_fee,
            sweep_minimum=spec.sweep_minimum,
            odd=spec.odd,
        )
    )
    return Asset(AssetNo(number), spec)


def all_assets(conn: sa.Connection) -> list[Asset]:
    """Return every listed asset in the order of its number."""
    return [_asset(row) for row in conn.execute(sa.select(assets).order_by(assets.c.asset_no))]


def asset(conn: sa.Connection, asset_no: AssetNo) -> Asset:
    """Return a listed asset. Refused: unknown_asset."""
    row = conn.execute(sa.select(assets).where(assets.c.asset_no == asset_no)).one_or_none()
    if row is None:
        raise Refused(Reason.UNKNOWN_ASSET, str(asset_no))
    return _asset(row)


def asset_by_key(conn: sa.Connection, chain: ChainId, asset_key: str) -> Asset | None:
    """Return the asset listed under (chain, key), None when it is not listed."""
    row = conn.execute(
        sa.select(assets).where(assets.c.chain == chain, assets.c.asset_key == asset_key)
    ).one_or_none()
    return None if row is None else _asset(row)


def native_asset(conn: sa.Connection, chain: ChainId) -> Asset:
    """Return a chain's own coin. Refused: unknown_asset."""
    found = asset_by_key(conn, chain, "native")
    if found is None:
        raise Refused(Reason.UNKNOWN_ASSET, f"{chain} native")
    return found


def list_market(conn: sa.Connection, row: MarketRow) -> MarketRow:
    """List a market under the next number, or return it when its name is listed.

    Refused: exists_with_other_content when the assets, tick or lot differ.
    """
    listed = market_by_name(conn, row.name)
    if listed is not None:
        same = (listed.base_asset_no, listed.quote_asset_no, listed.tick_minor, listed.lot_minor)
        if same != (row.base_asset_no, row.quote_asset_no, row.tick_minor, row.lot_minor):
            raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, row.name)
        return listed
    number = next_number(conn, "market_no")
    if number >= MARKET_NO_LIMIT:
        raise Corrupt("market numbers are used up")
    values = {c.name: getattr(row, c.name) for c in markets.c if c.name != "market_no"}
    conn.execute(markets.insert().values(market_no=number, **values))
    return _market(conn.execute(sa.select(markets).where(markets.c.market_no == number)).one())


def set_market_terms(conn: sa.Connection, market_no: MarketNo, row: MarketRow) -> None:
    """Change a market's desired fees and collar, or retire it; the engine follows when it is told.

    Refused: market_retired when it is retired and the row is not.
    """
    retired = sa.select(markets.c.retired).where(markets.c.market_no == market_no)
    if conn.execute(retired).scalar_one() and not row.retired:
        raise Refused(Reason.MARKET_RETIRED, row.name)
    names = ("maker_ppm", "taker_ppm", "collar_ppm", "retired")
    conn.execute(
        markets.update()
        .where(markets.c.market_no == market_no)
        .values({name: getattr(row, name) for name in names})
    )


def market_by_name(conn: sa.Connection, name: str) -> MarketRow | None:
    """Return the market listed under a name, None when there is none."""
    row = conn.execute(sa.select(markets).where(markets.c.name == name)).one_or_none()
    return None if row is None else _market(row)


def all_markets(conn: sa.Connection) -> Sequence[MarketRow]:
    """Return every listed market in the order of its number."""
    return [_market(row) for row in conn.execute(sa.select(markets).order_by(markets.c.market_no))]


_LIMITS = (
    "symbol",
    "deposit_minimum",
    "withdrawal_minimum",
    "withdrawal_fee",
    "sweep_minimum",
)


def _with_limits(conn: sa.Connection, found: Asset, spec: AssetSpec, now_ns: int) -> Asset:
    changed = {
        name: getattr(spec, name)
        for name in _LIMITS
        if getattr(spec, name) != getattr(found.spec, name)
    }
    if not changed:
        return found
    conn.execute(assets.update().where(assets.c.asset_no == found.asset_no).values(**changed))
    detail = {name: f"{getattr(found.spec, name)} -> {new}" for name, new in changed.items()}
    audit_log.record(
        conn, actor="operator", action="asset.limits", subject=f"{spec.chain} {spec.key}",
        detail=detail, at_ns=now_ns,
    )  # fmt: skip
    return Asset(found.asset_no, spec)


def _asset(row: sa.Row[tuple[object, ...]]) -> Asset:
    spec = AssetSpec(
        chain=ChainId(row.chain),
        key=row.asset_key,
        symbol=row.symbol,
        scale=row.scale,
        deposit_minimum=row.deposit_minimum,
        withdrawal_minimum=row.withdrawal_minimum,
        withdrawal_fee=row.withdrawal_fee,
        sweep_minimum=row.sweep_minimum,
        odd=row.odd,
    )
    return Asset(AssetNo(row.asset_no), spec)


def _market(row: sa.Row[tuple[object, ...]]) -> MarketRow:
    return MarketRow(**{c.name: getattr(row, c.name) for c in markets.c})
