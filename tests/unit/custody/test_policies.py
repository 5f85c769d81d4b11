"""The versions of the policy in the database: one line of versions, the newest in time in force."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from core.errors import Corrupt, Reason, Refused
from custody import policies
from custody.db import Database

BODY = """version = 1
serial = {serial}
previous = "{previous}"
issued_ns = 0
[publish]
quorum = "2 of officers"
delay_s = 0
[price]
stale_after_s = 60
[groups.officers]
persons = ["ada", "ben"]
"""
FIRST = BODY.format(serial=1, previous="").encode()


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """Return an empty database of each kind."""
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


def add(db: Database, body: bytes, *, at_ns: int) -> bytes:
    found = db.run(partial(policies.add, body=body, in_force_from_ns=at_ns, by="ada", now_ns=at_ns))
    return found.hash


def serial(db: Database, now_ns: int) -> int:
    with db.read() as conn:
        return policies.in_force(conn, now_ns).serial


def test_a_version_is_in_force_from_its_time_on_and_the_first_at_once(db: Database) -> None:
    with pytest.raises(Refused) as refused:
        serial(db, 9)
    assert refused.value.reason is Reason.UNKNOWN_POLICY
    first = add(db, FIRST, at_ns=10)
    second = add(db, BODY.format(serial=2, previous=first.hex()).encode(), at_ns=20)
    assert [serial(db, now_ns) for now_ns in (9, 10, 19, 20, 99)] == [1, 1, 1, 2, 2]
    with db.read() as conn:
        assert policies.get(conn, first).serial == 1
        assert policies.get(conn, second).serial == 2


def test_a_clock_that_steps_back_brings_no_older_version_back(db: Database) -> None:
    first = add(db, FIRST, at_ns=10)
    second = add(db, BODY.format(serial=2, previous=first.hex()).encode(), at_ns=20)
    with db.read() as conn:
        assert policies.in_force(conn, 15).serial == 1, "the control"
        assert policies.in_force(conn, 15, since=first).serial == 1
        assert policies.in_force(conn, 15, since=second).serial == 2


def test_a_version_follows_the_last_one_or_is_refused(db: Database) -> None:
    first = add(db, FIRST, at_ns=10)
    assert add(db, FIRST, at_ns=99) == first, "again changes nothing"
    assert serial(db, 10) == 1
    for body, reason in (
        (FIRST + b"# other bytes\n", Reason.EXISTS_WITH_OTHER_CONTENT),
        (BODY.format(serial=3, previous=first.hex()).encode(), Reason.UNKNOWN_POLICY),
        (BODY.format(serial=2, previous="00" * 32).encode(), Reason.UNKNOWN_POLICY),
        (FIRST.replace(b"2 of", b"two of"), Reason.MALFORMED),
    ):
        with pytest.raises(Refused) as refused:
            add(db, body, at_ns=30)
        assert refused.value.reason is reason


def test_a_row_with_another_body_than_its_hash_is_never_used(db: Database) -> None:
    add(db, FIRST, at_ns=10)
    forged = {"body": FIRST.replace(b'"ada", ', b""), "hash": b"\1" * 32}
    row = {"serial": 2, "in_force_from_ns": 20, "recorded_by": "eve", "recorded_at_ns": 20}
    db.run(lambda conn: conn.execute(policies.policies.insert().values(**row, **forged)))
    assert serial(db, 19) == 1
    with pytest.raises(Corrupt):
        serial(db, 20)
