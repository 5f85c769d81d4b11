"""The API's natural way: from an opened customer to a paid withdrawal, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Front, new_order, open_front, problem_of
from tests.support.house import GAS, HOT


@pytest.fixture
def front(database_url: str) -> Iterator[Front]:
    with open_front(database_url) as opened:
        yield opened


def test_money_goes_the_whole_way_through_the_api(front: Front) -> None:
    world, house = front.world, front.house
    world.fund(house.own_address(HOT), 10**9)
    world.fund(house.own_address(GAS), 10**9)
    ops, ada, ben = front.ops(), front.officer("ada"), front.officer("ben")
    opened = ops.post("/v1/customers", {"external_id": "alice@example"})
    assert opened.status_code == 201, opened.text
    number = opened.json()["customer_no"]
    issued = ops.post("/v1/api-keys", {"role": "customer", "subject": str(number)})
    alice = type(ops)(front.client, issued.json()["token"], number)
    address = alice.post("/v1/deposit-addresses", {"chain": "fake"}).json()["address"]
    world.mine()
    house.run(1)
    world.pay(address, front.key_of("TOK"), 5_000_000)
    world.mine(4)
    house.run(3)
    assert alice.get("/v1/deposits").json()["data"][0]["state"] == "credited"
    (balance,) = alice.get("/v1/balances").json()["data"]
    assert (balance["symbol"], balance["available"], balance["total"]) == ("TOK", "5", "5")
    outside = world.outsider("bob")
    asked = {"asset": front.asset("TOK"), "destination": outside, "amount": "1.25"}
    with front.running():
        made = alice.post("/v1/withdrawals", asked, key="w-1")
    assert made.status_code == 201, made.text
    assert made.json()["state"] == "held"
    withdrawal_id = made.json()["withdrawal_id"]
    (pending,) = ada.get("/v1/approvals").json()["data"]
    assert pending["withdrawal"]["withdrawal_id"] == withdrawal_id
    for officer, person in ((ada, "ada"), (ben, "ben")):
        path = f"/v1/withdrawals/{withdrawal_id}/approvals"
        done = officer.post(path, front.signed(withdrawal_id, person))
        assert done.status_code == 201, done.text
    assert alice.get(f"/v1/withdrawals/{withdrawal_id}").json()["state"] == "approved"
    for _ in range(5):
        house.run(1)
        world.mine(3)
    house.run(1)
    shown = alice.get(f"/v1/withdrawals/{withdrawal_id}").json()
    assert shown["state"] == "confirmed"
    assert [entry["state"] for entry in shown["timeline"]][:3] == ["requested", "held", "approved"]
    assert len(shown["tx_ids"]) == 1
    chain = house.home.chain
    assert chain.balance_of(outside, front.key_of("TOK"), chain.head()) == 1_250_000


def test_an_order_makes_the_round_trip(front: Front) -> None:
    buyer, seller = front.customer("b", FAKE=10**9), front.customer("s", TOK=5 * 10**6)
    with front.running():
        resting = seller.post("/v1/orders", new_order(front, side="sell", quantity="2"))
        assert resting.status_code == 201, resting.text
        book = buyer.get("/v1/markets/TOK-FAKE/book").json()
        assert book["asks"] == [["0.01", "2"]]
        order = new_order(front)
        taken = buyer.post("/v1/orders", order)
        assert (taken.json()["state"], taken.json()["filled"]) == ("filled", "1")
        again = buyer.post("/v1/orders", order)
        assert again.status_code == 200
        assert again.json() == taken.json()
        assert again.headers["idempotency-replayed"] == "true"
        other = buyer.post("/v1/orders", {**order, "quantity": "3"})
        problem_of(other, 409, "duplicate_other_content")
        found = buyer.get(f"/v1/orders?client_order_id={order['client_order_id']}").json()
        assert found["data"] == [taken.json()]
        (fill,) = buyer.get("/v1/fills").json()["data"]
        assert (fill["quantity"], fill["quote"], fill["fee"]) == ("1", "0.01", "0.002")
        (rest,) = seller.get("/v1/orders?status=open").json()["data"]
        assert rest["remaining"] == "1"
        changed = seller.ask(
            "PATCH", f"/v1/orders/{rest['order_id']}", json={"price": "0.02", "quantity": "2"}
        )
        assert changed.json()["price"] == "0.02"
        gone = seller.ask("DELETE", f"/v1/orders/{rest['order_id']}")
        assert (gone.json()["state"], gone.json()["cancelled"]) == ("cancelled", "1")
        assert len(buyer.get("/v1/markets/TOK-FAKE/trades").json()["data"]) == 1
