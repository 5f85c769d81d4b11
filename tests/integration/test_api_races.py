"""Many at once: overdrafts (W01), idempotency keys (W02), officers in the same instant (W03)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest
from httpx import Response

from chains.base import SpendKind
from core.clock import DAY_NS
from core.ids import SpendId
from custody.access import Role
from custody.ledger.audit import audit
from custody.spending import rows as spends
from custody.withdrawals.states import WithdrawalState
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.house import GAS, HOT

T = TypeVar("T")


@pytest.fixture
def front(database_url: str) -> Iterator[Front]:
    with open_front(database_url, requests_burst=10_000) as opened:
        yield opened


def at_once(count: int, call: Callable[[int], T], *, connections: int = 20) -> list[T]:
    """Call from many threads that begin together."""
    gate = threading.Barrier(connections)

    def begin() -> None:
        gate.wait()

    with ThreadPoolExecutor(connections, initializer=begin) as pool:
        return list(pool.map(call, range(count)))


def together(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make different calls in the same instant."""
    return at_once(len(calls), lambda n: calls[n](), connections=len(calls))


def wanted(front: Front, amount: str, **changes: Any) -> dict[str, Any]:
    to = front.world.outsider("race")
    return {"asset": front.asset("TOK"), "destination": to, "amount": amount, **changes}


def engine_balance(caller: Caller) -> dict[str, str]:
    (balance,) = caller.get("/v1/balances").json()["data"]
    found: dict[str, str] = balance
    return found


def test_of_200_requests_of_6_over_a_balance_of_10_one_is_accepted(front: Front) -> None:
    caller = front.customer("w01", TOK=10 * 10**6)
    body = wanted(front, "6")
    with front.running():
        answers = at_once(200, lambda n: caller.post("/v1/withdrawals", body, key=f"w01-{n}"))
        front_states = Counter(answer.status_code for answer in answers)
    front.settle()
    assert front_states[201] <= 1
    assert set(front_states) <= {201, 202, 422}, front_states
    rows = [caller.get("/v1/withdrawals?limit=100&state=held").json()["data"]]
    (held,) = rows[0]
    assert held["state"] == "held"
    refused = sum(1 for each in answers if each.status_code == 422)
    assert refused > 150
    assert all(e.json()["code"] == "exceeds_available" for e in answers if e.status_code == 422)
    balance = engine_balance(caller)
    assert (balance["withdrawing"], balance["available"]) == ("6.00005", "3.99995")
    with front.house.platform.db.read() as conn:
        assert audit(conn) == []


def test_orders_and_withdrawals_at_once_never_spend_twice(front: Front) -> None:
    caller = front.customer("mix", TOK=10 * 10**6)
    body = wanted(front, "4")

    def one(n: int) -> Response:
        if n % 2:
            return caller.post("/v1/withdrawals", body, key=f"mix-{n}")
        return caller.post("/v1/orders", new_order(front, side="sell", price="9", quantity="4"))

    with front.running():
        answers = at_once(60, one)
    accepted = [answer for answer in answers if answer.status_code == 201]
    assert len(accepted) == 2, Counter(answer.status_code for answer in answers)
    balance = engine_balance(caller)
    assert balance["total"] == "10"
    assert "-" not in balance["available"]


def test_one_key_50_times_at_once_has_one_effect_and_equal_replies(front: Front) -> None:
    caller = front.customer("w02", TOK=10 * 10**6)
    body = wanted(front, "1")
    with front.running():
        answers = at_once(50, lambda _: caller.post("/v1/withdrawals", body, key="same"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    replayed = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replayed) == 49
    assert len(caller.get("/v1/withdrawals").json()["data"]) == 1
    assert engine_balance(caller)["withdrawing"] == "1.00005"


def test_a_key_answers_the_first_reply_for_ever_and_belongs_to_one_customer(front: Front) -> None:
    caller = front.customer("w02a", TOK=10 * 10**6)
    other = front.customer("w02b", TOK=10 * 10**6)
    body = wanted(front, "1")
    with front.running():
        first = caller.post("/v1/withdrawals", body, key="k")
        problem_of(
            caller.post("/v1/withdrawals", wanted(front, "2"), key="k"),
            422,
            "idempotency_key_reused",
        )
        theirs = other.post("/v1/withdrawals", body, key="k")
        assert theirs.json()["withdrawal_id"] != first.json()["withdrawal_id"]
        front.house.clock.advance(DAY_NS + DAY_NS // 24)
        spelled = {name: body[name] for name in reversed(body)}
        later = caller.post("/v1/withdrawals", spelled, key="k")
        assert (later.status_code, later.text) == (first.status_code, first.text)
        assert later.headers["idempotency-replayed"] == "true"
        another = front.caller(Role.CUSTOMER, str(caller.customer_no))
        assert another.post("/v1/withdrawals", body, key="k").text == first.text
        twin = {**body, "client_withdrawal_id": "k"}
        again = caller.post("/v1/withdrawals", twin, key="k2")
        assert again.json()["withdrawal_id"] == first.json()["withdrawal_id"]
        changed = {**wanted(front, "3"), "client_withdrawal_id": "k"}
        problem_of(
            caller.post("/v1/withdrawals", changed, key="k3"), 409, "exists_with_other_content"
        )
    assert len(caller.get("/v1/withdrawals").json()["data"]) == 1
    problem_of(caller.post("/v1/withdrawals", body), 400, "idempotency_key_missing")
    for bad in ("", "a b", "x" * 129, "a\u00e9"):
        headers = {"Idempotency-Key": bad.encode("latin-1")}
        answer = caller.ask("POST", "/v1/withdrawals", json=body, headers=headers)
        problem_of(answer, 400, "malformed")


def test_a_refused_request_burns_neither_key_nor_id(front: Front) -> None:
    caller = front.customer("burn", TOK=10 * 10**6)
    problem_of(
        caller.post("/v1/withdrawals", wanted(front, "0.000001"), key="k"), 422, "below_minimum"
    )
    with front.running():
        assert caller.post("/v1/withdrawals", wanted(front, "1"), key="k").status_code == 201


def test_one_client_order_id_50_times_at_once_is_one_order(front: Front) -> None:
    caller = front.customer("orders", TOK=10 * 10**6)
    body = new_order(front, side="sell", price="7", quantity="1")
    with front.running():
        answers = at_once(50, lambda _: caller.post("/v1/orders", body))
    counts = Counter(answer.status_code for answer in answers)
    assert counts == {201: 1, 200: 49}
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert engine_balance(caller)["locked"] == "1"


def test_one_address_key_20_times_at_once_is_one_address(front: Front) -> None:
    caller = front.customer("addresses")
    body = {"chain": "fake"}
    answers = at_once(20, lambda _: caller.post("/v1/deposit-addresses", body, key="a"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    fresh = at_once(20, lambda _: caller.post("/v1/deposit-addresses", body))
    assert len({answer.json()["address"] for answer in fresh}) == 20
    page = caller.get("/v1/deposit-addresses?chain=fake&limit=100").json()
    assert len(page["data"]) == 21


def test_officers_in_the_same_instant_make_one_spend(front: Front) -> None:
    house, world = front.house, front.world
    world.fund(house.own_address(HOT), 10**9)
    world.fund(house.own_address(HOT), 10**8, front.key_of("TOK"))
    world.fund(house.own_address(GAS), 10**9)
    officers = {person: front.officer(person) for person in ("ada", "ben", "cleo")}
    caller = front.customer("w03", TOK=100 * 10**6)
    with front.running():
        ids = [
            caller.post("/v1/withdrawals", wanted(front, "1"), key=f"w03-{n}").json()[
                "withdrawal_id"
            ]
            for n in range(12)
        ]
    for withdrawal_id in ids:
        path = f"/v1/withdrawals/{withdrawal_id}/approvals"
        bodies = [(one, front.signed(withdrawal_id, person)) for person, one in officers.items()]
        answers = together([partial(one.post, path, body) for one, body in bodies])
        # Two make the quorum; the third is a moment too late and is told so, or counted too.
        codes = sorted(answer.status_code for answer in answers)
        assert codes[:2] == [201, 201], [answer.text for answer in answers]
        assert codes[2] in (201, 409)
        assert house.withdrawal(withdrawal_id).state is WithdrawalState.APPROVED
    for _ in range(8):
        house.run(1)
        world.mine(3)
    house.run(1)
    with house.platform.db.read() as conn:
        for withdrawal_id in ids:
            spend = spends.find_by_cause(conn, withdrawal_id, SpendKind.WITHDRAWAL)
            assert spend is not None
            assert len(spends.attempts(conn, SpendId(spend.spend_id))) >= 1
    outside = world.outsider("race")
    chain = house.home.chain
    assert chain.balance_of(outside, front.key_of("TOK"), chain.head()) == 12 * 10**6


def test_a_cancel_beats_an_approval_of_the_same_instant_and_gives_the_money_back(
    front: Front,
) -> None:
    caller = front.customer("cancel", TOK=10**8)
    ada, ben = front.officer("ada"), front.officer("ben")
    for n in range(6):
        with front.running():
            made = caller.post("/v1/withdrawals", wanted(front, "1"), key=f"c-{n}").json()
        withdrawal_id = made["withdrawal_id"]
        path = f"/v1/withdrawals/{withdrawal_id}"
        ada.post(f"{path}/approvals", front.signed(withdrawal_id, "ada"))
        second = front.signed(withdrawal_id, "ben")
        cancelled, approved = together(
            [partial(caller.post, f"{path}/cancel"), partial(ben.post, f"{path}/approvals", second)]
        )
        assert cancelled.status_code == 200, cancelled.text
        assert approved.status_code in (201, 409), approved.text
        front.settle()
        assert caller.get(path).json()["state"] == "cancelled"
    balance = engine_balance(caller)
    assert (balance["withdrawing"], balance["total"]) == ("0", "100")
