"""Reading the books gives what was posted, by customer, by kind and at a position."""

from __future__ import annotations

from core.ids import AssetNo, CustomerNo
from custody.db import Database
from custody.ledger.balances import (
    CustomerBalance,
    all_accounts,
    all_customer_balances,
    balance_at,
    customer_balances,
    liabilities,
    totals,
)
from custody.ledger.chart import AccountKey, AccountKind, customer_account
from custody.ledger.records import Chain
from custody.ledger.transfers import chain_head
from tests.unit.custody.ledger.events import (
    ANN,
    BOB,
    ETH,
    USD,
    book,
    deposit,
    hold,
    of_customer,
    sweep,
)

K = AccountKind


def test_a_customer_sees_balances_and_withdrawals_by_asset(books: Database) -> None:
    book(books, deposit(1, ANN, USD, 100) + deposit(2, ANN, ETH, 2**90) + deposit(3, 10, ETH, 5))
    book(books, hold(4, ANN, ETH, 2**80))
    with books.read() as conn:
        ann, eth, usd = CustomerNo(ANN), AssetNo(ETH), AssetNo(USD)
        assert customer_balances(conn, ANN) == [
            CustomerBalance(ann, eth, balance=2**90 - 2**80, withdrawing=2**80),
            CustomerBalance(ann, usd, balance=100, withdrawing=0),
        ]
        assert customer_balances(conn, BOB) == []
        assert customer_balances(conn, 10)[0].total == 5
        everybody = list(all_customer_balances(conn))
        assert [(row.customer_no, row.asset_no) for row in everybody] == [(1, 0), (1, 1), (10, 0)]
        assert liabilities(conn) == {ETH: 2**90 + 5, USD: 100}


def test_an_account_that_does_not_exist_is_empty(books: Database) -> None:
    assert of_customer(books, ANN, ETH) == 0
    with books.read() as conn:
        key = customer_account(K.BALANCE, ANN, ETH)
        assert balance_at(conn, key, projected_position=0, treasury_position=0) == 0
        assert liabilities(conn) == {}
        assert list(all_accounts(conn)) == []


def test_totals_have_the_sign_of_their_side_and_cancel_out(books: Database) -> None:
    book(books, deposit(1, ANN, ETH, 100))
    book(
        books,
        sweep(70, spend_id="s"),
    )
    with books.read() as conn:
        assert totals(conn) == {
            (K.BALANCE, ETH): 100,
            (K.DEPOSIT_ADDRESSES, ETH): 30,
            (K.HOT, ETH): 70,
        }
        assert sum(one.debits - one.credits for one in all_accounts(conn)) == 0


def test_a_balance_at_a_position_is_the_balance_it_was(books: Database) -> None:
    seen = []
    addresses = AccountKey(K.DEPOSIT_ADDRESSES, "deposits", ETH)
    for sequence in range(1, 6):
        book(books, deposit(sequence, ANN, ETH, 10**20 * sequence))
        book(
            books,
            sweep(sequence, spend_id=f"s{sequence}"),
        )  # fmt: skip
        with books.read() as conn:
            ends = chain_head(conn, Chain.PROJECTED), chain_head(conn, Chain.TREASURY)
            now = balance_at(
                conn,
                addresses,
                projected_position=ends[0].position,
                treasury_position=ends[1].position,
            )
            seen.append((sequence, now))
    assert seen[-1][1] == 10**20 * 15 - 15
    with books.read() as conn:
        for position, balance in seen:
            assert balance == balance_at(
                conn, addresses, projected_position=position, treasury_position=position
            )
