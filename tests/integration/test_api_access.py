"""Who may what: objects of others (A01), functions of other roles (A02), guessing (A06, A09)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytest

from app.api.roles import PUBLIC, ROLES
from core.clock import SECOND_NS
from core.ids import CustomerNo
from custody import catalogue
from custody.access import Role
from custody.keys.roster import Verdict
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.databases import Databases

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
HIDDEN = {"order_id", "withdrawal_id", "deposit_id", "customer_no", "key_id", "entry_id"}
"""Parameters of paths that name somebody's own object."""


@pytest.fixture(scope="module")
def front(databases: Databases) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url, requests_burst=100_000) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Victim:
    """A customer with one of everything."""

    caller: Caller
    ids: dict[str, str]
    names: list[str]
    """Everything that must not be seen by another customer."""


@pytest.fixture(scope="module")
def victim(front: Front) -> Victim:
    caller = front.customer("victim", TOK=10**7, FAKE=10**9)
    with front.running():
        order = caller.post("/v1/orders", new_order(front)).json()
        asked = {"asset": front.asset("TOK"), "destination": front.world.outsider("v"),
                 "amount": "1.234567", "client_withdrawal_id": "victims-own-id"}  # fmt: skip
        withdrawal = caller.post("/v1/withdrawals", asked, key="victims-key").json()
    entered = {"chain": "fake", "address": front.world.outsider("entered"), "label": "secret shop"}
    entry = caller.post("/v1/address-book", entered, key="victims-entry").json()
    deposit = caller.get("/v1/deposits").json()["data"][0]
    ids = {
        "order_id": order["order_id"],
        "withdrawal_id": withdrawal["withdrawal_id"],
        "deposit_id": deposit["deposit_id"],
        "entry_id": entry["entry_id"],
        "customer_no": str(caller.customer_no),
        "key_id": caller.token.partition(".")[0],
        "market": "TOK-FAKE",
        "number": "1",
    }
    names = [ids[name] for name in HIDDEN - {"customer_no"}]
    names += ["victims-entry", "secret shop", entered["address"]]
    names += [order["client_order_id"], withdrawal["destination"], deposit["address"]]
    return Victim(caller, ids, [*names, deposit["tx_id"], "victims-own-id", "1.234567"])


def filled(path: str, ids: dict[str, str]) -> str:
    """Return a path with ids in it; what no customer has is called nothing."""
    return re.sub(r"\{(\w+)\}", lambda match: ids.get(match.group(1), "nothing"), path)


BODIES: dict[str, dict[str, Any]] = {
    "/v1/orders/{order_id}": {"price": "0.02", "quantity": "1"},
    "/v1/withdrawals/{withdrawal_id}/cancel": {},
    "/v1/withdrawals/{withdrawal_id}/travel-rule": {"ivms101": {}},
    "/v1/address-book/{entry_id}/confirm": {"code": "AAAA-AAAA-AAAA-AAAA"},
}


def test_no_route_shows_or_touches_what_belongs_to_another(front: Front, victim: Victim) -> None:
    thief = front.customer("thief", TOK=10**7)
    before = victim.caller.get("/v1/orders").json(), victim.caller.get("/v1/withdrawals").json()
    absent = dict.fromkeys(HIDDEN, "wd_nothing") | {"market": "TOK-FAKE", "number": "1"}
    absent |= {"order_id": "ord_" + "0" * 16, "customer_no": "4000000000"}
    tried = 0
    for path, operations in front.client.contract.document["paths"].items():
        for method in operations:
            if not set(re.findall(r"\{(\w+)\}", path)) & HIDDEN:
                continue
            body = BODIES.get(path)
            mine = thief.ask(method.upper(), filled(path, victim.ids), json=body)
            none = thief.ask(method.upper(), filled(path, absent), json=body)
            assert mine.status_code in (403, 404), (method, path, mine.text)
            told, untold = mine.json(), none.json()
            for each in (told, untold):
                for name in ("request_id", "instance"):
                    del each[name]
            assert told == untold, (method, path)
            assert not any(name in str(told) for name in victim.names)
            tried += 1
    assert tried >= 9
    front.settle()
    assert before == (
        victim.caller.get("/v1/orders").json(),
        victim.caller.get("/v1/withdrawals").json(),
    )


def test_no_list_shows_what_belongs_to_another(front: Front, victim: Victim) -> None:
    thief = front.customer("second-thief", TOK=10**7)
    queries = {
        "/v1/deposit-addresses": "?chain=fake",
        "/v1/orders": f"?client_order_id={'0' * 32}",
        "/v1/withdrawals": "?client_withdrawal_id=victims-own-id",
    }
    asked = 0
    for path, operations in front.client.contract.document["paths"].items():
        if "get" not in operations or "{" in path or not path.startswith("/v1/"):
            continue
        for query in {"", queries.get(path, "")}:
            answer = thief.get(path + query)
            assert answer.status_code in (200, 400, 403), (path, answer.text)
            leaks = [name for name in victim.names if name in answer.text]
            assert not leaks, (path, leaks)
            asked += 1
    assert asked >= 12
    control = victim.caller.get("/v1/withdrawals?client_withdrawal_id=victims-own-id")
    assert len(control.json()["data"]) == 1


def test_anothers_ids_in_a_body_are_ones_own(front: Front, victim: Victim) -> None:
    thief = front.customer("third-thief", TOK=10**7)
    asked = {"asset": front.asset("TOK"), "destination": front.world.outsider("t"), "amount": "1"}
    with front.running():
        same_ids = {**asked, "client_withdrawal_id": "victims-own-id"}
        made = thief.post("/v1/withdrawals", same_ids, key="victims-key")
    assert made.status_code == 201
    assert made.json()["withdrawal_id"] != victim.ids["withdrawal_id"]
    assert "idempotency-replayed" not in made.headers


def test_every_route_obeys_the_matrix(front: Front, victim: Victim) -> None:
    callers: dict[Role, Caller] = {
        Role.CUSTOMER: front.customer("matrix"),
        Role.OFFICER: front.officer("ada"),
        Role.OPS: front.ops(),
        Role.AUDITOR: front.auditor(),
    }
    for (method, path), roles in ROLES.items():
        operation = front.client.contract.document["paths"][path][method.lower()]
        assert operation["x-roles"] == sorted(roles)
        front.house.clock.advance(SECOND_NS)  # or so many tries without a key are slowed down
        where = filled(path, victim.ids | {"key_id": "key_nothing"})
        nobody = front.client.request(method, where, json={} if method != "GET" else None)
        if roles == PUBLIC:
            assert nobody.status_code == 200, (path, nobody.text)
            continue
        problem_of(nobody, 401, "unauthenticated")
        assert nobody.headers["www-authenticate"].startswith("Bearer")
        for role, caller in callers.items():
            body = None if method in ("GET", "DELETE") else {"no": "such field"}
            answer = caller.ask(method, where, json=body)
            if role in roles:
                assert answer.status_code not in (401, 403), (role, method, path, answer.text)
            else:
                problem_of(answer, 403, "forbidden")


def test_a_method_that_is_not_declared_does_not_exist(front: Front, victim: Victim) -> None:
    for path, operations in front.client.contract.document["paths"].items():
        for method in METHODS:
            if method.lower() not in operations:
                answer = front.ops().ask(method, filled(path, victim.ids))
                assert answer.status_code == 405, (method, path)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer key_x.y", "Bearer " + "a" * 10_000,
     "Bearer key_00000000000000000000000000." + "A" * 43, "bearer\tx", "Bearer a b"],
)  # fmt: skip
def test_every_bad_key_gets_the_same_answer(front: Front, header: str) -> None:
    answer = front.client.request("GET", "/v1/me", headers={"Authorization": header})
    document = problem_of(answer, 401, "unauthenticated")
    assert document["detail"] == "no valid API key"


def test_a_wrong_secret_or_a_revoked_key_opens_nothing(front: Front) -> None:
    caller = front.customer("revoked")
    assert caller.get("/v1/me").status_code == 200
    key_id, _, secret = caller.token.partition(".")
    swapped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    wrong = Caller(front.client, f"{key_id}.{swapped}")
    problem_of(wrong.get("/v1/me"), 401, "unauthenticated")
    ops = front.ops()
    assert ops.ask("DELETE", f"/v1/api-keys/{key_id}").json()["revoked_at"] is not None
    problem_of(caller.get("/v1/me"), 401, "unauthenticated")


def test_an_officer_hands_in_only_his_own_verdict(front: Front, victim: Victim) -> None:
    path = f"/v1/withdrawals/{victim.ids['withdrawal_id']}/approvals"
    signed = front.signed(victim.ids["withdrawal_id"], "ben")
    problem_of(front.officer("ada").post(path, signed), 403, "forbidden")
    forged = {**signed, "signature": "00" * 64}
    problem_of(front.officer("ben").post(path, forged), 422, "bad_signature")
    stranger = {**signed, "public_key": "11" * 32}
    problem_of(front.officer("ben").post(path, stranger), 403, "not_an_officer")
    other_verdict = {**signed, "verdict": "reject"}
    problem_of(front.officer("ben").post(path, other_verdict), 422, "bad_signature")
    assert victim.caller.get(f"/v1/withdrawals/{victim.ids['withdrawal_id']}").json()["state"] == (
        "held"
    )


def test_customers_are_not_told_which_officer_rejected(front: Front) -> None:
    caller = front.customer("rejected", TOK=10**7)
    asked = {"asset": front.asset("TOK"), "destination": front.world.outsider("r"), "amount": "1"}
    with front.running():
        made = caller.post("/v1/withdrawals", asked, key="r").json()["withdrawal_id"]
    path, verdict = f"/v1/withdrawals/{made}", front.signed(made, "cleo", Verdict.REJECT)
    done = front.officer("cleo").post(f"{path}/approvals", verdict)
    assert done.json()["state"] == "rejected"
    shown = caller.get(path)
    assert shown.json()["reason"] == "rejected_by_officer"
    assert shown.json()["timeline"][-1]["detail"] == "rejected_by_officer"
    assert "cleo" not in shown.text
    assert "cleo" in front.auditor().get(path).text
    with front.running():
        late = front.officer("ben").post(f"{path}/approvals", front.signed(made, "ben"))
    problem_of(late, 409, "illegal_transition")
    (balance,) = caller.get("/v1/balances").json()["data"]
    assert (balance["available"], balance["withdrawing"]) == ("10", "0")


def test_a_frozen_customer_places_nothing_but_may_cancel(front: Front) -> None:
    caller = front.customer("frozen", TOK=10**7)
    order = caller.post("/v1/orders", new_order(front, side="sell", price="5")).json()
    number = CustomerNo(int(caller.customer_no or 0))
    front.house.platform.db.run(lambda conn: catalogue.freeze_customer(conn, number, "test"))
    problem_of(caller.post("/v1/orders", new_order(front, side="sell")), 409, "frozen")
    asked = {"asset": front.asset("TOK"), "destination": front.world.outsider("f"), "amount": "1"}
    problem_of(caller.post("/v1/withdrawals", asked, key="f"), 409, "frozen")
    changed = {"price": "6", "quantity": "1"}
    problem_of(caller.ask("PATCH", f"/v1/orders/{order['order_id']}", json=changed), 409, "frozen")
    front.settle()
    with front.running():
        gone = caller.ask("DELETE", f"/v1/orders/{order['order_id']}")
    assert gone.json()["state"] == "cancelled"


def test_a_key_is_slowed_down_and_nobody_else_is(databases: Databases) -> None:
    with (
        databases.fresh("sqlite") as url,
        open_front(url, market=False, requests_per_s=1, requests_burst=5) as front,
    ):
        eager, calm = front.customer("eager"), front.customer("calm")
        answers = [eager.get("/v1/me") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        document = problem_of(answers[-1], 429, "rate_limited")
        assert document["retryable"] is True
        assert answers[-1].headers["retry-after"] == "1"
        assert calm.get("/v1/me").status_code == 200
        front.house.clock.advance(SECOND_NS)
        assert eager.get("/v1/me").status_code == 200


def test_guessing_is_slowed_down_by_true_peer_and_holders_of_keys_are_not(
    databases: Databases,
) -> None:
    with databases.fresh("sqlite") as url, open_front(url, market=False) as front:
        honest = front.customer("honest")
        seen = []
        for n in range(100):
            headers = {"Authorization": "Bearer x", "X-Forwarded-For": f"10.0.0.{n}"}
            seen.append(front.client.request("GET", "/v1/me", headers=headers).status_code)
        assert seen == [401] * 50 + [429] * 50
        assert honest.get("/v1/me").status_code == 200


def test_an_unknown_key_and_a_wrong_secret_take_about_as_long(front: Front) -> None:
    """Advisory (A06): the same work is done for both, so the medians differ little."""
    known = front.customer("timed").token.partition(".")[0]
    took: dict[str, list[int]] = {known: [], "key_" + "0" * 26: []}

    for _ in range(60):
        for key_id, times in took.items():
            front.house.clock.advance(SECOND_NS)
            headers = {"Authorization": f"Bearer {key_id}.{'A' * 43}"}
            started = time.perf_counter_ns()
            assert front.client.request("GET", "/v1/me", headers=headers).status_code == 401
            times.append(time.perf_counter_ns() - started)
    slow, fast = sorted((median(times) for times in took.values()), reverse=True)
    assert slow < 3 * fast
