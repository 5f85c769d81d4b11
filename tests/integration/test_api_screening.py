"""Travel-rule data and screening over the API; personal data leaves by no other way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from custody.screening import lists, sdn
from tests.support.api import Caller, Front, open_front, problem_of
from tests.support.databases import Databases
from tests.unit.custody.screening import test_ivms101
from tests.unit.custody.screening.samples import plain

SECRET = test_ivms101.SECRET


@pytest.fixture
def front(databases: Databases) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url) as opened:
        yield opened


@pytest.fixture
def alice(front: Front) -> Caller:
    return front.customer("alice", TOK=10**9)


def withdrawal(front: Front, caller: Caller) -> dict[str, Any]:
    asked = {"asset": front.asset("TOK"), "destination": front.world.outsider("s"), "amount": "1"}
    with front.running():
        made: dict[str, Any] = caller.post("/v1/withdrawals", asked, key="w").json()
    return made


def test_data_is_attached_by_its_owner_and_read_by_operators_only(
    front: Front, alice: Caller, capfd: pytest.CaptureFixture[str]
) -> None:
    row = withdrawal(front, alice)
    path = f"/v1/withdrawals/{row['withdrawal_id']}/travel-rule"
    message = test_ivms101.message()
    message["beneficiary"]["accountNumber"] = [row["destination"]]
    made = alice.post(path, {"ivms101": message})
    assert made.status_code == 201
    assert alice.post(path, {"ivms101": message}).json() == made.json(), "the same record again"
    stranger = front.customer("stranger")
    problem_of(stranger.get(path), 404, "not_found")
    problem_of(stranger.post(path, {"ivms101": message}), 404, "not_found")
    for reader in (alice, front.auditor(), front.officer("ada")):
        shown = reader.get(path)
        assert (shown.json()["ivms101"], SECRET in shown.text) == (None, False)
    assert front.ops().get(path).json()["ivms101"] == message
    assert SECRET not in front.client.request("GET", "/metrics").text
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err
    assert "travel-rule" in said.out + said.err, "control: the requests were logged"


def test_data_that_is_wrong_is_refused_by_its_place(front: Front, alice: Caller) -> None:
    row = withdrawal(front, alice)
    path = f"/v1/withdrawals/{row['withdrawal_id']}/travel-rule"
    answer = alice.post(path, {"ivms101": test_ivms101.message()})
    document = problem_of(answer, 400, "malformed")
    assert "accountNumber" in document["detail"]
    assert SECRET not in answer.text
    problem_of(alice.post(path, {"ivms101": {}}), 400, "missing_field")
    problem_of(alice.post(path, {"ivms101": [SECRET]}), 400, "malformed")
    problem_of(alice.post(path, {"ivms101": {}, "more": SECRET}), 400, "malformed")
    assert SECRET not in alice.post(path, {"ivms101": [SECRET]}).text


def test_staff_sees_the_list_in_force_and_the_cases(front: Front, alice: Caller) -> None:
    auditor = front.auditor()
    assert auditor.get("/v1/screening").json()["published"] is None
    put = partial(lists.put, found=sdn.parse([plain()]), sha256=b"x" * 32, by="test", now_ns=7)
    front.house.platform.db.run(put)
    shown = auditor.get("/v1/screening").json()
    assert (shown["published"], shown["addresses"]) == ("2026-11-20", 2)
    assert auditor.get("/v1/screening/cases").json()["data"] == []
    problem_of(alice.get("/v1/screening"), 403, "forbidden")
