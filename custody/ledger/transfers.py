"""Post transfers: the one road into the books."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Corrupt, Reason, Refused
from core.ids import TransferId
from custody.db import dialect_of
from custody.ledger.accounts import (
    Account,
    accounts,
    find_accounts,
    grow,
    make_accounts,
    plan_growth,
)
from custody.ledger.chart import AccountKey, AccountKind
from custody.ledger.records import (
    GENESIS,
    Chain,
    Transfer,
    ledger_chains,
    name_digest,
    transfer_hash,
    transfers,
)

BATCH_MAX = 100_000
IDS_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a chain; position 0 and the genesis hash before the first."""

    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class PostResult:
    """What one call did: how many rows are new, and how many were there already."""

    posted: int
    repeated: int


def post(conn: sa.Connection, batch: Sequence[Transfer], *, at_ns: int | None = None) -> PostResult:
    """Post transfers of one chain in the caller's transaction: all of them or none.

    Idempotent by transfer id: what is there with the same content is left alone. at_ns dates
    treasury transfers; projected ones carry no time. An empty batch does nothing. Refused, with the
    transaction as it was: exists_with_other_content, exceeds_available (it names the account),
    balance_overflow.
    """
    if not batch:
        return PostResult(posted=0, repeated=0)
    chain = batch[0].chain
    _check_batch(batch, chain, at_ns)
    wanted = _distinct(batch)
    known = _known(conn, wanted)
    fresh = [transfer for transfer in wanted if not _is_known(transfer, known)]
    if fresh:
        _append(conn, chain, fresh, at_ns)
    return PostResult(posted=len(fresh), repeated=len(batch) - len(fresh))


def chain_head(conn: sa.Connection, chain: Chain) -> Head:
    """Return where a chain ends."""
    row = conn.execute(
        sa.select(ledger_chains.c.position, ledger_chains.c.hash).where(
            ledger_chains.c.chain == chain
        )
    ).one_or_none()
    return Head(0, GENESIS[chain]) if row is None else Head(row.position, row.hash)


def find_transfers(conn: sa.Connection, ids: Sequence[TransferId]) -> dict[TransferId, Transfer]:
    """Return those transfers of these ids that are in the books."""
    found: dict[TransferId, Transfer] = {}
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        some = transfers.c.id.in_(ids[start : start + IDS_PER_STATEMENT])
        for transfer in stored_transfers(conn, some):
            found[transfer.id] = transfer
    return found


def stored_transfers(conn: sa.Connection, where: sa.ColumnElement[bool]) -> Iterable[Transfer]:
    """Yield stored transfers with their accounts' names."""
    debit, credit = accounts.alias("debit"), accounts.alias("credit")
    rows = conn.execute(
        sa.select(transfers, debit.c.kind, debit.c.owner, credit.c.kind, credit.c.owner)
        .join(debit, debit.c.account_id == transfers.c.debit_account)
        .join(credit, credit.c.account_id == transfers.c.credit_account)
        .where(where)
    )
    for row in rows:
        debit_kind, debit_owner, credit_kind, credit_owner = row[-4:]
        yield Transfer(
            id=TransferId(row.id),
            chain=Chain(row.chain),
            debit=AccountKey(AccountKind(debit_kind), debit_owner, row.asset_no),
            credit=AccountKey(AccountKind(credit_kind), credit_owner, row.asset_no),
            amount=row.amount,
            cause_kind=row.cause_kind,
            cause_id=row.cause_id,
        )


def _check_batch(batch: Sequence[Transfer], chain: Chain, at_ns: int | None) -> None:
    if len(batch) > BATCH_MAX:
        raise ValueError(f"a batch has at most {BATCH_MAX} transfers")
    if any(transfer.chain is not chain for transfer in batch):
        raise ValueError("a batch belongs to one chain")
    if (chain is Chain.TREASURY) != (at_ns is not None) or (at_ns or 0) < 0:
        raise ValueError("treasury transfers are dated, projected ones are not")


def _distinct(batch: Sequence[Transfer]) -> list[Transfer]:
    wanted = {transfer.id: transfer for transfer in batch}
    if len(wanted) != len(batch):
        for transfer in batch:
            _is_known(transfer, wanted)
    return list(wanted.values())


def _is_known(transfer: Transfer, known: dict[TransferId, Transfer]) -> bool:
    other = known.get(transfer.id)
    if other is not None and other != transfer:
        raise Refused(Reason.EXISTS_WITH_OTHER_CONTENT, f"transfer {transfer.id.hex()}")
    return other is not None


def _known(conn: sa.Connection, wanted: Sequence[Transfer]) -> dict[TransferId, Transfer]:
    """Return which of them are in the books: nearly always none, so only ids are asked for."""
    ids = [transfer.id for transfer in wanted]
    repeated: list[TransferId] = []
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        some = ids[start : start + IDS_PER_STATEMENT]
        if dialect_of(conn) == "sqlite":
            marks = ", ".join("?" * len(some))
            found = conn.exec_driver_sql(
                f"SELECT id FROM transfers WHERE id IN ({marks})",  # noqa: S608 - only marks
                tuple(some),
            )
        else:
            found = conn.exec_driver_sql(
                "SELECT id FROM transfers WHERE id = ANY(%b::bytea[])", (some,)
            )
        repeated += found.scalars()
    return find_transfers(conn, repeated)


def _append(
    conn: sa.Connection, chain: Chain, fresh: Sequence[Transfer], at_ns: int | None
) -> None:
    """Read and decide first, so that a refusal has written nothing; then write."""
    debits: dict[AccountKey, int] = {}
    credits_: dict[AccountKey, int] = {}
    for transfer in fresh:
        debits[transfer.debit] = debits.get(transfer.debit, 0) + transfer.amount
        credits_[transfer.credit] = credits_.get(transfer.credit, 0) + transfer.amount
    assert sum(debits.values()) == sum(credits_.values())
    stored = find_accounts(conn, debits.keys() | credits_.keys())
    grown = plan_growth(stored, debits=debits, credits=credits_)
    before = chain_head(conn, chain)
    stored |= make_accounts(conn, grown.keys() - stored.keys())
    rows = _rows(before, fresh, stored, at_ns)
    # First of all the end of the chain: whoever posts at the same time waits here, or runs again.
    _move_head(conn, chain, before, Head(before.position + len(fresh), rows[-1][-1]))
    _insert(conn, chain, rows)
    grow(conn, stored, grown)


Row = tuple[int, bytes, int, int, int, int, str, str, int | None, bytes, bytes]


def _rows(
    head: Head,
    fresh: Sequence[Transfer],
    touched: dict[AccountKey, Account],
    at_ns: int | None,
) -> list[Row]:
    """Return rows in the order of the columns after `chain`, each hashed onto the one before."""
    named = {key: (found.account_id, name_digest(key)) for key, found in touched.items()}
    position, previous = head.position, head.hash
    rows: list[Row] = []
    for transfer in fresh:
        debit_id, debit_name = named[transfer.debit]
        credit_id, credit_name = named[transfer.credit]
        asset_no = transfer.debit.asset_no
        digest = transfer_hash(
            previous, identity=transfer.id, debit=debit_name, credit=credit_name,
            asset_no=asset_no, amount=transfer.amount, at_ns=at_ns,
            cause_kind=transfer.cause_kind, cause_id=transfer.cause_id,
        )  # fmt: skip
        position += 1
        rows.append(
            (position, transfer.id, debit_id, credit_id, asset_no, transfer.amount,
             transfer.cause_kind, transfer.cause_id, at_ns, previous, digest)
        )  # fmt: skip
        previous = digest
    return rows


_COLUMNS = (
    "chain, position, id, debit_account, credit_account, asset_no, amount,"
    " cause_kind, cause_id, posted_at_ns, previous, hash"
)
_MARKS = ", ".join("?" * 12)
_INSERT_SQLITE = f"INSERT INTO transfers ({_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608
_INSERT_POSTGRESQL = (
    f"INSERT INTO transfers ({_COLUMNS}) SELECT %s,"
    " unnest(%b::bigint[]), unnest(%b::bytea[]),"
    " unnest(%b::bigint[]), unnest(%b::bigint[]), unnest(%b::bigint[]), unnest(%b::numeric[]),"
    " unnest(%b::text[]), unnest(%b::text[]), unnest(%b::bigint[]), unnest(%b::bytea[]),"
    " unnest(%b::bytea[])"
)


def _insert(conn: sa.Connection, chain: Chain, rows: list[Row]) -> None:
    name = chain.value
    if dialect_of(conn) == "sqlite":
        conn.exec_driver_sql(
            _INSERT_SQLITE,
            [(name, *row[:5], row[5].to_bytes(32, "big"), *row[6:]) for row in rows],
        )
    else:
        columns = [list(column) for column in zip(*rows, strict=True)]
        conn.exec_driver_sql(_INSERT_POSTGRESQL, (name, *columns))


def _move_head(conn: sa.Connection, chain: Chain, before: Head, after: Head) -> None:
    moved = conn.execute(
        _MOVE_HEAD,
        {
            "chain": chain.value,
            "position": after.position,
            "hash": after.hash,
            "before_position": before.position,
            "before_hash": before.hash,
        },
    )
    if moved.rowcount != 1:
        raise Corrupt(f"the {chain.value} chain moved under a posting")


_MOVE_HEAD = sa.text(
    "INSERT INTO ledger_chains (chain, position, hash) VALUES (:chain, :position, :hash)"
    " ON CONFLICT (chain) DO UPDATE SET position = excluded.position, hash = excluded.hash"
    " WHERE ledger_chains.position = :before_position AND ledger_chains.hash = :before_hash"
)
