"""The address watch: every address derived again by a second library, every attestation checked.

It goes through the table in bounded batches and keeps its place in memory, where nobody who writes
into the database can move it. A row that fails opens an incident, is never shown (the API checks on
its own) and pages; the chain goes on, because the other customers' addresses are sound and whoever
can write one row must not be able to stop everybody. The first whole pass that finds nothing closes
the incidents; the audit log keeps them (I15, K05).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from core.clock import Clock
from core.errors import Reason, Refused
from core.ids import ChainId
from custody import chain_state
from custody.db import Database
from custody.keys.attestation import Network
from custody.keys.signers.base import ACCOUNT_NUMBERS
from custody.wallets import addresses
from custody.wallets.addresses import Address, Attestor, PublicKeyOf

BATCH = 256
"""Addresses of one step: about a quarter of a second of the second library's time."""
ATTEST_BATCH = 32
BAD_ADDRESS = "bad_address"
"""The incident of a row that does not derive again or that the signer did not attest to."""
INCIDENTS_MAX = 100
_START = ("", -1)


def _place(row: Address) -> str:
    return f"{row.account}/{row.key_index}"


def bad_addresses(conn: sa.Connection, chain: ChainId) -> int:
    """Return how many open incidents say that an address of a chain is not what it should be."""
    return conn.execute(
        sa.select(sa.func.count()).where(
            chain_state.incidents.c.chain == chain,
            chain_state.incidents.c.kind == BAD_ADDRESS,
            chain_state.incidents.c.closed_at_ns.is_(None),
        )
    ).scalar_one()


@dataclass(slots=True)
class AddressWatch:
    """One chain's addresses, again and again."""

    chain: Network
    attestation_key: Callable[[], bytes]
    """The pinned public key, asked for at every step; Unavailable when there is none."""
    second: PublicKeyOf
    """(account, index) -> public key, by the library that did not derive it first."""
    batch: int = BATCH
    contracts: Callable[[], Mapping[str, str]] = dict
    """Wallets that are contracts, by name, and where the pinned roster says they stand."""
    passes: int = 0
    """Whole passes since this process began."""
    findings: int = 0
    """Of the pass that ended last."""
    _after: tuple[str, int] = _START
    _found: int = field(default=0)

    def step(self, db: Database, *, clock: Clock) -> int:
        """Judge the next batch and return how many findings it has."""
        chain_id, key = self.chain.traits.chain, self.attestation_key()
        with db.read() as conn:
            rows = addresses.page(conn, chain_id, after=self._after, limit=self.batch)
            gap = addresses.missing(conn) if len(rows) < self.batch else 0
        found = [text for row in rows if (text := self._judge(row, key)) is not None]
        if gap:
            found.append(f"{gap} addresses are missing between the first and the last")
        if found:
            db.run(lambda conn: _open(conn, chain_id, found, now_ns=clock.now_ns()))
        self._found += len(found)
        if len(rows) < self.batch:
            self._end_pass(db, clock=clock)
        else:
            self._after = (rows[-1].account, rows[-1].key_index)
        return len(found)

    def _judge(self, row: Address, key: bytes) -> str | None:
        """Return what is wrong with a row; the stored address is not repeated."""
        if (pinned := self.contracts().get(row.account)) is not None:
            return None if pinned == row.address else f"{_place(row)} is not the roster's"
        try:
            derived = self.chain.address_of(self.second(row.account, row.key_index))
        except Refused:
            return f"{_place(row)} is no key of ours"
        if derived != row.address:
            return f"{_place(row)} derives to {derived}, another address is stored"
        if row.attestation is None:
            return None  # reserved, not shown to anybody; the next step asks for it
        try:
            addresses.check_shown(row, network=self.chain.traits.network, attestation_key=key)
        except Refused:
            return f"{_place(row)} is not what the signer attested to"
        return None

    def _end_pass(self, db: Database, *, clock: Clock) -> None:
        if not self._found:
            db.run(
                lambda conn: chain_state.close_incidents(
                    conn, self.chain.traits.chain, kind=BAD_ADDRESS, now_ns=clock.now_ns()
                )
            )
        self.passes += 1
        self.findings, self._found, self._after = self._found, 0, _START


@dataclass(slots=True)
class Completion:
    """Has the signer attest to what was reserved and left, also to own wallets."""

    chain: Network
    signer: Attestor
    attestation_key: Callable[[], bytes]
    _after: tuple[int, str] = (-1, "")

    def step(self, db: Database, *, clock: Clock) -> int:
        """Complete the next rows and return how many got their attestation.

        What the signer refuses opens an incident and does not stand in the way of the rest.
        Unavailable: the signer is away; what was done stays.
        """
        chain_id, until_ns = self.chain.traits.chain, clock.now_ns() - addresses.ABANDONED_NS
        with db.read() as conn:
            rows = addresses.pending(
                conn, chain_id, until_ns=until_ns, limit=ATTEST_BATCH, after=self._after
            )
        done = 0
        for row in rows:
            done += self._complete(db, row.address, now_ns=clock.now_ns())
            self._after = row.place
        if len(rows) < ATTEST_BATCH:
            self._after = (-1, "")
        return done

    def _complete(self, db: Database, row: Address, *, now_ns: int) -> int:
        if row.account not in ACCOUNT_NUMBERS:
            return 0  # a contract: no key of the signer's stands behind it
        network = self.chain.traits.network
        try:
            made = addresses.attest(
                row, self.signer, network=network, attestation_key=self.attestation_key()
            )
            db.run(lambda conn: addresses.put_attestation(conn, made))
        except Refused as refused:
            if refused.reason is not Reason.BAD_ATTESTATION:
                raise
            text = f"{_place(row)} was not attested"
            db.run(lambda conn: _open(conn, row.chain, [text], now_ns=now_ns))
            return 0
        return 1


def _open(conn: sa.Connection, chain: ChainId, found: list[str], *, now_ns: int) -> None:
    for text in found[:INCIDENTS_MAX]:
        chain_state.open_incident(
            conn, chain, kind=BAD_ADDRESS, detail=text, now_ns=now_ns, each=True
        )
