"""Every address of ours: issued once, owned for ever, re-derivable from public keys alone (I15).

An address belongs to one key (account, index). Deposit addresses belong to a customer; the
addresses of our own wallets (`hot`, `gas`, …) belong to the platform and stand in the same table,
so that one look-up answers "is this ours, and whose?".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId, CustomerNo
from custody.db import Int64, Text, table

DEPOSITS = "deposits"
"""The account of customers' deposit addresses; every other account name is an own wallet."""

PublicKeyOf = Callable[[str, int], bytes]
"""(account, index) -> compressed public key, derived from the account's public key only."""
AddressOf = Callable[[bytes], str]
"""Compressed public key -> the chain's canonical address."""

addresses = table(
    "addresses",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("address", Text, primary_key=True),
    sa.Column("account", Text, nullable=False),
    sa.Column("key_index", Int64, nullable=False),
    sa.Column("customer_no", Int64, sa.ForeignKey("customers.customer_no")),
    sa.Column("created_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("chain", "account", "key_index"),
    sa.Index("ix_addresses_customer", "customer_no", "chain"),
    sa.Index("ix_addresses_index", "account", "key_index"),
    sa.CheckConstraint(
        "(account = 'deposits') = (customer_no IS NOT NULL)", name="deposit_addresses_have_owners"
    ),
)


@dataclass(frozen=True, slots=True)
class Address:
    """One of our addresses."""

    chain: ChainId
    address: str
    account: str
    key_index: int
    customer_no: CustomerNo | None


def allocate(
    conn: sa.Connection,
    chain: ChainId,
    customer_no: CustomerNo,
    *,
    public_key_of: PublicKeyOf,
    address_of: AddressOf,
    now_ns: int,
) -> Address:
    """Issue the customer's next deposit address; indexes are never reused and have no gaps.

    They are counted over all chains: two networks may derive the same address of one index, and
    what is sent over the wrong one must not arrive at another customer's (I15). The caller's
    transaction is the lock. public_key_of derives without any private key and checks itself by a
    second implementation.
    """
    last = conn.execute(
        sa.select(sa.func.max(addresses.c.key_index)).where(addresses.c.account == DEPOSITS)
    ).scalar_one()
    index = 0 if last is None else last + 1
    address = address_of(public_key_of(DEPOSITS, index))
    if find(conn, chain, address) is not None:
        raise Corrupt(f"{chain} address of index {index} was issued before")
    return _insert(conn, Address(chain, address, DEPOSITS, index, customer_no), now_ns)


def register_own(
    conn: sa.Connection, chain: ChainId, account: str, address: str, *, now_ns: int
) -> Address:
    """Record an own wallet's address (index 0 of its account) once.

    Corrupt when it was another one.
    """
    if account == DEPOSITS:
        raise ValueError("deposit addresses are allocated, not registered")
    row = conn.execute(
        sa.select(addresses).where(
            addresses.c.chain == chain, addresses.c.account == account, addresses.c.key_index == 0
        )
    ).one_or_none()
    if row is None:
        return _insert(conn, Address(chain, address, account, 0, None), now_ns)
    if row.address != address:
        raise Corrupt(f"{chain} wallet {account} was {row.address} and is now {address}")
    return _address(row)


def find(conn: sa.Connection, chain: ChainId, address: str) -> Address | None:
    """Return our address with that text, None when it is not ours."""
    row = conn.execute(
        sa.select(addresses).where(addresses.c.chain == chain, addresses.c.address == address)
    ).one_or_none()
    return None if row is None else _address(row)


def of_address(conn: sa.Connection, chain: ChainId, address: str) -> Address:
    """Return our address with that text. Refused: not_found."""
    found = find(conn, chain, address)
    if found is None:
        raise Refused(Reason.NOT_FOUND, address)
    return found


def own_wallet(conn: sa.Connection, chain: ChainId, account: str) -> Address:
    """Return an own wallet's address. Refused: not_found."""
    row = conn.execute(
        sa.select(addresses).where(
            addresses.c.chain == chain, addresses.c.account == account, addresses.c.key_index == 0
        )
    ).one_or_none()
    if row is None or account == DEPOSITS:
        raise Refused(Reason.NOT_FOUND, f"{chain} wallet {account}")
    return _address(row)


def of_customer(conn: sa.Connection, chain: ChainId, customer_no: CustomerNo) -> list[Address]:
    """Return a customer's addresses on a chain, oldest first; all of them stay his for ever."""
    query = (
        sa.select(addresses)
        .where(addresses.c.chain == chain, addresses.c.customer_no == customer_no)
        .order_by(addresses.c.key_index)
    )
    return [_address(row) for row in conn.execute(query)]


def watched(conn: sa.Connection, chain: ChainId) -> frozenset[str]:
    """Return every address of ours on a chain."""
    query = sa.select(addresses.c.address).where(addresses.c.chain == chain)
    return frozenset(conn.execute(query).scalars())


def all_of(conn: sa.Connection, chain: ChainId) -> Sequence[Address]:
    """Return every address of ours on a chain, by account and index."""
    query = (
        sa.select(addresses)
        .where(addresses.c.chain == chain)
        .order_by(addresses.c.account, addresses.c.key_index)
    )
    return [_address(row) for row in conn.execute(query)]


def audit(
    conn: sa.Connection,
    chain: ChainId,
    *,
    public_key_of: PublicKeyOf,
    address_of: AddressOf,
) -> list[str]:
    """Re-derive every address and return a finding for each that differs (K05, I15)."""
    return [
        f"I15 {chain} {row.account}/{row.key_index} is {row.address}, derives to {derived}"
        for row in all_of(conn, chain)
        if (derived := address_of(public_key_of(row.account, row.key_index))) != row.address
    ]


def _insert(conn: sa.Connection, row: Address, now_ns: int) -> Address:
    conn.execute(
        addresses.insert().values(
            chain=row.chain,
            address=row.address,
            account=row.account,
            key_index=row.key_index,
            customer_no=row.customer_no,
            created_at_ns=now_ns,
        )
    )
    return row


def _address(row: sa.Row[tuple[object, ...]]) -> Address:
    return Address(
        ChainId(row.chain), row.address, row.account, row.key_index,
        None if row.customer_no is None else CustomerNo(row.customer_no),
    )  # fmt: skip
