"""Transfers as rows: what one says, how rows hash into a chain, and the tables that keep them.

    hash = SHA-256(previous hash ‖ id ‖ debit name ‖ credit name ‖ asset ‖ amount ‖ time ‖ cause)

Accounts enter the hash by a digest of their names, not by their numbers, so that replaying the
journal into an empty database gives the projected chain again, hash for hash.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from dataclasses import dataclass

import sqlalchemy as sa

from core.errors import Reason, Refused
from core.ids import TransferId, derived_digest
from core.money import require_int
from custody.db import Amount, Bytes, Int64, Text, amount_check, append_only, table
from custody.ledger.chart import AccountKey

TRANSFER_LIMIT = 1 << 128
"""No single transfer reaches this."""
CAUSE_LENGTH_MAX = 200
_FIXED = struct.Struct(">16s16s16sHQQqB")
_LOW = (1 << 64) - 1


class Chain(enum.StrEnum):
    """The two hash chains: what the journal caused, and what custody's own verbs did."""

    PROJECTED = "projected"
    TREASURY = "treasury"


GENESIS = {chain: derived_digest("ledger/genesis", chain.value) for chain in Chain}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Move `amount` minor units of one asset from the credited to the debited side of the books.

    Valid by construction. Refused: malformed_amount, amount_out_of_range (2^128 or more), malformed
    (id, cause), asset_mismatch, same_account, zero_amount.
    """

    id: TransferId
    chain: Chain
    debit: AccountKey
    credit: AccountKey
    amount: int
    cause_kind: str
    cause_id: str

    def __post_init__(self) -> None:
        require_int(self.amount)
        if self.amount >= TRANSFER_LIMIT:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "a transfer is below 2^128")
        if type(self.id) is not bytes or len(self.id) != 16:
            raise Refused(Reason.MALFORMED, "a transfer id has 16 bytes")
        if not 0 < len(self.cause_kind) <= CAUSE_LENGTH_MAX:
            raise Refused(Reason.MALFORMED, "kind of cause")
        if not 0 < len(self.cause_id) <= CAUSE_LENGTH_MAX:
            raise Refused(Reason.MALFORMED, "id of cause")
        if self.debit.asset_no != self.credit.asset_no:
            raise Refused(Reason.ASSET_MISMATCH, "both accounts of a transfer hold one asset")
        if self.debit == self.credit:
            raise Refused(Reason.SAME_ACCOUNT, "a transfer joins two accounts")
        if self.amount == 0:
            raise Refused(Reason.ZERO_AMOUNT, "a transfer moves something")

    @property
    def asset_no(self) -> int:
        """Return the asset of both accounts."""
        return self.debit.asset_no


ledger_chains = table(
    "ledger_chains",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("position", Int64, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.CheckConstraint("position >= 1", name="position"),
    sa.CheckConstraint("length(hash) = 32", name="hash"),
)
"""Where each chain ends; its row is also the lock of whoever posts."""

transfers = table(
    "transfers",
    sa.Column("chain", Text, primary_key=True),
    sa.Column("position", Int64, primary_key=True),
    sa.Column("id", Bytes, nullable=False, unique=True),
    sa.Column("debit_account", Int64, nullable=False),
    sa.Column("credit_account", Int64, nullable=False),
    sa.Column("asset_no", Int64, nullable=False),
    sa.Column("amount", Amount, nullable=False),
    sa.Column("cause_kind", Text, nullable=False),
    sa.Column("cause_id", Text, nullable=False),
    sa.Column("posted_at_ns", Int64),
    sa.Column("previous", Bytes, nullable=False),
    sa.Column("hash", Bytes, nullable=False),
    sa.ForeignKeyConstraint(
        ["debit_account", "asset_no"], ["accounts.account_id", "accounts.asset_no"]
    ),
    sa.ForeignKeyConstraint(
        ["credit_account", "asset_no"], ["accounts.account_id", "accounts.asset_no"]
    ),
    *amount_check("amount", minimum=1, maximum=TRANSFER_LIMIT - 1),
    sa.CheckConstraint("debit_account <> credit_account", name="two_accounts"),
    sa.CheckConstraint("position >= 1", name="position"),
    sa.CheckConstraint("length(id) = 16", name="id"),
    sa.CheckConstraint("length(previous) = 32 AND length(hash) = 32", name="hashes"),
    sa.CheckConstraint("chain IN ('projected', 'treasury')", name="chain"),
    sa.CheckConstraint(
        "(chain = 'treasury') = (posted_at_ns IS NOT NULL)", name="only_the_treasury_has_time"
    ),
    sa.CheckConstraint("posted_at_ns >= 0", name="posted_at_ns"),
    sqlite_with_rowid=False,
)
append_only(transfers)


def name_digest(key: AccountKey) -> bytes:
    """Return the 16 bytes that stand for an account's name in the hash chain."""
    name = f"{key.kind.value}\0{key.owner}\0{key.asset_no}"
    return hashlib.sha256(name.encode()).digest()[:16]


def transfer_hash(
    previous: bytes,
    *,
    identity: bytes,
    debit: bytes,
    credit: bytes,
    asset_no: int,
    amount: int,
    at_ns: int | None,
    cause_kind: str,
    cause_id: str,
) -> bytes:
    """Return the hash of a row; debit and credit are the accounts' name digests."""
    kind = cause_kind.encode()
    at = -1 if at_ns is None else at_ns
    fixed = _FIXED.pack(
        identity, debit, credit, asset_no, amount >> 64, amount & _LOW, at, len(kind)
    )
    return hashlib.sha256(b"%b%b%b%b" % (previous, fixed, kind, cause_id.encode())).digest()
