"""What a window holds is exact, at every nanosecond and to the last unit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from core.errors import Reason, Refused
from custody import velocity
from custody.db import Database
from custody.policy.decision import Charge

WINDOW = 100
NOW = 1_700_000_000_000_000_000


def charge(amount: int, *, cap: int = 10, key: str = "daily/customer=7", w: int = WINDOW) -> Charge:
    return Charge("daily", key, amount, cap, w)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


@pytest.fixture
def conn(db: Database) -> Iterator[sa.Connection]:
    with db.transaction() as opened:
        yield opened


def used(conn: sa.Connection, now_ns: int, *, w: int = WINDOW, but: str = "") -> int:
    return velocity.used(conn, [charge(0, w=w)], now_ns, but=but)["daily/customer=7"]


def reserve(conn: sa.Connection, owner: str, amount: int, now_ns: int = NOW) -> bool:
    return velocity.reserve(conn, [charge(amount)], owner=owner, now_ns=now_ns) == ()


def test_a_window_is_filled_to_the_last_unit_and_not_beyond(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 6)
    assert not reserve(conn, "b", 5)
    assert reserve(conn, "c", 4)
    assert used(conn, NOW) == 10


def test_a_reservation_counts_from_its_release_for_exactly_one_window(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 10)
    assert used(conn, NOW + 10 * WINDOW) == 10
    velocity.release(conn, "a", NOW + 5)
    assert used(conn, NOW + 5 + WINDOW - 1) == 10
    assert used(conn, NOW + 5 + WINDOW) == 0
    assert not reserve(conn, "b", 1, NOW + 5 + WINDOW - 1)
    assert reserve(conn, "c", 10, NOW + 5 + WINDOW)


def test_one_bucket_that_is_full_reserves_nothing_anywhere(conn: sa.Connection) -> None:
    roomy, full = charge(3, key="a"), charge(11, key="b")
    assert velocity.reserve(conn, [roomy, full], owner="x", now_ns=NOW) == (full,)
    assert velocity.used(conn, [roomy, full], NOW) == {"a": 0, "b": 0}


def test_what_is_freed_is_free_at_once_before_and_after_its_release(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 5)
    assert reserve(conn, "b", 5)
    velocity.free(conn, "a", NOW + 1)
    velocity.release(conn, "b", NOW + 1)
    assert used(conn, NOW + 1) == 5
    velocity.free(conn, "b", NOW + 2)
    velocity.free(conn, "b", NOW + 3)
    assert used(conn, NOW + 3) == 0


def test_what_left_its_window_and_is_freed_then_changes_nothing(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 5)
    velocity.release(conn, "a", NOW)
    assert reserve(conn, "b", 10, NOW + WINDOW)
    velocity.free(conn, "a", NOW + WINDOW + 1)
    assert used(conn, NOW + WINDOW + 1) == 10


def test_the_same_charges_of_an_owner_again_change_nothing(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 6)
    assert reserve(conn, "a", 6)
    assert used(conn, NOW) == 6
    with pytest.raises(Refused, match="exists_with_other_content"):
        reserve(conn, "a", 5)
    velocity.free(conn, "a", NOW)
    with pytest.raises(Refused, match="exists_with_other_content"):
        reserve(conn, "a", 6)


def test_a_window_that_a_new_policy_made_longer_begins_with_what_was_released(
    conn: sa.Connection,
) -> None:
    assert reserve(conn, "a", 7)
    velocity.release(conn, "a", NOW)
    assert reserve(conn, "b", 2, NOW + WINDOW)  # "a" has left the short window
    assert used(conn, NOW + WINDOW, w=3 * WINDOW) == 9
    longer = charge(2, w=3 * WINDOW)
    assert velocity.reserve(conn, [longer], owner="c", now_ns=NOW + WINDOW) == (longer,)
    longer = charge(1, w=3 * WINDOW)
    assert velocity.reserve(conn, [longer], owner="c", now_ns=NOW + WINDOW) == ()
    assert used(conn, NOW + WINDOW) == 3
    assert used(conn, NOW + 3 * WINDOW, w=3 * WINDOW) == 3


def test_a_clock_that_steps_back_brings_back_what_had_left(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 8)
    velocity.release(conn, "a", NOW)
    assert reserve(conn, "b", 2, NOW + 5 * WINDOW)  # "a" left the sum
    assert used(conn, NOW + 5 * WINDOW) == 2
    assert used(conn, NOW + 1) == 10
    velocity.release(conn, "b", NOW + 1)  # far behind what has left
    assert not reserve(conn, "c", 1, NOW + 1)
    assert used(conn, NOW + WINDOW) == 2
    assert used(conn, NOW + WINDOW + 1) == 0


def test_fresh_prices_change_what_an_owner_holds_until_its_release(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 4)
    assert reserve(conn, "b", 4)
    assert velocity.reprice(conn, [charge(6)], owner="b", now_ns=NOW) == ()
    above = charge(7)
    assert velocity.reprice(conn, [above], owner="b", now_ns=NOW) == (above,)
    assert used(conn, NOW) == 10
    assert used(conn, NOW, but="b") == 4
    more = charge(3, key="new")
    assert velocity.reprice(conn, [charge(5), more], owner="b", now_ns=NOW) == ()
    assert velocity.used(conn, [charge(0), more], NOW) == {"daily/customer=7": 9, "new": 3}
    velocity.release(conn, "b", NOW)
    with pytest.raises(Refused) as refused:
        velocity.reprice(conn, [charge(1)], owner="b", now_ns=NOW)
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION


def test_amounts_of_any_size_are_summed_exactly(conn: sa.Connection) -> None:
    cap = (1 << 255) - 1
    half = charge(1 << 254, cap=cap)
    assert velocity.reserve(conn, [half], owner="a", now_ns=NOW) == ()
    assert velocity.reserve(conn, [half], owner="b", now_ns=NOW) == (half,)
    rest = charge((1 << 254) - 1, cap=cap)
    assert velocity.reserve(conn, [rest], owner="c", now_ns=NOW) == ()
    assert used(conn, NOW) == cap


def test_what_was_signed_and_is_dead_is_held_again_until_it_is_released_once_more(
    conn: sa.Connection,
) -> None:
    assert reserve(conn, "a", 6)
    velocity.release(conn, "a", NOW)
    assert used(conn, NOW + WINDOW) == 0, "control: it would have left"
    velocity.hold_again(conn, "a", NOW + WINDOW)
    velocity.hold_again(conn, "a", NOW + WINDOW)
    assert used(conn, NOW + 9 * WINDOW) == 6
    assert velocity.reprice(conn, [charge(7)], owner="a", now_ns=NOW + 9 * WINDOW) == ()
    velocity.release(conn, "a", NOW + 9 * WINDOW)
    assert (used(conn, NOW + 10 * WINDOW - 1), used(conn, NOW + 10 * WINDOW)) == (7, 0)
    velocity.free(conn, "a", NOW + 10 * WINDOW)
    velocity.hold_again(conn, "a", NOW + 10 * WINDOW)
    assert used(conn, NOW + 10 * WINDOW) == 0, "what is freed stays free"


def test_what_is_held_again_inside_its_window_counts_once(conn: sa.Connection) -> None:
    assert reserve(conn, "a", 6)
    velocity.release(conn, "a", NOW)
    velocity.hold_again(conn, "a", NOW + 1)
    assert used(conn, NOW + 1) == 6
