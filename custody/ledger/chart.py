"""The chart of accounts: what each kind is, on which side it grows, and what the database forbids.

A guard is a CHECK on the row, so no code of ours and no direct SQL can break it. Guarded are the
accounts whose debits and credits are posted in an order that cannot invert; the others would make a
healthy system stop, and reconciliation with the chain (I5) watches them instead:

    deposit_addresses  debited by the projector, credited by the treasury: a sweep may come first
    hot, warm, cold    credited when a payment leaves, debited when a refill is final: in any order
    in_transit         debited at broadcast (treasury), credited at capture (projector)
    rounding           either side by nature
    loss, equity       decided by people, whose entries may correct each other in any order
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from core.ids import CustomerNo


class Side(enum.StrEnum):
    """Where an account grows."""

    DEBIT = "debit"
    CREDIT = "credit"


class Guard(enum.StrEnum):
    """What the database checks on every change of an account."""

    NONE = "none"
    CREDIT = "debits_at_most_credits"
    DEBIT = "credits_at_most_debits"


class AccountKind(enum.StrEnum):
    """What an account is for."""

    BALANCE = "balance"
    WITHDRAWING = "withdrawing"
    DEPOSIT_ADDRESSES = "deposit_addresses"
    HOT = "hot"
    WARM = "warm"
    COLD = "cold"
    IN_TRANSIT = "in_transit"
    SUSPENSE = "suspense"
    FEE_INCOME = "fee_income"
    NETWORK_FEES = "network_fees"
    ROUNDING = "rounding"
    RECEIVABLE = "receivable"
    LOSS = "loss"
    EQUITY = "equity"

    # Enum's own hash is a Python call, and posting looks accounts up a few times per transfer.
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True)
class KindRule:
    """How accounts of one kind behave."""

    side: Side
    guard: Guard


_K = AccountKind
CHART: dict[AccountKind, KindRule] = {
    _K.BALANCE: KindRule(Side.CREDIT, Guard.CREDIT),
    _K.WITHDRAWING: KindRule(Side.CREDIT, Guard.CREDIT),
    _K.DEPOSIT_ADDRESSES: KindRule(Side.DEBIT, Guard.NONE),
    _K.HOT: KindRule(Side.DEBIT, Guard.NONE),
    _K.WARM: KindRule(Side.DEBIT, Guard.NONE),
    _K.COLD: KindRule(Side.DEBIT, Guard.NONE),
    _K.IN_TRANSIT: KindRule(Side.DEBIT, Guard.NONE),
    _K.SUSPENSE: KindRule(Side.CREDIT, Guard.CREDIT),
    _K.FEE_INCOME: KindRule(Side.CREDIT, Guard.CREDIT),
    _K.NETWORK_FEES: KindRule(Side.DEBIT, Guard.DEBIT),
    _K.ROUNDING: KindRule(Side.CREDIT, Guard.NONE),
    _K.RECEIVABLE: KindRule(Side.DEBIT, Guard.DEBIT),
    _K.LOSS: KindRule(Side.DEBIT, Guard.NONE),
    _K.EQUITY: KindRule(Side.CREDIT, Guard.NONE),
}
CUSTOMER_LIABILITIES = (AccountKind.BALANCE, AccountKind.WITHDRAWING)
CUSTODY = (
    AccountKind.DEPOSIT_ADDRESSES,
    AccountKind.HOT,
    AccountKind.WARM,
    AccountKind.COLD,
    AccountKind.IN_TRANSIT,
)
PLATFORM = ""
"""Owner of the accounts that belong to no customer and no wallet."""


class AccountKey(NamedTuple):
    """What names an account for ever; numbers are only how rows point at each other."""

    kind: AccountKind
    owner: str
    """`customer:<no>`, a wallet's name, or PLATFORM."""
    asset_no: int


def customer_owner(customer_no: CustomerNo | int) -> str:
    """Return the owner text of a customer."""
    return f"customer:{customer_no}"


def customer_account(kind: AccountKind, customer_no: CustomerNo | int, asset_no: int) -> AccountKey:
    """Name one of a customer's accounts."""
    return AccountKey(kind, f"customer:{customer_no}", asset_no)


def signed_balance(kind: AccountKind, *, debits: int, credits: int) -> int:  # noqa: A002
    """Return debits − credits or credits − debits, by where the kind grows."""
    return debits - credits if CHART[kind].side is Side.DEBIT else credits - debits
