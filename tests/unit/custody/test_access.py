"""API keys and idempotency keys as rows, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.clock import DAY_NS, ManualClock
from core.entropy import SeededEntropy
from core.errors import Corrupt, Reason, Refused
from custody import access, audit_log, catalogue, idempotency
from custody.access import IssuedKey, Role
from custody.db import Database
from custody.idempotency import Answer, request_hash

CLOCK, ENTROPY = ManualClock(), SeededEntropy(1, "keys")
HASH, OTHER = request_hash("POST /x", {"a": 1}), request_hash("POST /x", {"a": 2})


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    opened.create_all()
    yield opened
    opened.close()


def issue(db: Database, role: Role, subject: str) -> IssuedKey:
    return db.run(
        lambda conn: access.issue(conn, role, subject, by="test", clock=CLOCK, entropy=ENTROPY)
    )


def who(db: Database, token: str) -> access.Principal:
    with db.read() as conn:
        return access.authenticate(conn, token)


def refused(reason: Reason, db: Database, token: str) -> None:
    with pytest.raises(Refused) as caught:
        who(db, token)
    assert caught.value.reason is reason


def test_a_key_opens_its_role_and_its_secret_is_nowhere(db: Database) -> None:
    issued = issue(db, Role.OFFICER, "ada")
    token = issued.token.reveal().decode()
    assert token.startswith(f"{issued.key.key_id}.")
    assert token not in repr(issued)
    found = who(db, token)
    assert (found.role, found.subject, found.customer_no) == (Role.OFFICER, "ada", None)
    with db.read() as conn:
        stored = conn.exec_driver_sql("SELECT * FROM api_keys").one()
        logged = audit_log.records(conn)
    secret = token.partition(".")[2]
    assert secret not in str(stored)
    assert secret not in str(logged)
    assert logged[-1].action == "key.issue"


def test_a_customers_key_names_the_customer_and_tells_when_he_is_frozen(db: Database) -> None:
    alice = db.run(lambda conn: catalogue.add_customer(conn, "alice", now_ns=1))
    token = issue(db, Role.CUSTOMER, str(alice.customer_no)).token.reveal().decode()
    found = who(db, token)
    assert (found.customer_no, found.scope) == (1, "customer:1")
    assert not found.customer_frozen
    db.run(lambda conn: catalogue.freeze_customer(conn, alice.customer_no, "test"))
    assert who(db, token).customer_frozen


@pytest.mark.parametrize(
    ("role", "subject", "reason"),
    [
        (Role.CUSTOMER, "7", Reason.UNKNOWN_CUSTOMER),
        (Role.CUSTOMER, "alice", Reason.MALFORMED),
        (Role.CUSTOMER, "１", Reason.MALFORMED),
        (Role.CUSTOMER, "", Reason.MALFORMED),
        (Role.OPS, "", Reason.MALFORMED),
        (Role.OPS, "Olga", Reason.MALFORMED),
        (Role.OPS, "customer:1", Reason.MALFORMED),
        (Role.OFFICER, "a" * 65, Reason.MALFORMED),
    ],
)
def test_a_key_for_nobody_is_refused(
    db: Database, role: Role, subject: str, reason: Reason
) -> None:
    with pytest.raises(Refused) as caught:
        issue(db, role, subject)
    assert caught.value.reason is reason
    with db.read() as conn:
        assert access.find(conn) == []


def test_a_wrong_unknown_or_revoked_key_is_unauthenticated(db: Database) -> None:
    issued = issue(db, Role.OPS, "olga")
    token = issued.token.reveal().decode()
    key_id, _, secret = token.partition(".")
    for other in ("", key_id, f"{key_id}.", f"{key_id}.{secret[:-1]}", f"{token} ", f"{token}\n",
                  f"{key_id}.{'A' * 43}", f"key_{'0' * 26}.{secret}"):  # fmt: skip
        refused(Reason.UNAUTHENTICATED, db, other)
    for _ in range(2):
        done = db.run(lambda conn: access.revoke(conn, key_id, by="test", now_ns=5))
        assert done.revoked_at_ns == 5
    refused(Reason.UNAUTHENTICATED, db, token)
    with pytest.raises(Refused) as caught:
        db.run(lambda conn: access.revoke(conn, "key_x", by="test", now_ns=5))
    assert caught.value.reason is Reason.UNKNOWN_KEY
    with db.read() as conn:
        actions = [record.action for record in audit_log.records(conn)]
    assert actions == ["key.issue", "key.revoke"], "the second revocation changed nothing"


def test_keys_are_found_in_the_order_they_were_made(db: Database) -> None:
    for person in ("ada", "ben", "cleo"):
        issue(db, Role.OFFICER, person)
    issue(db, Role.OPS, "ada")
    with db.read() as conn:
        assert [key.subject for key in access.find(conn)] == ["ada", "ben", "cleo", "ada"]
        assert [key.role for key in access.find(conn, subject="ada")] == [Role.OFFICER, Role.OPS]
        assert [key.key_no for key in access.find(conn, role=Role.OFFICER, after=1, limit=1)] == [2]


def begin(db: Database, who: str, key: str, content: bytes, now_ns: int = 1) -> object:
    return db.run(
        lambda conn: idempotency.begin(conn, who, key, request_hash=content, now_ns=now_ns)
    )


def test_the_first_answer_stands_for_ever(db: Database) -> None:
    assert begin(db, "a", "k", HASH) == (True, None)
    assert begin(db, "a", "k", HASH) == (False, None)
    first = Answer(201, '{"a":1}')
    assert db.run(lambda conn: idempotency.finish(conn, "a", "k", first)) == first
    late = Answer(202, "{}")
    assert db.run(lambda conn: idempotency.finish(conn, "a", "k", late)) == first
    assert begin(db, "a", "k", HASH, now_ns=1_000 * DAY_NS) == (False, first)


def test_another_request_under_the_key_is_refused_and_another_principal_is_not(
    db: Database,
) -> None:
    begin(db, "a", "k", HASH)
    with pytest.raises(Refused) as caught:
        begin(db, "a", "k", OTHER)
    assert caught.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert begin(db, "b", "k", OTHER) == (True, None)


def test_an_answer_without_a_beginning_is_corrupt(db: Database) -> None:
    with pytest.raises(Corrupt):
        db.run(lambda conn: idempotency.finish(conn, "a", "k", Answer(201, "{}")))


def test_a_request_is_the_same_however_it_is_spelled_and_whatever_the_order() -> None:
    assert request_hash("V", {"a": 1, "b": "x"}) == request_hash("V", {"b": "x", "a": 1})
    different = [("V", {"a": 1}), ("W", {"a": 1}), ("V", {"a": "1"}), ("V", {"a": None}), ("V", {})]
    assert len({request_hash(verb, content) for verb, content in different}) == len(different)
