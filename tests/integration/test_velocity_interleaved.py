"""B05: every order of statements of two transactions, scheduled one by one against PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from custody import velocity
from custody.db import Database, counters
from custody.policy.decision import Charge
from tests.support.databases import Databases
from tests.support.interleaver import interleaved

NOW = 1_700_000_000_000_000_000
WINDOW = 1_000
KEY = "daily/customer=7"
ISOLATIONS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
ORDERS_MAX = 5_000

Work = Callable[[sa.Connection], Any]


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    with databases.fresh("postgresql") as url:
        yield url


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    opened = Database.open(url)
    opened.create_all()
    yield opened
    opened.close()


def charge(amount: int) -> Charge:
    return Charge("daily", KEY, amount, 10, WINDOW)


def begin_afresh(db: Database, *first: Work) -> Callable[[], None]:
    def prepare() -> None:
        def apply(conn: sa.Connection) -> None:
            conn.execute(velocity.velocity_reservations.delete())
            conn.execute(velocity.velocity_totals.delete())
            conn.execute(counters.delete())
            for work in first:
                work(conn)

        db.run(apply)

    return prepare


def reserve(owner: str, amount: int = 6, now_ns: int = NOW) -> Work:
    return lambda conn: velocity.reserve(conn, [charge(amount)], owner=owner, now_ns=now_ns)


def look_first(work: Work) -> Work:
    """As a caller that reads other rows before it comes to velocity."""

    def both(conn: sa.Connection) -> object:
        conn.execute(sa.select(velocity.velocity_reservations.c.owner)).all()
        return work(conn)

    return both


def sum_and_insert(owner: str) -> Work:
    """What everybody writes first: add up, compare, insert. No lock, no total."""
    rows = velocity.velocity_reservations

    def naive(conn: sa.Connection) -> object:
        held = conn.execute(sa.select(rows.c.amount).where(rows.c.key == KEY)).scalars().all()
        if sum(held) + 6 > 10:
            return (charge(6),)
        conn.execute(rows.insert().values(owner=owner, key=KEY, amount=6, reserved_at_ns=NOW))
        return ()

    return naive


def held(db: Database) -> list[int]:
    rows = velocity.velocity_reservations
    with db.read() as conn:
        return list(
            conn.execute(sa.select(rows.c.amount).where(rows.c.freed_at_ns.is_(None))).scalars()
        )


def totals_fit(db: Database, now_ns: int) -> None:
    """The running total is what a fresh look at all the rows adds up to."""
    with db.read() as conn:
        told = velocity.used(conn, [charge(0)], now_ns)[KEY]
        rows = conn.execute(sa.select(velocity.velocity_reservations)).all()
    counts = [
        row.amount
        for row in rows
        if row.freed_at_ns is None
        and (row.released_at_ns is None or now_ns < row.released_at_ns + WINDOW)
    ]
    assert told == sum(counts)


def skews(
    db: Database, url: str, isolation: str, works: list[Work], *first: Work
) -> tuple[int, int]:
    """Return in how many orders both got the money, and how many orders there are."""
    both = count = 0
    with interleaved(url, isolation) as interleaver:
        for _, sessions in itertools.islice(
            interleaver.orders(begin_afresh(db, *first), works), ORDERS_MAX
        ):
            count += 1
            answers = [session.answer for session in sessions]
            assert () in answers, answers
            both += answers == [(), ()]
            assert (sum(held(db)) > 10) == (answers == [(), ()])
    assert count < ORDERS_MAX, "not every order was tried"
    return both, count


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("is_known", [True, False], ids=["known_key", "new_key"])
def test_of_two_reserves_one_gets_the_money_in_every_order_of_their_statements(
    db: Database, url: str, isolation: str, is_known: bool
) -> None:
    first = [reserve("earlier", 1)] if is_known else []
    works = [look_first(reserve("a")), look_first(reserve("b"))]
    both, count = skews(db, url, isolation, works, *first)
    assert both == 0
    assert count >= 10
    totals_fit(db, NOW)


def test_without_the_lock_both_get_the_money_in_some_order(
    db: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = reserve("earlier", 1)
    monkeypatch.setattr(velocity, "take_turn", lambda _conn: None)
    works = [reserve("a"), reserve("b")]
    with interleaved(url, "READ COMMITTED") as interleaver:
        orders = interleaver.orders(begin_afresh(db, earlier), works)
        skewed = (order for order, both in orders if [one.answer for one in both] == [(), ()])
        assert next(skewed, None) is not None
    assert sum(held(db)) == 13


def test_adding_up_and_inserting_is_write_skew_below_serializable(db: Database, url: str) -> None:
    works = [sum_and_insert("a"), sum_and_insert("b")]
    found = {isolation: skews(db, url, isolation, works) for isolation in ISOLATIONS}
    assert found["READ COMMITTED"][0] > 0
    assert found["REPEATABLE READ"][0] > 0
    assert found["SERIALIZABLE"][0] == 0
    assert found["REPEATABLE READ"][1] >= 10, "the orders of three statements each"


def _release(conn: sa.Connection) -> None:
    velocity.release(conn, "x", NOW + 5)


def _free(conn: sa.Connection) -> None:
    velocity.free(conn, "x", NOW + 5)


def _reprice(conn: sa.Connection) -> object:
    return velocity.reprice(conn, [charge(9)], owner="x", now_ns=NOW + 5)


VERBS: dict[str, Work] = {
    "reserve": reserve("y", 5, NOW + WINDOW + 7),
    "release": _release,
    "free": _free,
}


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("pair", list(itertools.combinations(VERBS, 2)), ids="-".join)
def test_totals_equal_the_rows_after_every_order_of_any_two_verbs(
    db: Database, url: str, isolation: str, pair: tuple[str, str]
) -> None:
    with interleaved(url, isolation) as interleaver:
        works = [VERBS[name] for name in pair]
        for order, _ in interleaver.orders(begin_afresh(db, reserve("x", 4)), works):
            for now_ns in (NOW, NOW + 5, NOW + WINDOW + 4, NOW + WINDOW + 5, NOW + 3 * WINDOW):
                totals_fit(db, now_ns)
            assert sum(held(db)) <= 10, order


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_fresh_price_and_another_reserve_share_a_window_in_every_order(
    db: Database, url: str, isolation: str
) -> None:
    winners = set()
    with interleaved(url, isolation) as interleaver:
        for _, sessions in interleaver.orders(
            begin_afresh(db, reserve("x", 4)), [_reprice, reserve("y", 5)]
        ):
            answers = [session.answer for session in sessions]
            assert answers.count(()) == 1
            winners.add(answers.index(()))
            totals_fit(db, NOW + 5)
            assert sum(held(db)) <= 10
    assert winners == {0, 1}
