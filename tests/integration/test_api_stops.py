"""Stops through the API: what officers hand in, what everybody who watches sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from custody.keys.statement import encode
from custody.keys.stop_order import SignedStop, customer_scope
from tests.support.api import Front, open_front, problem_of
from tests.support.house import officer_key
from tests.support.stop_orders import freeze, pause, resume

ADA, BEN, CLEO = (officer_key(person) for person in ("ada", "ben", "cleo"))


@pytest.fixture
def front(database_url: str) -> Iterator[Front]:
    with open_front(database_url) as opened:
        yield opened


def paper(order: SignedStop) -> dict[str, Any]:
    return {
        "statement": encode(order.statement).hex(),
        "signatures": [
            {"public_key": one.public_key.hex(), "signature": one.signature.hex()}
            for one in order.signatures
        ],
    }


def now_ns(front: Front) -> int:
    return front.house.clock.now_ns()


def test_one_officer_pauses_a_quorum_resumes_and_both_are_seen(front: Front) -> None:
    ada, auditor = front.officer("ada"), front.auditor()
    order = pause("stop_one", "chain:fake", ADA, now_ns=now_ns(front))
    taken = ada.post("/v1/stops", paper(order))
    assert taken.status_code == 201, taken.text
    assert (taken.json()["holds"], taken.json()["signer_told"]) == (True, True)
    assert ada.post("/v1/stops", paper(order)).json() == taken.json()
    assert [one.statement for one in front.house.platform.signer.stops()] == [order.statement]
    (seen,) = auditor.get("/v1/stops").json()["data"]
    assert (seen["scope"], seen["placed_by"], seen["because"]) == (
        "chain:fake", ["ada"], "a drill",
    )  # fmt: skip
    alone = resume("resume_1", ["stop_one"], BEN, now_ns=now_ns(front))
    problem_of(ada.post("/v1/stops", paper(alone)), 409, "quorum_not_met")
    both = resume("resume_2", ["stop_one"], BEN, CLEO, now_ns=now_ns(front))
    assert ada.post("/v1/stops", paper(both)).status_code == 201
    assert auditor.get("/v1/stops").json()["data"] == []
    assert front.house.platform.signer.stops() == []
    every = auditor.get("/v1/stops", params={"in_force": "false"}).json()["data"]
    assert [(one["stop_id"], one["lifted_by"]) for one in every] == [
        ("stop_one", "resume_2"), ("resume_2", None),
    ]  # fmt: skip


def test_a_freeze_is_shown_with_its_end_and_no_quorum_lifts_it(front: Front) -> None:
    ada = front.officer("ada")
    customer = front.house.customer("alice")
    order = freeze("freeze_1", customer_scope(customer), ADA, now_ns=now_ns(front), hours=1)
    taken = ada.post("/v1/stops", paper(order))
    assert taken.status_code == 201, taken.text
    assert taken.json()["until"] is not None
    lift = resume("resume_1", ["freeze_1"], ADA, BEN, CLEO, now_ns=now_ns(front))
    problem_of(ada.post("/v1/stops", paper(lift)), 409, "illegal_transition")
    too_long = freeze("freeze_2", "platform", ADA, now_ns=now_ns(front), hours=48)
    problem_of(ada.post("/v1/stops", paper(too_long)), 409, "quorum_not_met")


def test_what_nobody_signed_or_what_does_not_exist_stops_nothing(front: Front) -> None:
    ops = front.ops()
    honest = paper(pause("stop_one", "chain:fake", ADA, now_ns=now_ns(front)))
    forged = {**honest, "signatures": [{**honest["signatures"][0], "signature": "00" * 64}]}
    problem_of(ops.post("/v1/stops", forged), 422, "bad_signature")
    stranger = paper(pause("stop_one", "chain:fake", officer_key("eve"), now_ns=now_ns(front)))
    problem_of(ops.post("/v1/stops", stranger), 403, "not_an_officer")
    elsewhere = paper(pause("stop_two", "chain:nowhere", ADA, now_ns=now_ns(front)))
    problem_of(ops.post("/v1/stops", elsewhere), 404, "unknown_chain")
    problem_of(ops.post("/v1/stops", {**honest, "statement": "00"}), 400, "malformed")
    for nobody in (front.customer("alice"), front.auditor()):
        problem_of(nobody.post("/v1/stops", honest), 403, "forbidden")
    assert front.house.platform.signer.stops() == []
    assert front.auditor().get("/v1/stops").json()["data"] == []
