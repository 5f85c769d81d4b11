"""What a policy decided is told: to customers in a word, to staff with everything it was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chains.fake import FakeChain, FakeWorld
from core.clock import SECOND_NS
from core.ids import WithdrawalId
from custody.policy.record import canonical_json, decision_hash, decode_record
from tests.support.api import Caller, Front, api_of
from tests.support.house import HOT, open_house
from tests.support.policies import denied, required
from tests.support.served import Served, listening


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    world = FakeWorld(finality_depth=2)
    url = f"sqlite:///{tmp_path / 'books.sqlite'}"
    with open_house(url, FakeChain(world), world.listed_assets()) as house:
        world.fund(house.own_address(HOT), 10**9)
        with api_of(house, world) as made:
            yield made


@pytest.fixture
def served(front: Front, tmp_path: Path) -> Iterator[Served]:
    with listening(front, tmp_path) as made:
        yield made


@pytest.fixture
def alice(front: Front) -> Caller:
    (symbol,) = [spec.symbol for spec in front.world.listed_assets()]
    return front.customer("alice", **{symbol: 10**9})


def body(front: Front) -> dict[str, str]:
    (symbol,) = [spec.symbol for spec in front.world.listed_assets()]
    to = front.world.outsider("bob")
    return {"asset": front.asset(symbol), "destination": to, "amount": "0.001"}


def asked(front: Front, alice: Caller, name: str = "w") -> str:
    with front.running():
        made = alice.post("/v1/withdrawals", body(front), key=name)
    assert made.status_code == 201, made.text
    withdrawal_id: str = made.json()["withdrawal_id"]
    return withdrawal_id


def test_a_blocked_request_is_answered_with_the_policy_s_code_and_kept(
    front: Front, alice: Caller
) -> None:
    front.house.adopt(required(), denied("holiday", "closed_today"))
    first = alice.post("/v1/withdrawals", body(front), key="w")
    assert first.status_code == 403
    page = first.json()
    assert (page["code"], page["detail"]) == ("policy_blocked", "closed_today: nothing was held")
    again = alice.post("/v1/withdrawals", body(front), key="w")
    assert (again.status_code, again.json()["detail"]) == (403, page["detail"])
    shown = alice.get(f"/v1/withdrawals/{page['withdrawal_id']}").json()
    assert (shown["state"], shown["reason"], shown["waiting"]) == (
        "refused",
        "policy_blocked",
        None,
    )
    assert alice.get("/v1/balances").json()["data"][0]["withdrawing"] == "0"


def test_a_withdrawal_says_what_it_waits_for_and_customers_learn_no_names(
    front: Front, alice: Caller
) -> None:
    house = front.house
    house.adopt(required(delay_s=600))
    made = asked(front, alice)
    path = f"/v1/withdrawals/{made}"

    def waits(caller: Caller) -> tuple[str, int, str | None, list[str]]:
        found = caller.get(path).json()["waiting"]
        return found["why"], found["approved"], found["quorum"], found["officers"]

    ada = front.officer("ada")
    house.approve(WithdrawalId(made), "ada")
    assert waits(alice) == ("approvals", 1, None, [])
    assert waits(ada) == ("approvals", 1, "2 of officers", ["ada"])
    house.approve(WithdrawalId(made), "ben")
    shown = alice.get(path).json()
    assert (shown["waiting"]["why"], shown["waiting"]["approved"]) == ("delay", 2)
    assert shown["releasable_at"] > shown["waiting"]["since"]
    house.clock.advance(600 * SECOND_NS)
    assert waits(alice)[0] == "payment"
    house.adopt(required(delay_s=600), denied("emergency", "stopped"))
    house.step("withdrawals.plan")
    done = alice.get(path).json()
    assert (done["state"], done["reason"], done["waiting"]) == ("rejected", "policy_blocked", None)


def test_staff_read_every_decision_and_can_take_it_again(front: Front, alice: Caller) -> None:
    made = asked(front, alice)
    path = f"/v1/withdrawals/{made}/decisions"
    assert alice.get(path).status_code == 403
    for caller in (front.officer("ada"), front.ops(), front.auditor()):
        (found,) = caller.get(path).json()["data"]
        assert (found["moment"], found["outcome"], found["rule"]) == ("request", "require", "two")
        assert found["quorum"] == "2 of officers"
        assert {line["stage"] for line in found["trace"]} >= {"input", "deny", "rule", "quorum"}
        record = decode_record(canonical_json(found["record"]))
        assert decision_hash(record).hex() == found["decision_hash"]


def test_the_command_line_explains_what_was_decided(
    served: Served, front: Front, alice: Caller
) -> None:
    made = asked(front, alice)
    rows = served.json(front.officer("ada"), "withdrawal", "explain", made)
    assert {row["stage"] for row in rows} >= {"input", "rule", "quorum"}
    (whole,) = served.json(front.officer("ada"), "withdrawal", "explain", made, "--record")
    assert whole["record"]["request"]["request_id"] == made
    shown = served.json(alice, "withdrawal", "show", made)
    assert (shown["waits_for"], shown["approved_by"]) == ("approvals", 0)
