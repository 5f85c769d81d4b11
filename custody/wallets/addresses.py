"""Every address of ours: issued once, owned for ever, re-derivable from public keys alone (I15).

An address belongs to one key (account, index). Deposit addresses belong to a customer; the
addresses of our own wallets (`hot`, `gas`, …) belong to the platform and stand in the same table,
so that one look-up answers "is this ours, and whose?".

An address is reserved in one transaction, attested by the signer outside of any, and its
attestation is stored in a second one; a row that stayed without is completed later. It is watched
from its first moment and shown only with an attestation that verifies: whoever writes into this
table can change what we look at, never what a customer is told to pay to (K05).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId, CustomerNo
from custody.db import Bytes, Int64, Text, table
from custody.keys import attestation
from custody.keys.attestation import AddressClaim, check_attestation
from custody.keys.signers.base import (
    ACCOUNT_NUMBERS,
    GENERATIONS_MAX,
    account_of,
    generation_of,
)

DEPOSITS = attestation.DEPOSITS
ABANDONED_NS = 10_000_000_000
"""A reserved address that got no attestation for so long is nobody's turn any more."""

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
    sa.Column("attestation", Bytes),
    sa.UniqueConstraint("chain", "account", "key_index"),
    sa.Index("ix_addresses_customer", "customer_no", "chain"),
    sa.Index("ix_addresses_index", "account", "key_index"),
    sa.Index(
        "ix_addresses_pending",
        "chain",
        "created_at_ns",
        sqlite_where=sa.text("attestation IS NULL"),
        postgresql_where=sa.text("attestation IS NULL"),
    ),
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
    attestation: bytes | None = None
    """The signer's word for all of the above; None until it was asked."""

    def claim(self, network: str) -> AddressClaim:
        """Return what the signer attests to."""
        return AddressClaim(
            self.chain, network, self.address, self.account, self.key_index, self.customer_no
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """A reserved address that nobody attested to yet, and its place among them."""

    place: tuple[int, str]
    address: Address


class Attestor(Protocol):
    """Who attests: the signer, wherever it lives."""

    def attest(self, claim: AddressClaim) -> bytes:
        """Return the attestation of a claim that is true. Unavailable: the signer is away."""
        ...


def reserve(
    conn: sa.Connection,
    chain: ChainId,
    customer_no: CustomerNo,
    *,
    public_key_of: PublicKeyOf,
    address_of: AddressOf,
    now_ns: int,
) -> Address:
    """Take the customer's next deposit address; indexes are never reused and have no gaps.

    One that was taken for the same customer and abandoned comes first. None is shown before it is
    attested. Indexes are counted over all chains: two networks may derive the same address of one
    index, and what is sent over the wrong one must not arrive at another customer's (I15). The
    caller's transaction is the lock. public_key_of derives without any private key and checks
    itself by a second implementation.
    """
    left = pending(conn, chain, until_ns=now_ns - ABANDONED_NS, limit=1, customer_no=customer_no)
    if left:
        return left[0].address
    last = last_deposit_index(conn)
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


def pending(
    conn: sa.Connection,
    chain: ChainId,
    *,
    until_ns: int,
    limit: int,
    after: tuple[int, str] = (-1, ""),
    customer_no: CustomerNo | None = None,
) -> list[Pending]:
    """Return reserved addresses without attestation (of a customer, or all), oldest first.

    They are those reserved until a time, behind the place of an earlier one.
    """
    since_ns, address = after
    query = (
        sa.select(addresses)
        .where(
            addresses.c.chain == chain,
            addresses.c.attestation.is_(None),
            addresses.c.created_at_ns <= until_ns,
            sa.or_(
                addresses.c.created_at_ns > since_ns,
                sa.and_(addresses.c.created_at_ns == since_ns, addresses.c.address > address),
            ),
        )
        .order_by(addresses.c.created_at_ns, addresses.c.address)
        .limit(limit)
    )
    if customer_no is not None:
        query = query.where(addresses.c.customer_no == customer_no)
    return [Pending((row.created_at_ns, row.address), _address(row)) for row in conn.execute(query)]


def attest(row: Address, signer: Attestor, *, network: str, attestation_key: bytes) -> Address:
    """Return a row with the signer's attestation; outside of any transaction, nothing is stored.

    Refused: bad_attestation (the signer refuses: the row is not what it derives or whose it knows
    it to be; or it attests with another key than the roster's). Unavailable: the signer is away.
    """
    claim = row.claim(network)
    try:
        signature = signer.attest(claim)
    except Refused as refused:
        raise Refused(
            Reason.BAD_ATTESTATION,
            f"{row.chain} {row.account}/{row.key_index}: the signer says {refused.reason.value}",
        ) from refused
    check_attestation(attestation_key, claim, signature)
    return replace(row, attestation=signature)


def put_attestation(conn: sa.Connection, row: Address) -> None:
    """Store an attestation beside what it attests to.

    Refused: bad_attestation (the row is another one meanwhile).
    """
    found = find(conn, row.chain, row.address)
    if found is None or replace(found, attestation=row.attestation) != row:
        raise Refused(
            Reason.BAD_ATTESTATION, f"{row.chain} {row.account}/{row.key_index} was changed"
        )
    conn.execute(
        addresses.update()
        .where(addresses.c.chain == row.chain, addresses.c.address == row.address)
        .values(attestation=row.attestation)
    )


def check_shown(row: Address, *, network: str, attestation_key: bytes) -> None:
    """Return when a row may be shown to somebody. Refused: bad_attestation."""
    try:
        check_attestation(attestation_key, row.claim(network), row.attestation)
    except Refused as refused:
        where = f"{row.chain} {row.account}/{row.key_index}"
        raise Refused(refused.reason, f"{where}: {refused.detail}") from refused


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


def own_wallet(conn: sa.Connection, chain: ChainId, wallet: str) -> Address:
    """Return the address of a wallet's newest registered keys. Refused: not_found."""
    found = own_wallets(conn, chain, wallet)
    if not found:
        raise Refused(Reason.NOT_FOUND, f"{chain} wallet {wallet}")
    return found[-1]


def own_wallets(conn: sa.Connection, chain: ChainId, wallet: str) -> list[Address]:
    """Return an own wallet's addresses, those of retired keys first."""
    if wallet == DEPOSITS:
        return []
    names = [account_of(wallet, generation + 1) for generation in range(GENERATIONS_MAX)]
    query = sa.select(addresses).where(
        addresses.c.chain == chain, addresses.c.account.in_(names), addresses.c.key_index == 0
    )
    found = [_address(row) for row in conn.execute(query)]
    return sorted(found, key=lambda row: generation_of(row.account))


def contract_wallets(conn: sa.Connection, chain: ChainId) -> list[str]:
    """Return the names of a chain's own wallets that are contracts, sorted: no key is theirs."""
    query = sa.select(addresses.c.account).where(
        addresses.c.chain == chain,
        addresses.c.key_index == 0,
        addresses.c.account.not_in(sorted(ACCOUNT_NUMBERS)),
    )
    return sorted(conn.execute(query).scalars())


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


def page(
    conn: sa.Connection, chain: ChainId, *, after: tuple[str, int], limit: int
) -> list[Address]:
    """Return the addresses behind an (account, index), in that order."""
    account, index = after
    query = (
        sa.select(addresses)
        .where(
            addresses.c.chain == chain,
            sa.or_(
                addresses.c.account > account,
                sa.and_(addresses.c.account == account, addresses.c.key_index > index),
            ),
        )
        .order_by(addresses.c.account, addresses.c.key_index)
        .limit(limit)
    )
    return [_address(row) for row in conn.execute(query)]


def count_pending(conn: sa.Connection, chain: ChainId) -> int:
    """Return how many addresses of a chain were reserved and not yet attested to."""
    return conn.execute(
        sa.select(sa.func.count()).where(
            addresses.c.chain == chain, addresses.c.attestation.is_(None)
        )
    ).scalar_one()


def last_deposit_index(conn: sa.Connection) -> int | None:
    """Return the highest index of a deposit address over all chains, None before the first."""
    last: int | None = conn.execute(
        sa.select(sa.func.max(addresses.c.key_index)).where(addresses.c.account == DEPOSITS)
    ).scalar_one()
    return last


def missing(conn: sa.Connection) -> int:
    """Return how many deposit addresses there should be more: indexes have no gaps (I15)."""
    last, count = conn.execute(
        sa.select(sa.func.max(addresses.c.key_index), sa.func.count()).where(
            addresses.c.account == DEPOSITS
        )
    ).one()
    return 0 if last is None else int(last) + 1 - int(count)


def _insert(conn: sa.Connection, row: Address, now_ns: int) -> Address:
    conn.execute(
        addresses.insert().values(
            chain=row.chain,
            address=row.address,
            account=row.account,
            key_index=row.key_index,
            customer_no=row.customer_no,
            created_at_ns=now_ns,
            attestation=row.attestation,
        )
    )
    return row


def _address(row: sa.Row[tuple[object, ...]]) -> Address:
    return Address(
        ChainId(row.chain), row.address, row.account, row.key_index,
        None if row.customer_no is None else CustomerNo(row.customer_no), row.attestation,
    )  # fmt: skip
