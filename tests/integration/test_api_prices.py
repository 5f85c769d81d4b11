"""Prices through the API and the command line, as ops tell them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Front, open_front, problem_of


@pytest.fixture
def front(database_url: str) -> Iterator[Front]:
    with open_front(database_url) as opened:
        yield opened


def price(front: Front, text: object, at: str = "2023-01-31T12:00:00Z") -> dict[str, object]:
    return {"asset": front.asset("TOK"), "price": text, "at": at, "source": "desk"}


def test_ops_tell_prices_and_their_history_stays(front: Front) -> None:
    ops, auditor = front.ops(), front.auditor()
    body = {"prices": [price(front, "1.25"), price(front, "1.5", "2023-01-31T12:00:00.5Z")]}
    assert ops.post("/v1/prices", body).json() == {"recorded": 2}
    assert ops.post("/v1/prices", body).json() == {"recorded": 0}
    (newest,) = auditor.get("/v1/prices").json()["data"]
    assert (newest["price"], newest["at"]) == ("1.5", "2023-01-31T12:00:00.500000000Z")
    assert (newest["source"], newest["recorded_by"]) == ("desk", "olga")
    all_of = auditor.get("/v1/prices", params={"asset": front.asset("TOK")}).json()["data"]
    assert [one["price"] for one in all_of] == ["1.5", "1.25"]


@pytest.mark.parametrize("text", [1.25, 1, "1.2.5", "١"])
def test_a_number_is_no_price(front: Front, text: object) -> None:
    answer = front.ops().post("/v1/prices", {"prices": [price(front, text)]})
    assert problem_of(answer, 400, "malformed_amount")


def test_only_ops_tell_prices(front: Front) -> None:
    body = {"prices": [price(front, "1")]}
    for caller in (front.auditor(), front.officer("ada"), front.customer("alice")):
        assert caller.post("/v1/prices", body).status_code == 403
