"""Posting: all or nothing, once per id, never below zero."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from core.errors import Reason, Refused
from core.ids import TransferId
from custody.db import Database
from custody.ledger import templates
from custody.ledger.accounts import account, accounts
from custody.ledger.chart import PLATFORM, AccountKey, AccountKind, customer_account
from custody.ledger.records import TRANSFER_LIMIT, Chain, Transfer, transfers
from custody.ledger.transfers import PostResult, chain_head, find_transfers, post
from tests.unit.custody.ledger.events import (
    ANN,
    AT_NS,
    BOB,
    ETH,
    USD,
    book,
    deposit,
    fill,
    hold,
    of_customer,
    of_house,
    release,
)

K = AccountKind
BALANCE = customer_account(K.BALANCE, ANN, ETH)
EQUITY = AccountKey(K.EQUITY, PLATFORM, ETH)


def transfer(**changes: object) -> Transfer:
    values: dict[str, object] = {
        "id": TransferId(bytes(16)),
        "chain": Chain.TREASURY,
        "debit": AccountKey(K.HOT, "hot", ETH),
        "credit": EQUITY,
        "amount": 1,
        "cause_kind": "test",
        "cause_id": "1",
    }
    return Transfer(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": 0}, Reason.ZERO_AMOUNT),
        ({"amount": -1}, Reason.MALFORMED_AMOUNT),
        ({"amount": 1.0}, Reason.MALFORMED_AMOUNT),
        ({"amount": True}, Reason.MALFORMED_AMOUNT),
        ({"amount": "1"}, Reason.MALFORMED_AMOUNT),
        ({"amount": TRANSFER_LIMIT}, Reason.AMOUNT_OUT_OF_RANGE),
        ({"credit": AccountKey(K.HOT, "hot", ETH)}, Reason.SAME_ACCOUNT),
        ({"credit": AccountKey(K.EQUITY, PLATFORM, USD)}, Reason.ASSET_MISMATCH),
        ({"id": b"short"}, Reason.MALFORMED),
        ({"id": "0123456789abcdef"}, Reason.MALFORMED),
        ({"cause_kind": ""}, Reason.MALFORMED),
        ({"cause_id": "x" * 201}, Reason.MALFORMED),
    ],
)
def test_a_transfer_that_makes_no_sense_cannot_be_made(
    changes: dict[str, object], reason: Reason
) -> None:
    with pytest.raises(Refused) as refusal:
        transfer(**changes)
    assert refusal.value.reason is reason


def test_the_largest_transfer_is_posted_exactly(books: Database) -> None:
    largest = transfer(amount=TRANSFER_LIMIT - 1)
    book(books, [largest])
    second = transfer(id=bytes([1] * 16), amount=TRANSFER_LIMIT - 1)
    book(books, [second])
    assert of_house(books, K.HOT, "hot", ETH) == 2 * (TRANSFER_LIMIT - 1)
    with books.read() as conn:
        assert find_transfers(conn, [largest.id])[largest.id] == largest


def test_an_empty_batch_does_nothing(books: Database) -> None:
    assert book(books, []) == PostResult(posted=0, repeated=0)


def test_the_same_batch_twice_has_one_effect(books: Database) -> None:
    batch = deposit(1, ANN, ETH, 100) + hold(2, ANN, ETH, 100)
    assert book(books, batch) == PostResult(posted=2, repeated=0)
    assert book(books, batch) == PostResult(posted=0, repeated=2)
    assert of_customer(books, ANN, ETH) == 0
    assert of_customer(books, ANN, ETH, K.WITHDRAWING) == 100


def test_a_batch_that_is_half_known_posts_the_other_half(books: Database) -> None:
    first, second = deposit(1, ANN, ETH, 100), hold(2, ANN, ETH, 60)
    book(books, first)
    assert book(books, first + second) == PostResult(posted=1, repeated=1)
    assert of_customer(books, ANN, ETH) == 40


def test_one_transfer_twice_in_a_batch_counts_once(books: Database) -> None:
    batch = deposit(1, ANN, ETH, 100)
    assert book(books, batch + batch) == PostResult(posted=1, repeated=1)
    assert of_customer(books, ANN, ETH) == 100


def test_a_later_clock_does_not_make_a_retry_another_transfer(books: Database) -> None:
    funding = templates.operator_funding(wallet="hot", asset_no=ETH, amount=5, deposit_id="dep")
    for at_ns in (AT_NS, AT_NS + 1):
        books.run(lambda conn, at_ns=at_ns: post(conn, funding, at_ns=at_ns))  # type: ignore[misc]
    assert of_house(books, K.HOT, "hot", ETH) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 101},
        {"credit": customer_account(K.BALANCE, BOB, ETH)},
        {"debit": AccountKey(K.DEPOSIT_ADDRESSES, "other", ETH)},
        {"cause_id": "dep_2"},
        {"cause_kind": "gift"},
    ],
)
def test_the_same_id_with_other_content_is_refused(
    books: Database, change: dict[str, object]
) -> None:
    (known,) = deposit(1, ANN, ETH, 100)
    other = dataclasses.replace(known, **change)  # type: ignore[arg-type]
    book(books, [known])
    for batch in ([other], [*deposit(2, BOB, ETH, 1), other], [known, other]):
        with pytest.raises(Refused) as refusal:
            book(books, batch)
        assert refusal.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT
    assert of_customer(books, ANN, ETH) == 100
    assert of_customer(books, BOB, ETH) == 0


@pytest.mark.parametrize(
    ("batch", "named"),
    [
        (hold(2, ANN, ETH, 101), "balance of customer:1, asset 0"),
        (release(2, ANN, ETH, 1), "withdrawing of customer:1, asset 0"),
        (fill(2, base=1, quote=1), "balance of customer:"),
        (
            templates.suspense_to_equity(wallet="hot", asset_no=ETH, amount=1, entry_id="e"),
            "suspense of hot, asset 0",
        ),
    ],
)
def test_what_is_not_there_is_refused_by_the_name_of_the_account(
    books: Database, batch: list[Transfer], named: str
) -> None:
    book(books, deposit(1, ANN, ETH, 100))
    with pytest.raises(Refused) as refusal:
        book(books, batch)
    assert refusal.value.reason is Reason.EXCEEDS_AVAILABLE
    assert named in refusal.value.detail


def test_a_refused_batch_leaves_the_transaction_usable_and_nothing_behind(
    books: Database,
) -> None:
    book(books, deposit(1, ANN, ETH, 100))
    with books.transaction() as conn:
        before = chain_head(conn, Chain.PROJECTED)
        with pytest.raises(Refused):
            post(conn, [*deposit(2, BOB, ETH, 5), *hold(3, ANN, ETH, 101)])
        assert chain_head(conn, Chain.PROJECTED) == before
        post(conn, hold(4, ANN, ETH, 100))
    assert of_customer(books, BOB, ETH) == 0
    assert of_customer(books, ANN, ETH) == 0
    with books.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(transfers)).scalar() == 2


def test_a_refused_id_is_not_burned(books: Database) -> None:
    held = hold(1, ANN, ETH, 100)
    with pytest.raises(Refused):
        book(books, held)
    book(books, deposit(2, ANN, ETH, 100))
    assert book(books, held) == PostResult(posted=1, repeated=0)


def test_money_can_pass_through_an_account_within_one_batch(books: Database) -> None:
    book(books, deposit(1, ANN, ETH, 100) + hold(2, ANN, ETH, 100) + release(3, ANN, ETH, 100))
    assert of_customer(books, ANN, ETH) == 100


def test_batches_of_two_chains_are_not_mixed(db: Database) -> None:
    mixed = [*deposit(1, ANN, ETH, 1), transfer()]
    with pytest.raises(ValueError, match="one chain"), db.transaction() as conn:
        post(conn, mixed)


@pytest.mark.parametrize(
    ("batch", "at_ns"), [(deposit(1, ANN, ETH, 1), AT_NS), ([transfer()], None), ([transfer()], -1)]
)
def test_only_treasury_transfers_are_dated(
    db: Database, batch: list[Transfer], at_ns: int | None
) -> None:
    with pytest.raises(ValueError, match="dated"), db.transaction() as conn:
        post(conn, batch, at_ns=at_ns)


def test_positions_have_no_gaps_and_each_chain_its_own(books: Database) -> None:
    for sequence in (1, 2, 3):
        book(books, deposit(sequence, ANN, ETH, 1))
    book(books, [transfer()])
    with books.read() as conn:
        rows = conn.execute(
            sa.select(transfers.c.chain, transfers.c.position).order_by("chain", "position")
        )
        assert [tuple(row) for row in rows] == [
            ("projected", 1),
            ("projected", 2),
            ("projected", 3),
            ("treasury", 1),
        ]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_projected_chain_depends_on_the_journal_alone(books: Database, size: int) -> None:
    batch = [one for n in range(1, 5) for one in deposit(n, ANN, ETH, n)] + hold(9, ANN, ETH, 3)
    for noise in range(size):  # other numbers for the accounts, and rows of the other chain
        book(books, [transfer(id=bytes([noise] * 16), debit=AccountKey(K.HOT, str(noise), ETH))])
    for start in range(0, len(batch), size):
        book(books, batch[start : start + size])
    with books.read() as conn:
        head = chain_head(conn, Chain.PROJECTED)
    assert head.position == 5
    assert head.hash.hex() == "6bbcd21d2a17f6732f8728b77d6fe75397afc3db4480b8acd235807fd3dd6308"


def test_an_account_is_made_once(books: Database) -> None:
    made = books.run(lambda conn: account(conn, K.HOT, "hot", ETH))
    assert books.run(lambda conn: account(conn, K.HOT, "hot", ETH)) == made
    assert books.run(lambda conn: account(conn, K.HOT, "hot", USD)).account_id == 2
    with books.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(accounts)).scalar() == 2


def test_a_batch_of_thousands_is_posted_whole(books: Database) -> None:
    batch = [
        one
        for sequence in range(3_000)
        for one in deposit(sequence, sequence % 700, sequence % 3, 10**18 + sequence)
    ]
    assert book(books, batch) == PostResult(posted=3_000, repeated=0)
    assert book(books, batch) == PostResult(posted=0, repeated=3_000)
    assert sum(
        of_house(books, K.DEPOSIT_ADDRESSES, "deposits", asset_no) for asset_no in range(3)
    ) == 3_000 * 10**18 + sum(range(3_000))


def test_first_postings_at_once_all_arrive(books: Database) -> None:
    start = threading.Barrier(4)

    def first(sequence: int) -> None:
        start.wait()
        batch = deposit(sequence, sequence, ETH, 10)
        books.run(lambda conn: post(conn, batch), attempts=100)
        books.run(lambda conn: post(conn, batch), attempts=100)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(first, sequence) for sequence in range(1, 5)]:
            done.result()
    assert of_house(books, K.DEPOSIT_ADDRESSES, "deposits", ETH) == 40


def test_the_same_event_posted_by_two_at_once_has_one_effect(books: Database) -> None:
    start = threading.Barrier(4)
    batch = deposit(1, ANN, ETH, 10)

    def again() -> PostResult:
        start.wait()
        return books.run(lambda conn: post(conn, batch), attempts=100)

    with ThreadPoolExecutor(4) as pool:
        results = [done.result() for done in [pool.submit(again) for _ in range(4)]]
    assert sorted(result.posted for result in results) == [0, 0, 0, 1]
    assert of_customer(books, ANN, ETH) == 10
