"""Audit the books from their rows alone: everything is recomputed, nothing stored is believed.

    I1     every transfer joins two accounts of its asset by an amount in 1..2^128-1
    I2     stored totals equal the sums of the rows; per asset, debits equal credits
    I3     no guarded account is below zero, customers' accounts above all
    chain  both chains: positions without gaps, each hash recomputed onto the one before

Each check names the first row that fails it. The caller opens one snapshot (`db.read()`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from custody.ledger.accounts import accounts
from custody.ledger.chart import CHART, AccountKey, AccountKind, Guard
from custody.ledger.records import (
    GENESIS,
    TRANSFER_LIMIT,
    Chain,
    name_digest,
    transfer_hash,
    transfers,
)
from custody.ledger.transfers import chain_head

PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One check that failed: which, at which row first, and what is wrong there."""

    check: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.check} {self.row}: {self.what}"


@dataclass(slots=True)
class _Stored:
    """An account row as it lies there, beside the sums of its transfers."""

    kind: str
    owner: str
    asset_no: int
    debits: int
    credits: int
    name: bytes | None
    row_debits: int = 0
    row_credits: int = 0


@dataclass(slots=True)
class _Audit:
    stored: dict[int, _Stored]
    first: dict[str, Finding] = field(default_factory=dict)

    def note(self, check: str, row: str, what: str) -> None:
        """Keep the first finding of each check."""
        self.first.setdefault(check, Finding(check, row, what))


def audit(conn: sa.Connection) -> list[Finding]:
    """Return what is wrong with the books; an empty list when nothing is."""
    found = _Audit(_stored_accounts(conn))
    for chain in Chain:
        _walk_chain(conn, chain, found)
    strange = conn.execute(
        sa.select(transfers.c.chain, transfers.c.position)
        .where(transfers.c.chain.not_in([chain.value for chain in Chain]))
        .limit(1)
    ).one_or_none()
    if strange is not None:
        found.note("chain", f"{strange.chain} {strange.position}", "a chain that does not exist")
    _check_accounts(found)
    _check_assets(found)
    return list(found.first.values())


def _stored_accounts(conn: sa.Connection) -> dict[int, _Stored]:
    stored = {}
    for row in conn.execute(sa.select(accounts).order_by(accounts.c.account_id)):
        known = row.kind in {kind.value for kind in AccountKind}
        key = AccountKey(AccountKind(row.kind), row.owner, row.asset_no) if known else None
        stored[row.account_id] = _Stored(
            kind=row.kind,
            owner=row.owner,
            asset_no=row.asset_no,
            debits=row.debits,
            credits=row.credits,
            name=None if key is None else name_digest(key),
        )
    return stored


def _rows_of(conn: sa.Connection, chain: Chain) -> Iterator[sa.Row[tuple[object, ...]]]:
    last = 0
    while page := conn.execute(
        sa.select(transfers)
        .where(transfers.c.chain == chain, transfers.c.position > last)
        .order_by(transfers.c.position)
        .limit(PAGE)
    ).all():
        yield from page
        last = page[-1].position


def _walk_chain(conn: sa.Connection, chain: Chain, found: _Audit) -> None:
    check = f"chain {chain.value}"
    position, previous = 0, GENESIS[chain]
    for row in _rows_of(conn, chain):
        position += 1
        where = f"transfer {row.id.hex()} at {chain.value} {row.position}"
        if row.position != position:
            found.note(check, f"{chain.value} {position}", "is missing")
            position = row.position
        if row.previous != previous:
            found.note(check, where, "does not follow the row before it")
        debit, credit = found.stored.get(row.debit_account), found.stored.get(row.credit_account)
        wrong = _wrong_transfer(row, debit, credit)
        if wrong:
            found.note("I1", where, wrong)
        if debit is not None:
            debit.row_debits += row.amount
        if credit is not None:
            credit.row_credits += row.amount
        if wrong or row.hash != _hash_of(row, debit, credit):
            found.note(check, where, "content does not match its hash")
        previous = row.hash
    head = chain_head(conn, chain)
    if (head.position, head.hash) != (position, previous):
        found.note(check, f"{chain.value} {position + 1}", f"the chain ends at {head.position}")


def _wrong_transfer(
    row: sa.Row[tuple[object, ...]], debit: _Stored | None, credit: _Stored | None
) -> str | None:
    if debit is None or credit is None:
        return "an account is missing"
    if debit.name is None or credit.name is None:
        return "an account of an unknown kind"
    if not debit.asset_no == credit.asset_no == row.asset_no:
        return "accounts of different assets"
    if row.debit_account == row.credit_account:
        return "one account on both sides"
    if not 0 < row.amount < TRANSFER_LIMIT:
        return f"an amount of {row.amount}"
    return None if len(row.id) == 16 else "an id that has not 16 bytes"


def _hash_of(
    row: sa.Row[tuple[object, ...]], debit: _Stored | None, credit: _Stored | None
) -> bytes:
    assert debit is not None
    assert credit is not None
    assert debit.name is not None
    assert credit.name is not None
    return transfer_hash(
        row.previous,
        identity=row.id,
        debit=debit.name,
        credit=credit.name,
        asset_no=row.asset_no,
        amount=row.amount,
        at_ns=row.posted_at_ns,
        cause_kind=row.cause_kind,
        cause_id=row.cause_id,
    )


def _check_accounts(found: _Audit) -> None:
    for number, stored in found.stored.items():
        where = f"account {number} ({stored.kind} of {stored.owner!r}, asset {stored.asset_no})"
        if (stored.debits, stored.credits) != (stored.row_debits, stored.row_credits):
            found.note(
                "I2",
                where,
                f"stores {stored.debits} debits and {stored.credits} credits, its rows sum to"
                f" {stored.row_debits} and {stored.row_credits}",
            )
        if stored.name is None:
            continue
        guard = CHART[AccountKind(stored.kind)].guard
        for debits, credits_ in (
            (stored.debits, stored.credits),
            (stored.row_debits, stored.row_credits),
        ):
            if (guard is Guard.CREDIT and debits > credits_) or (
                guard is Guard.DEBIT and credits_ > debits
            ):
                found.note("I3", where, f"{debits} debits against {credits_} credits")


def _check_assets(found: _Audit) -> None:
    sums: dict[int, int] = {}
    for stored in found.stored.values():
        change = stored.debits - stored.credits
        sums[stored.asset_no] = sums.get(stored.asset_no, 0) + change
    for asset_no, total in sorted(sums.items()):
        if total != 0:
            found.note("I2 sum", f"asset {asset_no}", f"accounts sum to {total}, not to zero")
