"""What would happen if a withdrawal were paid now: shown to officers, believed by nobody.

The transaction is built as it will be, read back by other code, and run by the nodes on their
newest state. What differs from the approved intent is named; an answer that could not be had is
named too, and never looks like a good one. The guard judges the real transaction again by itself.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from chains.base import BalanceChange, Chain, Decoded, Effect, Simulation, SpendIntent
from core.clock import SECOND_NS
from core.errors import Refused, Unavailable
from custody import catalogue
from custody.db import Database
from custody.keys.roster import Roster
from custody.spending import means
from custody.wallets import addresses
from custody.withdrawals import execute
from custody.withdrawals.states import Withdrawal

STALE_AFTER_S = 3_600
"""A node whose newest block is older than this says little about now."""
_REVERTS = "would_revert"


class Finding(enum.StrEnum):
    """What a rehearsal says in one word."""

    AS_APPROVED = "as_approved"
    DIFFERS = "differs"
    WOULD_FAIL = "would_fail"
    NOT_POSSIBLE = "not_possible"
    """The nodes gave no answer, or this wallet's payments cannot be simulated."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One simulation and how it compares with the intent. Amounts are minor units, without fees."""

    finding: Finding
    detail: str = ""
    differences: tuple[str, ...] = ()
    changes: tuple[BalanceChange, ...] = ()
    height: int | None = None
    block_hash: str | None = None
    age_s: int | None = None
    """How old that block was."""
    digest: bytes = b""
    """What would be signed of this transaction; the real one has its own nonce and rate.

    Empty where a contract wallet pays, like fee_max.
    """
    fee_max: int | None = None
    """Most native units that it may cost."""

    @property
    def is_stale(self) -> bool:
        """Return whether the nodes' newest block is too old to say anything about now."""
        return self.age_s is not None and self.age_s > STALE_AFTER_S


def rehearse(
    db: Database, chain: Chain, row: Withdrawal, *, roster: Roster, now_ns: int
) -> Rehearsal:
    """Return what paying a withdrawal now would do. Never raises for what a node answers.

    A contract wallet's payment is run as the call that the wallet makes; what its owners sign, and
    who carries it there, is built later.
    """
    contracts = {one.wallet: one.address for one in roster.wallets if one.chain == row.chain}
    try:
        with db.read() as conn:
            asset_key = catalogue.asset(conn, row.asset_no).spec.key
            source = contracts.get(row.wallet)
            source = source or addresses.own_wallet(conn, row.chain, row.wallet).address
    except Refused as refused:
        return Rehearsal(Finding.NOT_POSSIBLE, str(refused))
    intent = execute.intent_of(row, source=source, asset_key=asset_key)
    found = _rehearsed(db, chain, intent, now_ns)
    return replace(found, digest=b"", fee_max=None) if row.wallet in contracts else found


def _rehearsed(db: Database, chain: Chain, intent: SpendIntent, now_ns: int) -> Rehearsal:
    source = intent.source
    try:
        rate, taken = chain.fee_rate(), execute.means_of(db, chain, intent)
        counted = means.counts_nonces(chain.traits)
        unsigned = chain.build(
            intent,
            nonce=chain.used_nonces(source, chain.head()) if counted else 0,
            rate=rate,
            units=chain.fee_units(intent, taken.coins),
            coins=taken.coins,
            ticket=taken.ticket,
        )
        decoded = chain.decode(unsigned.payload, sender=source)
        ran = chain.simulate(unsigned)
        block = chain.block_at(ran.at.height)
    except Refused as refused:
        return Rehearsal(Finding.WOULD_FAIL, str(refused))
    except Unavailable as error:
        is_failure = error.what.startswith(_REVERTS)
        return Rehearsal(Finding.WOULD_FAIL if is_failure else Finding.NOT_POSSIBLE, error.what)
    differences = differences_of(intent, decoded, ran)
    return Rehearsal(
        finding=_finding(ran, differences),
        detail=ran.detail,
        differences=differences,
        changes=ran.changes,
        height=ran.at.height,
        block_hash=ran.at.hash,
        age_s=None if block is None else max(0, now_ns // SECOND_NS - block.time_s),
        digest=unsigned.digest,
        fee_max=unsigned.fee_max,
    )


def differences_of(intent: SpendIntent, decoded: Decoded, ran: Simulation) -> tuple[str, ...]:
    """Return everything that is not exactly what was approved, in words."""
    found = []
    wanted = (Effect(intent.asset_key, intent.destination, intent.amount),)
    # What is left of the coins goes back where they came from, and moves nothing.
    effects = tuple(
        one for one in decoded.effects if not decoded.inputs or one.destination != intent.source
    )
    if effects != wanted:
        found.append("the transaction's bytes pay something else")
    if not ran.succeeded:
        return tuple(found)
    moved = {(one.address, one.asset_key): one.after - one.before for one in ran.changes}
    expected = {
        (intent.source, intent.asset_key): -intent.amount,
        (intent.destination, intent.asset_key): intent.amount,
    }
    for owner, asset_key in sorted({*moved, *expected}):
        is_, should = (page.get((owner, asset_key), 0) for page in (moved, expected))
        if is_ != should:
            found.append(f"{owner} gets {is_} of {asset_key} instead of {should}")
    return (*found, *ran.others)


def _finding(ran: Simulation, differences: tuple[str, ...]) -> Finding:
    if not ran.succeeded:
        return Finding.WOULD_FAIL
    return Finding.DIFFERS if differences else Finding.AS_APPROVED
