"""Read the books: balances, totals and liabilities, each as the caller's snapshot sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from core.ids import AssetNo, CustomerNo
from custody.db import sum_amount
from custody.ledger.accounts import Account, accounts, find_accounts
from custody.ledger.chart import (
    CUSTOMER_LIABILITIES,
    AccountKey,
    AccountKind,
    customer_owner,
    signed_balance,
)
from custody.ledger.records import Chain, transfers

PAGE = 5_000


@dataclass(frozen=True, slots=True)
class CustomerBalance:
    """What the books owe one customer in one asset, in minor units."""

    customer_no: CustomerNo
    asset_no: AssetNo
    balance: int
    withdrawing: int

    @property
    def total(self) -> int:
        """Return the liability."""
        return self.balance + self.withdrawing


def balance_of(conn: sa.Connection, kind: AccountKind, owner: str, asset_no: AssetNo | int) -> int:
    """Return an account's balance on the side where it grows; 0 for one that does not exist."""
    key = AccountKey(kind, owner, int(asset_no))
    found = find_accounts(conn, [key]).get(key)
    return 0 if found is None else found.balance


def balance_at(
    conn: sa.Connection,
    key: AccountKey,
    *,
    projected_position: int,
    treasury_position: int,
) -> int:
    """Return a balance from the rows up to a position of each chain; reads every such row.

    With the positions of chain_head it is the stored balance, found in another way.
    """
    found = find_accounts(conn, [key]).get(key)
    if found is None:
        return 0
    cut = sa.or_(
        sa.and_(transfers.c.chain == Chain.PROJECTED, transfers.c.position <= projected_position),
        sa.and_(transfers.c.chain == Chain.TREASURY, transfers.c.position <= treasury_position),
    )
    sides = []
    for column in (transfers.c.debit_account, transfers.c.credit_account):
        statement = sa.select(sum_amount(transfers.c.amount)).where(cut, column == found.account_id)
        sides.append(conn.execute(statement).scalar_one())
    return signed_balance(key.kind, debits=sides[0], credits=sides[1])


def customer_balances(conn: sa.Connection, customer_no: CustomerNo | int) -> list[CustomerBalance]:
    """Return what the books owe a customer, by asset number; assets never touched are absent."""
    owned = accounts.c.owner == customer_owner(customer_no)
    return list(_customer_balances(conn, owned))


def all_customer_balances(conn: sa.Connection) -> Iterator[CustomerBalance]:
    """Yield every customer's balances, by customer and asset number."""
    yield from _customer_balances(conn, sa.true())


def totals(conn: sa.Connection) -> dict[tuple[AccountKind, int], int]:
    """Return the summed balance of every kind and asset number."""
    statement = sa.select(
        accounts.c.kind,
        accounts.c.asset_no,
        sum_amount(accounts.c.debits),
        sum_amount(accounts.c.credits),
    ).group_by(accounts.c.kind, accounts.c.asset_no)
    return {
        (AccountKind(kind), asset_no): signed_balance(
            AccountKind(kind), debits=debits, credits=credits_
        )
        for kind, asset_no, debits, credits_ in conn.execute(statement)
    }


def liabilities(conn: sa.Connection) -> dict[int, int]:
    """Return what the books owe customers, by asset number: balances and withdrawals in flight."""
    owed: dict[int, int] = {}
    for (kind, asset_no), total in totals(conn).items():
        if kind in CUSTOMER_LIABILITIES:
            owed[asset_no] = owed.get(asset_no, 0) + total
    return owed


def all_accounts(conn: sa.Connection) -> Iterator[Account]:
    """Yield every account, by account number."""
    last = 0
    while page := conn.execute(
        sa.select(accounts)
        .where(accounts.c.account_id > last)
        .order_by(accounts.c.account_id)
        .limit(PAGE)
    ).all():
        for row in page:
            key = AccountKey(AccountKind(row.kind), row.owner, row.asset_no)
            yield Account(row.account_id, key, row.debits, row.credits)
        last = page[-1].account_id


def _customer_balances(
    conn: sa.Connection, condition: sa.ColumnElement[bool]
) -> Iterator[CustomerBalance]:
    statement = sa.select(accounts).where(accounts.c.kind.in_(CUSTOMER_LIABILITIES), condition)
    held: dict[tuple[int, int], dict[AccountKind, int]] = {}
    for row in conn.execute(statement):
        kind = AccountKind(row.kind)
        customer_no = int(row.owner.removeprefix("customer:"))
        of_owner = held.setdefault((customer_no, row.asset_no), {})
        of_owner[kind] = signed_balance(kind, debits=row.debits, credits=row.credits)
    for (customer_no, asset_no), kinds in sorted(held.items()):
        yield CustomerBalance(
            customer_no=CustomerNo(customer_no),
            asset_no=AssetNo(asset_no),
            balance=kinds.get(AccountKind.BALANCE, 0),
            withdrawing=kinds.get(AccountKind.WITHDRAWING, 0),
        )
