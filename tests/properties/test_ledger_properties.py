"""The books under any history: conservation, and indifference to batches, retries and prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Refused
from custody.db import Database
from custody.ledger import templates
from custody.ledger.audit import audit
from custody.ledger.balances import all_accounts, totals
from custody.ledger.chart import CUSTOMER_LIABILITIES, AccountKey, AccountKind
from custody.ledger.records import Chain, Transfer
from custody.ledger.transfers import chain_head, post

CUSTOMERS = (1, 2, 3)
ASSETS = (0, 1)
LARGE = 1 << 96
amounts = st.one_of(st.integers(1, 10), st.integers(1, LARGE - 1))
customers = st.sampled_from(CUSTOMERS)
assets = st.sampled_from(ASSETS)


class Undo(Exception):
    """Ends a transaction without leaving anything in the database."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An event that may or may not be possible when its turn comes."""

    verb: str
    customer_no: int
    other_no: int
    asset_no: int
    amount: int
    second: int


wishes = st.lists(
    st.builds(
        Wish,
        verb=st.sampled_from(("deposit", "deposit", "trade", "hold", "release", "capture", "take")),
        customer_no=customers,
        other_no=customers,
        asset_no=assets,
        amount=amounts,
        second=amounts,
    ),
    min_size=1,
    max_size=25,
)


class Model:
    """An independent account of what customers have: two dictionaries and plain arithmetic."""

    def __init__(self) -> None:
        self.balance = {(c, a): 0 for c in CUSTOMERS for a in ASSETS}
        self.withdrawing = dict(self.balance)
        self.income = dict.fromkeys(ASSETS, 0)
        self.receivable = dict(self.balance)

    def apply(self, sequence: int, wish: Wish) -> list[Transfer]:
        """Carry a wish out as far as it is possible and return its transfers."""
        method = getattr(self, f"_{wish.verb}")
        return list(method(sequence, wish))

    def _deposit(self, sequence: int, wish: Wish) -> list[Transfer]:
        self.balance[wish.customer_no, wish.asset_no] += wish.amount
        return templates.deposit_credited(
            sequence=sequence, n=0, customer_no=wish.customer_no, asset_no=wish.asset_no,
            amount=wish.amount, wallet="deposits", deposit_id=f"dep_{sequence}",
        )  # fmt: skip

    def _hold(self, sequence: int, wish: Wish) -> list[Transfer]:
        key = wish.customer_no, wish.asset_no
        amount = min(wish.amount, self.balance[key])
        if not amount:
            return []
        self.balance[key] -= amount
        self.withdrawing[key] += amount
        return templates.withdrawal_held(
            sequence=sequence, n=0, customer_no=key[0], asset_no=key[1], amount=amount,
            withdrawal_id=f"wd_{sequence}",
        )  # fmt: skip

    def _release(self, sequence: int, wish: Wish) -> list[Transfer]:
        key = wish.customer_no, wish.asset_no
        amount = min(wish.amount, self.withdrawing[key])
        if not amount:
            return []
        self.withdrawing[key] -= amount
        self.balance[key] += amount
        return templates.withdrawal_released(
            sequence=sequence, n=0, customer_no=key[0], asset_no=key[1], amount=amount,
            withdrawal_id=f"wd_{sequence}",
        )  # fmt: skip

    def _capture(self, sequence: int, wish: Wish) -> list[Transfer]:
        key = wish.customer_no, wish.asset_no
        amount = min(wish.amount, self.withdrawing[key])
        fee = min(wish.second, self.withdrawing[key] - amount)
        if not amount:
            return []
        self.withdrawing[key] -= amount + fee
        self.income[key[1]] += fee
        return templates.withdrawal_captured(
            sequence=sequence, n=0, customer_no=key[0], asset_no=key[1], amount=amount, fee=fee,
            wallet="hot", withdrawal_id=f"wd_{sequence}",
        )  # fmt: skip

    def _take(self, sequence: int, wish: Wish) -> list[Transfer]:
        key = wish.customer_no, wish.asset_no
        taken = min(wish.amount, self.balance[key])
        self.balance[key] -= taken
        self.receivable[key] += wish.amount - taken
        return templates.deposit_reversed(
            sequence=sequence, n=0, customer_no=key[0], asset_no=key[1], taken=taken,
            shortfall=wish.amount - taken, wallet="deposits", deposit_id=f"dep_{sequence}",
        )  # fmt: skip

    def _trade(self, sequence: int, wish: Wish) -> list[Transfer]:
        buyer, seller, base = wish.customer_no, wish.other_no, wish.asset_no
        quote = 1 - base
        base_minor = min(wish.amount, self.balance[seller, base])
        quote_minor = min(wish.second, self.balance[buyer, quote])
        if buyer == seller or not base_minor or not quote_minor:
            return []
        base_fee, quote_fee = base_minor // 7, quote_minor // 9
        self.balance[buyer, quote] -= quote_minor
        self.balance[seller, quote] += quote_minor - quote_fee
        self.balance[seller, base] -= base_minor
        self.balance[buyer, base] += base_minor - base_fee
        self.income[base] += base_fee
        self.income[quote] += quote_fee
        return templates.trade_fill(
            sequence=sequence, n=0, base_asset_no=base, quote_asset_no=quote, buyer_no=buyer,
            seller_no=seller, base_minor=base_minor, quote_minor=quote_minor,
            buyer_fee_base=base_fee, seller_fee_quote=quote_fee,
        )  # fmt: skip


def history_of(wished: list[Wish]) -> tuple[Model, list[list[Transfer]]]:
    model = Model()
    return model, [model.apply(sequence, wish) for sequence, wish in enumerate(wished, 1)]


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


def undone(db: Database, work: Any) -> Any:
    """Run work on empty books and leave them empty."""
    result = None
    try:
        with db.transaction() as conn:
            result = work(conn)
            raise Undo
    except Undo:
        return result


per_database = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def end_of(conn: sa.Connection) -> tuple[object, object]:
    """Return everything by which two books could differ."""
    stored = {account.key: (account.debits, account.credits) for account in all_accounts(conn)}
    return chain_head(conn, Chain.PROJECTED), stored


@per_database
@given(wished=wishes)
def test_books_conserve_every_asset_and_agree_with_the_model(
    db: Database, wished: list[Wish]
) -> None:
    model, batches = history_of(wished)

    def work(conn: sa.Connection) -> None:
        for batch in batches:
            post(conn, batch)
        assert audit(conn) == []
        sums = dict.fromkeys(ASSETS, 0)
        for account in all_accounts(conn):
            sums[account.key.asset_no] += account.debits - account.credits
            if account.key.kind in CUSTOMER_LIABILITIES:
                assert account.balance >= 0
        assert set(sums.values()) == {0}
        found = {account.key: account.balance for account in all_accounts(conn)}
        for (customer_no, asset_no), expected in model.balance.items():
            owner = f"customer:{customer_no}"
            for kind, value in (
                (AccountKind.BALANCE, expected),
                (AccountKind.WITHDRAWING, model.withdrawing[customer_no, asset_no]),
                (AccountKind.RECEIVABLE, model.receivable[customer_no, asset_no]),
            ):
                assert found.get(AccountKey(kind, owner, asset_no), 0) == value
        income = totals(conn)
        for asset_no, expected in model.income.items():
            assert income.get((AccountKind.FEE_INCOME, asset_no), 0) == expected

    undone(db, work)


@per_database
@given(wished=wishes, data=st.data())
def test_retries_prefixes_and_batch_sizes_change_nothing(
    db: Database, wished: list[Wish], data: st.DataObject
) -> None:
    _, batches = history_of(wished)
    every = [transfer for batch in batches for transfer in batch]

    def one_by_one(conn: sa.Connection) -> tuple[object, object]:
        for batch in batches:
            post(conn, batch)
        return end_of(conn)

    def disturbed(conn: sa.Connection) -> tuple[object, object]:
        done = 0
        while done < len(batches):
            step = data.draw(st.integers(1, 6), label="events in this batch")
            begin = data.draw(st.integers(0, done), label="repeated from")
            some = [one for batch in batches[begin : done + step] for one in batch]
            post(conn, some)
            done += step
        assert post(conn, every).posted == 0
        return end_of(conn)

    assert undone(db, one_by_one) == undone(db, disturbed)


@per_database
@given(wished=wishes, at=st.integers(0, 24), excess=st.integers(1, 5))
def test_a_refused_batch_leaves_the_books_as_they_were(
    db: Database, wished: list[Wish], at: int, excess: int
) -> None:
    model, batches = history_of(wished[: at + 1])
    balance = model.balance[1, 0]
    too_much = templates.withdrawal_held(
        sequence=10_000, n=0, customer_no=1, asset_no=0, amount=balance + excess,
        withdrawal_id="wd_too_much",
    )  # fmt: skip
    innocent = templates.deposit_credited(
        sequence=10_001, n=0, customer_no=2, asset_no=0, amount=5, wallet="deposits",
        deposit_id="dep_innocent",
    )  # fmt: skip

    def work(conn: sa.Connection) -> None:
        for batch in batches:
            post(conn, batch)
        before = end_of(conn)
        for batch in (too_much, innocent + too_much, too_much + innocent):
            with pytest.raises(Refused):
                post(conn, batch)
        assert end_of(conn) == before
        assert audit(conn) == []

    undone(db, work)
