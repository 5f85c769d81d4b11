"""At most one process leads, and what an earlier leader still does has no effect."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from core.clock import SECOND_NS, ManualClock
from core.errors import Corrupt
from custody import lease
from custody.db import Database
from custody.lease import Lease, LeaseHeld, LeaseLost

LIFE_NS = 10 * SECOND_NS


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


def _take(
    db: Database,
    clock: ManualClock,
    holder: str = "one",
    *,
    wait_ns: int = 0,
    is_dead: Callable[[str], bool] = lambda _: False,
) -> Lease:
    return lease.take(
        db, holder=holder, clock=clock, duration_ns=LIFE_NS, wait_ns=wait_ns, is_dead=is_dead
    )


def test_every_leadership_has_the_next_epoch(db: Database) -> None:
    clock, epochs = ManualClock(), []
    for _ in range(3):
        held = _take(db, clock)
        epochs.append(held.epoch)
        held.release()
    assert epochs == [1, 2, 3]


def test_a_living_holder_is_not_pushed_aside(db: Database) -> None:
    clock = ManualClock()
    held = _take(db, clock)
    with pytest.raises(LeaseHeld, match="one"):
        _take(db, clock, "two", wait_ns=LIFE_NS // 2)
    held.check()
    held.renew()


def test_a_successor_waits_until_the_lease_has_expired(db: Database) -> None:
    clock = ManualClock()
    held = _take(db, clock)
    successor = _take(db, clock, "two", wait_ns=2 * LIFE_NS)
    assert successor.epoch == held.epoch + 1
    assert clock.monotonic_ns() >= LIFE_NS
    with pytest.raises(LeaseLost):
        held.check()
    with pytest.raises(LeaseLost, match="over"):
        held.renew()
    successor.check()


def test_a_holder_known_to_be_dead_is_not_waited_for(db: Database) -> None:
    clock = ManualClock()
    _take(db, clock)
    successor = _take(db, clock, "two", is_dead=lambda holder: holder == "one")
    assert (successor.epoch, clock.monotonic_ns()) == (2, 0)


def test_a_holder_stops_believing_before_the_lease_expires(db: Database) -> None:
    clock = ManualClock()
    held = _take(db, clock)
    clock.advance(LIFE_NS * 4 // 5 - 1)
    held.check()
    clock.advance(1)
    with pytest.raises(LeaseLost, match="not renewed"):
        held.check()
    held.renew()
    held.check()


def test_an_epoch_is_over_for_its_writers_once_a_newer_one_began(db: Database) -> None:
    clock = ManualClock()
    held = _take(db, clock)
    db.run(lambda conn: lease.still_held(conn, held.epoch))
    clock.advance(LIFE_NS)
    _take(db, clock, "two")
    with pytest.raises(LeaseLost, match="epoch 2 leads"):
        db.run(lambda conn: lease.still_held(conn, held.epoch))
    with pytest.raises(Corrupt):
        db.run(lambda conn: lease.still_held(conn, 3))


def test_a_lease_is_not_taken_while_a_write_of_the_old_epoch_is_under_way(db: Database) -> None:
    clock = ManualClock()
    held, taken = _take(db, clock), threading.Event()
    clock.advance(LIFE_NS)

    def take() -> None:
        _take(db, clock, "two")
        taken.set()

    thread = threading.Thread(target=take)
    with db.transaction() as conn:
        lease.still_held(conn, held.epoch)
        thread.start()
        assert not taken.wait(0.2)
    thread.join(10)
    assert taken.is_set()


def test_of_many_that_take_a_free_lease_at_once_exactly_one_gets_it(db: Database) -> None:
    clock, outcomes = ManualClock(), []
    barrier = threading.Barrier(4)

    def take(holder: str) -> None:
        barrier.wait(10)
        try:
            outcomes.append(_take(db, clock, holder).epoch)
        except LeaseHeld:
            outcomes.append(0)

    threads = [threading.Thread(target=take, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == [0, 0, 0, 1]
