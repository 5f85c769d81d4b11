"""Issued keys in stock: made by the signer ahead of their use, for accounts without an xpub.

The platform takes key n for address n. A step makes more before they run out; while the signer is
away what is there is used up first. A row is believed only as far as its proof goes, at every use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import sqlalchemy as sa

from chains.base import ChainTraits
from core.clock import Clock
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from custody.db import Bytes, Database, Int64, Text, table
from custody.keys.issued_keys import IssuedKey, check_issued
from custody.keys.signers.base import KEYS_AT_ONCE
from custody.wallets import addresses
from custody.wallets.addresses import DEPOSITS, PublicKeyOf

issued_keys = table(
    "issued_keys",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("account", Text, primary_key=True),
    sa.Column("key_index", Int64, primary_key=True, autoincrement=False),
    sa.Column("public_key", Bytes, nullable=False),
    sa.Column("proof", Bytes, nullable=False),
    sa.Column("created_at_ns", Int64, nullable=False),
    sa.UniqueConstraint("chain", "public_key"),
)


@dataclass(frozen=True, slots=True)
class Marks:
    """How many unused keys an account has: below `low` more are made, up to `high`."""

    low: int
    high: int


MARKS: Mapping[str, Marks] = MappingProxyType({DEPOSITS: Marks(low=200, high=1_000)})
_ONE = Marks(low=1, high=1)
"""Of every other account: own wallets have one key."""


class KeyMaker(Protocol):
    """The signer, as far as it makes keys."""

    def public_keys(self, chain: ChainId, account: str, first: int, count: int) -> list[IssuedKey]:
        """Make sure that keys first..first+count-1 exist, and return them with their proofs."""
        ...


def keys_in(conn: sa.Connection, traits: ChainTraits, *, attestation_key: bytes) -> PublicKeyOf:
    """Return what looks a key up in this transaction and checks its proof.

    Unavailable: it is not made yet. Refused: bad_attestation.
    """

    def public_key_of(account: str, index: int) -> bytes:
        row = conn.execute(
            sa.select(issued_keys.c.public_key, issued_keys.c.proof).where(
                issued_keys.c.chain == traits.chain,
                issued_keys.c.account == account,
                issued_keys.c.key_index == index,
            )
        ).one_or_none()
        if row is None:
            raise Unavailable(f"{traits.chain} {account}/{index} is not made yet")
        check_issued(attestation_key, traits, IssuedKey(account, index, row.public_key, row.proof))
        return bytes(row.public_key)

    return public_key_of


@dataclass(frozen=True, slots=True)
class KeyStock:
    """The keys of one chain's accounts, and who makes more of them."""

    traits: ChainTraits
    maker: KeyMaker
    attestation_key: Callable[[], bytes]
    """The pinned public key, asked for at every step; Unavailable when there is none."""
    accounts: tuple[str, ...]
    marks: Mapping[str, Marks] = field(default_factory=lambda: MARKS)

    def step(self, db: Database, *, clock: Clock) -> int:
        """Have keys made for every account that is low; return how many were stored.

        Unavailable: the signer is away. Refused: bad_attestation (it says what the roster's key
        does not).
        """
        return sum(self._refill(db, account, clock=clock) for account in self.accounts)

    def left(self, conn: sa.Connection, account: str) -> int:
        """Return how many keys of an account no address has taken yet."""
        return self._last(conn, account) + 1 - _next_index(conn, account)

    def _refill(self, db: Database, account: str, *, clock: Clock) -> int:
        marks = self.marks.get(account, _ONE)
        with db.read() as conn:
            left, first = self.left(conn, account), self._last(conn, account) + 1
        if left >= marks.low:
            return 0
        count, key = min(marks.high - left, KEYS_AT_ONCE), self.attestation_key()
        made = self.maker.public_keys(self.traits.chain, account, first, count)
        asked = [(account, index) for index in range(first, first + count)]
        if [(one.account, one.index) for one in made] != asked:
            raise Refused(Reason.BAD_ATTESTATION, f"{self.traits.chain} {account}: other keys")
        for one in made:
            check_issued(key, self.traits, one)
        now_ns = clock.now_ns()
        return db.run(lambda conn: self._store(conn, made, now_ns=now_ns))

    def _last(self, conn: sa.Connection, account: str) -> int:
        last = conn.execute(
            sa.select(sa.func.max(issued_keys.c.key_index)).where(
                issued_keys.c.chain == self.traits.chain, issued_keys.c.account == account
            )
        ).scalar_one()
        return -1 if last is None else int(last)

    def _store(self, conn: sa.Connection, made: list[IssuedKey], *, now_ns: int) -> int:
        """Store what is not there yet; another worker may have been faster with the same keys."""
        last = self._last(conn, made[0].account)
        fresh = [one for one in made if one.index > last]
        for one in fresh:
            conn.execute(
                issued_keys.insert().values(
                    chain=self.traits.chain,
                    account=one.account,
                    key_index=one.index,
                    public_key=one.public_key,
                    proof=one.proof,
                    created_at_ns=now_ns,
                )
            )
        return len(fresh)


def _next_index(conn: sa.Connection, account: str) -> int:
    """Return the index that the next address takes: deposits are counted over all chains."""
    if account != DEPOSITS:
        return 0
    last = addresses.last_deposit_index(conn)
    return 0 if last is None else last + 1
