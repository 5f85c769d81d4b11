"""A locked or full database, a full disk, a dead node, an unknown outcome: 503, nothing half-done,
and the work goes on by itself once the world is well again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import sqlalchemy as sa
from httpx import Response

from chains.fake import FakeWorld
from chains.fake.faults import FaultKind, FaultScript
from core.entropy import SeededEntropy
from core.errors import OutcomeUnknown, Unavailable
from core.money import PPM
from custody.db import Database, TransactionHooks
from custody.ledger.audit import audit
from engine.simulated_files import SimulatedStorage
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.databases import Databases
from tests.support.disks import fill_disk
from tests.support.house import HOT


@pytest.fixture
def front(database_url: str) -> Iterator[Front]:
    with open_front(database_url) as opened:
        yield opened


@pytest.fixture
def sqlite_url(databases: Databases) -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


def wanted(front: Front, amount: str = "1") -> dict[str, Any]:
    to = front.world.outsider("outage")
    return {"asset": front.asset("TOK"), "destination": to, "amount": amount}


def unavailable(answer: Response) -> None:
    document = problem_of(answer, 503, "unavailable")
    assert document["retryable"] is True
    assert int(answer.headers["retry-after"]) >= 1
    assert "outcome" not in document


def count(front: Front, table: str) -> int:
    with front.house.platform.db.read() as conn:
        found = conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    return int(found)


def books_are_whole(front: Front) -> None:
    front.settle()
    with front.house.platform.db.read() as conn:
        assert audit(conn) == []


def test_a_locked_database_is_503_and_the_retry_works(sqlite_url: str) -> None:
    with open_front(sqlite_url) as front:
        caller = front.customer("locked", TOK=10**7)
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            unavailable(caller.post("/v1/withdrawals", wanted(front), key="k"))
            assert caller.get("/v1/balances").status_code == 200
            assert caller.post("/v1/orders", new_order(front, side="sell")).status_code == 201
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert count(front, "withdrawals") == count(front, "idempotency_keys") == 0
        with front.running():
            assert caller.post("/v1/withdrawals", wanted(front), key="k").status_code == 201
        books_are_whole(front)


def test_a_table_locked_by_another_session_is_503_and_the_retry_works(
    databases: Databases,
) -> None:
    with databases.fresh("postgresql") as url, open_front(url) as front:
        caller = front.customer("locked", TOK=10**7)
        other = Database.open(url)
        with other.transaction() as conn:
            conn.exec_driver_sql("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
            unavailable(caller.post("/v1/withdrawals", wanted(front), key="k"))
            assert caller.post("/v1/orders", new_order(front, side="sell")).status_code == 201
        other.close()
        assert count(front, "withdrawals") == 0
        with front.running():
            assert caller.post("/v1/withdrawals", wanted(front), key="k").status_code == 201
        books_are_whole(front)


def test_a_database_that_cuts_every_connection_is_used_again_as_soon_as_it_answers(
    databases: Databases,
) -> None:
    with databases.fresh("postgresql") as url, open_front(url) as front:
        caller = front.customer("cut", TOK=10**7)
        other = Database.open(url)
        with other.transaction() as conn:
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        other.close()
        answers = [caller.get("/v1/deposits") for _ in range(20)]
        assert answers[0].status_code == 503, "the stimulus was real"
        unavailable(answers[0])
        assert answers[-1].status_code == 200
        with front.running():
            tries = [caller.post("/v1/withdrawals", wanted(front), key="k") for _ in range(10)]
        made = tries[-1]
        assert (made.status_code, made.json()["state"]) == (201, "held")
        assert count(front, "withdrawals") == 1
        books_are_whole(front)


def test_a_full_database_is_503_and_the_retry_works(sqlite_url: str) -> None:
    with open_front(sqlite_url, outcome_wait_ms=20) as front:
        caller = front.customer("full", TOK=10**7)
        engine = front.house.platform.db._writer
        pages = 0

        def limit(conn: sa.Connection) -> None:
            # The header of an empty transaction must still fit: no page may be added, that is all.
            if pages:
                conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            else:
                conn.exec_driver_sql("PRAGMA max_page_count = 1073741823")

        sa.event.listen(engine, "begin", limit)
        with front.house.platform.db.read() as conn:
            pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
        codes = [
            caller.post("/v1/withdrawals", wanted(front, "0.01"), key=f"f-{n}") for n in range(60)
        ]
        failed = [answer for answer in codes if answer.status_code == 503]
        assert failed, "the stimulus was real"
        for answer in failed:
            unavailable(answer)
        made = sum(answer.status_code == 202 for answer in codes)
        assert made + len(failed) == 60
        assert count(front, "withdrawals") == count(front, "idempotency_keys") == made
        pages = 0
        with front.running():
            for n in range(60):
                answer = caller.post("/v1/withdrawals", wanted(front, "0.01"), key=f"f-{n}")
                assert answer.status_code in (201, 202)
        assert count(front, "withdrawals") == 60
        books_are_whole(front)


@pytest.mark.parametrize("operation", ["append", "sync"])
def test_a_failing_journal_is_503_and_the_same_order_works_later(
    front: Front, operation: str
) -> None:
    caller = front.customer("disk", TOK=10**7)
    storage = front.house.storage
    assert isinstance(storage, SimulatedStorage)
    order = new_order(front, side="sell", price="5")
    storage.fail(operation)
    answer = caller.post("/v1/orders", order)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    before = caller.get("/v1/balances").json()["data"]
    assert before[0]["locked"] == "0"
    again = caller.post("/v1/orders", order)
    assert again.status_code == 201, again.text
    assert caller.get("/v1/balances").json()["data"][0]["locked"] == "1"
    books_are_whole(front)


def test_a_full_disk_is_503_until_there_is_room(front: Front) -> None:
    caller = front.customer("room", TOK=10**7)
    storage = front.house.storage
    assert isinstance(storage, SimulatedStorage)
    fill_disk(storage, front.house.sequencer)
    order = new_order(front, side="sell", price="5")
    for _ in range(3):
        unavailable(caller.post("/v1/orders", order))
    with front.running():
        late = caller.post("/v1/withdrawals", wanted(front), key="room")
        assert (late.status_code, late.json()["state"]) == (202, "requested")
        storage.capacity_bytes = None
        assert caller.post("/v1/orders", order).status_code == 201
        path = f"/v1/withdrawals/{late.json()['withdrawal_id']}"
        states = (caller.get(path).json()["state"] for _ in range(2_000))
        assert "held" in states
    assert caller.post("/v1/withdrawals", wanted(front), key="room").text == late.text
    books_are_whole(front)


def test_a_dead_node_stops_new_destinations_only_and_payment_resumes(database_url: str) -> None:
    faults = FaultScript(entropy=SeededEntropy(7), odds_ppm={})
    with open_front(database_url, faults=faults) as front:
        world, house = front.world, front.house
        world.fund(house.own_address(HOT), 10**9)
        world.fund(house.own_address(HOT), 10**8, front.key_of("TOK"))
        caller = front.customer("node", TOK=10**7)
        with front.running():
            made = caller.post("/v1/withdrawals", wanted(front), key="node")
        faults._odds_ppm[FaultKind.UNAVAILABLE] = PPM
        steps = house.steps()
        with pytest.raises(Unavailable):
            next(step for step in steps if step.name.endswith("follow")).run()
        with front.running():
            again = caller.post("/v1/withdrawals", wanted(front), key="node")
            unavailable(caller.post("/v1/withdrawals", wanted(front), key="other"))
        assert again.json() == made.json()
        assert made.json()["state"] == "held"
        withdrawal_id = made.json()["withdrawal_id"]
        assert caller.post("/v1/deposit-addresses", {"chain": "fake"}).status_code == 201
        assert front.client.request("GET", "/readyz").status_code == 200
        for person in ("ada", "ben"):
            signed = front.signed(withdrawal_id, person)
            path = f"/v1/withdrawals/{withdrawal_id}/approvals"
            assert front.officer(person).post(path, signed).status_code == 201
        faults.heal()
        for _ in range(6):
            house.run(1)
            world.mine(3)
        house.run(1)
        assert caller.get(f"/v1/withdrawals/{withdrawal_id}").json()["state"] == "confirmed"
        books_are_whole(front)


def test_an_unknown_outcome_names_its_lookup_and_survives_a_restart(database_url: str) -> None:
    world, storage = FakeWorld(finality_depth=2), SimulatedStorage(SeededEntropy(1, "disk"))
    world.add_token("TOK")
    with open_front(database_url, world=world, storage=storage) as front:
        caller = front.customer("unknown", TOK=10**7)
        order = new_order(front, side="sell", price="5")
        assert front.client.request("GET", "/livez").status_code == 200

        def lost() -> None:
            raise Unavailable("the lease is over")

        front.house.sequencer._lease = lost
        document = problem_of(caller.post("/v1/orders", order), 503, "outcome_unknown")
        assert document["outcome"] == "unknown"
        assert document["retryable"] is False
        lookup = document["lookup"]
        assert lookup == f"/v1/orders?client_order_id={order['client_order_id']}"
        for answer in (caller.get(lookup), caller.post("/v1/orders", order)):
            unavailable(answer)
        assert front.client.request("GET", "/livez").status_code == 503
        verbose = front.client.request("GET", "/readyz?verbose=1")
        assert verbose.status_code == 503
        assert verbose.json()["checks"][1] == {
            "name": "engine", "needed": True, "ok": False, "detail": "stopped",
        }  # fmt: skip
        token, clock_ns = caller.token, front.house.clock.now_ns()
    with open_front(database_url, world=world, storage=storage) as front:
        front.house.clock.advance(clock_ns - front.house.clock.now_ns())
        caller = Caller(front.client, token)
        front.settle()
        (found,) = caller.get(lookup).json()["data"]
        assert found["state"] == "open"
        again = caller.post("/v1/orders", order)
        assert (again.status_code, again.json()["order_id"]) == (200, found["order_id"])
        assert caller.get("/v1/balances").json()["data"][0]["locked"] == "1"
        books_are_whole(front)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_that_broke_off_is_decided_by_its_key(front: Front, moment: str) -> None:
    caller = front.customer("b04", TOK=10**8)
    db = front.house.platform.db
    quiet, broken = db._hooks, 0

    def cut() -> None:
        nonlocal broken
        broken += 1
        raise OutcomeUnknown("the connection was lost during COMMIT")

    for n in range(25):
        hooks = {"before_commit": cut} if moment == "before" else {"after_commit": cut}
        db._hooks = TransactionHooks(**hooks)
        answer = caller.post("/v1/withdrawals", wanted(front, "0.01"), key=f"cut-{n}")
        db._hooks = quiet
        document = problem_of(answer, 503, "outcome_unknown")
        assert document["lookup"] == f"/v1/withdrawals?client_withdrawal_id=cut-{n}"
        found = caller.get(document["lookup"]).json()["data"]
        assert len(found) == (moment == "after")
        with front.running():
            again = caller.post("/v1/withdrawals", wanted(front, "0.01"), key=f"cut-{n}")
        assert again.status_code == 201, again.text
    assert broken == 25
    assert count(front, "withdrawals") == 25
    (balance,) = caller.get("/v1/balances").json()["data"]
    assert balance["withdrawing"] == "0.25125"
    books_are_whole(front)


def test_a_fault_of_ours_is_a_problem_document_too(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = front.customer("fault")

    def broken(*_arguments: Any) -> None:
        raise ZeroDivisionError("a secret value")

    monkeypatch.setattr(front.house.platform.db, "read", broken)
    answer = caller.get("/v1/me")
    monkeypatch.undo()
    problem_of(answer, 500, "internal")
    assert "secret" not in answer.text
    assert caller.get("/v1/me").status_code == 200


def many(front: Front, caller: Caller, count: int) -> list[Future[Response]]:
    return [
        caller.start(
            "POST",
            "/v1/withdrawals",
            json=wanted(front, "0.01"),
            headers={"Idempotency-Key": f"wait-{n}"},
        )
        for n in range(count)
    ]


def test_waiting_requests_leave_the_others_alone(front: Front) -> None:
    """Nothing settles here, so 60 withdrawals wait out their two seconds side by side."""
    caller, busy = front.customer("wait", TOK=10**8), front.customer("busy", TOK=10**7)
    waiting = many(front, caller, 60)
    for _ in range(20):
        placed = busy.post("/v1/orders", new_order(front, side="sell", price="9", quantity="0.1"))
        assert placed.status_code == 201
    assert not all(each.done() for each in waiting)
    assert {each.result(60).status_code for each in waiting} == {202}
    books_are_whole(front)


def test_trading_goes_on_while_a_crowd_waits_for_a_locked_database(sqlite_url: str) -> None:
    with open_front(sqlite_url, outcome_wait_ms=50) as front:
        caller, busy = front.customer("crowd", TOK=10**8), front.customer("busy", TOK=10**7)
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            waiting = many(front, caller, 60)
            for _ in range(20):
                order = new_order(front, side="sell", price="9", quantity="0.1")
                assert busy.post("/v1/orders", order).status_code == 201
                assert busy.get("/v1/balances").status_code == 200
            assert not any(each.done() for each in waiting), "the stimulus was real"
        finally:
            other.execute("ROLLBACK")
            other.close()
        codes = {each.result(60).status_code for each in waiting}
        assert codes <= {202, 503}
        with front.running():
            done = [each.result(60) for each in many(front, caller, 60)]
        assert {answer.status_code for answer in done} <= {201, 202}
        assert count(front, "withdrawals") == 60
        books_are_whole(front)
