"""Operators halt and resume a market while the exchange runs; nobody else does."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import Response

from core.entropy import SeededEntropy
from engine.commands import RetireMarket
from engine.simulated_files import SimulatedStorage
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.databases import Databases
from tests.support.disks import fill_disk

MARKET = "/v1/markets/TOK-FAKE"
HALT, RESUME = f"{MARKET}/halt", f"{MARKET}/resume"


def switched(answer: Response, *, halted: bool) -> None:
    assert answer.status_code == 200, answer.text
    assert (answer.json()["market"], answer.json()["halted"]) == ("TOK-FAKE", halted)


def listed(caller: Caller) -> dict[str, Any]:
    (market,) = caller.get("/v1/markets").json()["data"]
    assert isinstance(market, dict)
    return market


def recorded(front: Front) -> list[tuple[str, str, str]]:
    """Return who switched which market how, oldest first."""
    records = front.auditor().get("/v1/audit-log").json()["data"]
    return [
        (record["actor"], record["action"], record["subject"])
        for record in records
        if record["action"].startswith("market.")
    ]


def test_a_halted_market_takes_cancels_alone_until_it_is_resumed(databases: Databases) -> None:
    with databases.fresh("sqlite") as url, open_front(url) as front:
        caller, ops = front.customer("c", FAKE=10**9), front.ops()
        with front.running():
            order = caller.post("/v1/orders", new_order(front)).json()
            path = f"/v1/orders/{order['order_id']}"
            for _ in range(2):
                answer = ops.post(HALT)
                switched(answer, halted=True)
                assert answer.json() == listed(caller)
            problem_of(caller.post("/v1/orders", new_order(front)), 409, "market_halted")
            changed = {"price": "0.02", "quantity": "1"}
            problem_of(caller.ask("PATCH", path, json=changed), 409, "market_halted")
            assert caller.ask("DELETE", path).json()["state"] == "cancelled"
            for _ in range(2):
                switched(ops.post(RESUME), halted=False)
            assert listed(caller)["halted"] is False
            assert caller.post("/v1/orders", new_order(front)).status_code == 201
        verbs = ("halt", "halt", "resume", "resume")
        assert recorded(front) == [("olga", f"market.{verb}", "market:TOK-FAKE") for verb in verbs]


def test_nobody_but_ops_halts_or_resumes(databases: Databases) -> None:
    with databases.fresh("sqlite") as url, open_front(url) as front:
        customer = front.customer("c")
        for caller in (customer, front.officer("ada"), front.auditor()):
            problem_of(caller.post(HALT), 403, "forbidden")
        assert listed(customer)["halted"] is False
        switched(front.ops().post(HALT), halted=True)
        problem_of(customer.post(RESUME), 403, "forbidden")
        assert listed(customer)["halted"] is True
        assert len(recorded(front)) == 1


@pytest.mark.parametrize("verb", ["halt", "resume"])
def test_a_market_that_is_unknown_or_retired_is_not_switched(
    databases: Databases, verb: str
) -> None:
    with databases.fresh("sqlite") as url, open_front(url) as front:
        ops = front.ops()
        problem_of(ops.post(f"/v1/markets/NO-NO/{verb}"), 404, "unknown_market")
        front.house.sequencer.execute([RetireMarket(market_no=1)])
        problem_of(ops.post(f"{MARKET}/{verb}"), 409, "market_retired")
        assert (listed(ops)["halted"], listed(ops)["retired"]) == (False, True)
        assert recorded(front) == []


def test_a_halt_that_cannot_be_made_durable_is_503_and_works_later(databases: Databases) -> None:
    with databases.fresh("sqlite") as url, open_front(url) as front:
        ops, storage = front.ops(), front.house.storage
        assert isinstance(storage, SimulatedStorage)
        fill_disk(storage, front.house.sequencer)
        assert problem_of(ops.post(HALT), 503, "unavailable")["retryable"] is True
        assert listed(ops)["halted"] is False
        storage.capacity_bytes = None
        switched(ops.post(HALT), halted=True)
        front.house.sequencer.stop()
        problem_of(ops.post(RESUME), 503, "unavailable")
        assert {action for _, action, _ in recorded(front)} == {"market.halt"}


def test_a_halt_outlives_a_restart(databases: Databases) -> None:
    storage = SimulatedStorage(SeededEntropy(1, "disk"))
    with databases.fresh("sqlite") as url:
        with open_front(url, storage=storage) as front:
            caller, world = front.customer("c", FAKE=10**9), front.world
            switched(front.ops().post(HALT), halted=True)
            front.settle()
        with open_front(url, world=world, storage=storage) as front:
            caller = Caller(front.client, caller.token)
            assert listed(caller)["halted"] is True
            problem_of(caller.post("/v1/orders", new_order(front)), 409, "market_halted")
            switched(front.ops().post(RESUME), halted=False)
            assert caller.post("/v1/orders", new_order(front)).status_code == 201
