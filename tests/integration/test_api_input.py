"""Bad input never loses money: amounts (L04), destinations (W12), JSON, parameters, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chains.base import NATIVE
from chains.fake import address
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.databases import Databases
from tests.support.house import GAS, HOT

BAD_AMOUNTS: list[Any] = [
    "1_000", "１２３", "1e3", "1E+400", "NaN", "sNaN", "Infinity", "-0", "+5", " 7 ", "7 ", "0x10",
    "0.0000001", "1.0000000000000000001", str(2**256), "9" * 400, "", ".5", "5.", "01", "1,5", "-1",
    "1\n", "1\x00", "½", "٣", [], {}, [1], None, True, 1, 0, 1.5, 9007199254740993,
]  # fmt: skip
RAW_NUMBERS = ["1.000000000000000001", "1e2", "-1", "123456789012345678901234567890", "NaN"]


@pytest.fixture(scope="module")
def front(databases: Databases) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def rich(front: Front) -> Caller:
    return front.customer("rich", TOK=10**9, FAKE=10**12)


def withdrawal(front: Front, **changes: Any) -> dict[str, Any]:
    body = {"asset": front.asset("TOK"), "destination": front.world.outsider("x"), "amount": "1"}
    return {**body, **changes}


def nothing_moved(front: Front, caller: Caller) -> None:
    front.settle()
    for balance in caller.get("/v1/balances").json()["data"]:
        assert (balance["locked"], balance["withdrawing"]) == ("0", "0")
    assert caller.get("/v1/withdrawals").json()["data"] == []
    assert caller.get("/v1/orders").json()["data"] == []


@pytest.mark.parametrize("bad", BAD_AMOUNTS, ids=repr)
def test_an_amount_outside_the_grammar_is_refused_everywhere(
    front: Front, rich: Caller, bad: Any
) -> None:
    answers = [
        rich.post("/v1/withdrawals", withdrawal(front, amount=bad), key="bad"),
        rich.post("/v1/orders", new_order(front, price=bad)),
        rich.post("/v1/orders", new_order(front, quantity=bad)),
    ]
    for answer in answers:
        assert answer.status_code == 400, (bad, answer.text)
        assert answer.json()["code"] in ("malformed_amount", "amount_out_of_range"), answer.text
    nothing_moved(front, rich)


@pytest.mark.parametrize("number", RAW_NUMBERS)
def test_a_json_number_is_no_amount(front: Front, rich: Caller, number: str) -> None:
    body = f'{{"asset":"{front.asset("TOK")}","destination":"x","amount":{number}}}'
    answer = rich.ask(
        "POST",
        "/v1/withdrawals",
        content=body,
        headers={"Idempotency-Key": "n", "Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.json()["code"] in ("malformed_amount", "malformed")
    nothing_moved(front, rich)


@pytest.mark.parametrize("good", ["1", "0.000100", "0.1", "999.999999"])
def test_a_good_amount_is_echoed_exactly(front: Front, good: str) -> None:
    caller = front.customer(f"good-{good}", TOK=2 * 10**9)
    with front.running():
        made = caller.post("/v1/withdrawals", withdrawal(front, amount=good), key="g")
    assert made.status_code == 201, made.text
    shortest = good.rstrip("0") if "." in good else good
    assert made.json()["amount"] == shortest
    assert rich_total(caller) == "2000"


def rich_total(caller: Caller) -> str:
    (balance,) = caller.get("/v1/balances").json()["data"]
    assert balance["withdrawing"] != "0"
    total: str = balance["total"]
    return total


def bad_destinations(front: Front, caller: Caller) -> dict[str, tuple[str, str]]:
    world, house = front.world, front.house
    good = world.outsider("dest")
    flipped = good[:-1] + ("0" if good[-1] != "0" else "1")
    assert caller.customer_no is not None
    return {
        "checksum": (flipped, "invalid_address"),
        "upper case": (good.upper(), "invalid_address"),
        "another network": (address.to_text(bytes(range(20)), "other"), "invalid_address"),
        "own deposit address": (house.address(caller.customer_no), "own_address"),
        "own hot wallet": (house.own_address(HOT), "own_address"),
        "own gas wallet": (house.own_address(GAS), "own_address"),
        "zero": (address.to_text(bytes(20), world.network), "forbidden_destination"),
        "burn": (address.to_text(address.BURN_BODY, world.network), "forbidden_destination"),
        "the token itself": (front.key_of("TOK"), "forbidden_destination"),
        "trailing space": (good + " ", "invalid_address"),
        "leading space": (" " + good, "invalid_address"),
        "newline": (good + "\n", "invalid_address"),
        "cyrillic a": (good.replace("a", "а").replace("b", "Ь"), "invalid_address"),
        "full width": (good.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
                       "invalid_address"),
        "empty": ("", "invalid_address"),
        "native": (NATIVE, "invalid_address"),
        "nul": (good[:10] + "\x00" + good[11:], "invalid_address"),
    }  # fmt: skip


def test_a_bad_destination_is_refused_before_anything_is_held(front: Front, rich: Caller) -> None:
    for name, (destination, code) in bad_destinations(front, rich).items():
        asked = withdrawal(front, destination=destination)
        answer = rich.post("/v1/withdrawals", asked, key=f"w12-{name.replace(' ', '-')}")
        problem_of(answer, 422, code)
        nothing_moved(front, rich)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"asset": "fake/unknown"}, 404, "unknown_asset"),
        ({"asset": "TOK"}, 404, "unknown_asset"),
        ({"asset": "fake-2/native"}, 404, "unknown_asset"),
        ({"amount": "0"}, 422, "zero_amount"),
        ({"amount": "0.000099"}, 422, "below_minimum"),
        ({"amount": str(2**90)}, 400, "amount_out_of_range"),
        ({"amount": str(2**255)}, 400, "amount_out_of_range"),
        ({"client_withdrawal_id": ""}, 400, "malformed"),
        ({"client_withdrawal_id": "a b"}, 400, "malformed"),
        ({"client_withdrawal_id": 5}, 400, "malformed"),
        ({"extra": 1}, 400, "malformed"),
        ({"fee": "0"}, 400, "malformed"),
        ({"destination": "f" * 300}, 400, "malformed"),
    ],
)
def test_a_withdrawal_that_is_not_as_it_must_be_is_refused(
    front: Front, rich: Caller, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = rich.post("/v1/withdrawals", withdrawal(front, **changes), key="changed")
    problem_of(answer, status, code)
    nothing_moved(front, rich)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"market": "TOK-USD"}, 404, "unknown_market"),
        ({"side": "BUY"}, 400, "malformed"),
        ({"kind": "stop"}, 400, "malformed"),
        ({"post_only": "true"}, 400, "malformed"),
        ({"price": "0"}, 422, "invalid_price"),
        ({"price": "0.00001"}, 400, "malformed_amount"),
        ({"quantity": "0"}, 422, "invalid_quantity"),
        ({"quantity": "0.00005"}, 422, "invalid_quantity"),
        ({"post_only": True, "tif": "ioc"}, 422, "invalid_combination"),
        ({"kind": "market", "tif": "gtc"}, 422, "invalid_combination"),
        ({"client_order_id": "1"}, 400, "malformed"),
        ({"client_order_id": ""}, 400, "malformed"),
        ({"issued_at": "yesterday"}, 400, "malformed"),
        ({"issued_at": "2001-01-01T00:00:00Z"}, 422, "issued_too_long_ago"),
        ({"issued_at": "2100-01-01T00:00:00Z"}, 422, "issued_in_future"),
        ({"quantity": "922337203685478"}, 400, "amount_out_of_range"),
        ({"quantity": "90000000000", "price": "9000000000"}, 400, "amount_out_of_range"),
        ({"quantity": "900000", "price": "900000"}, 422, "exceeds_available"),
        ({"customer_no": 2}, 400, "malformed"),
    ],
)
def test_an_order_that_is_not_as_it_must_be_is_refused(
    front: Front, rich: Caller, changes: dict[str, Any], status: int, code: str
) -> None:
    problem_of(rich.post("/v1/orders", new_order(front, **changes)), status, code)
    nothing_moved(front, rich)


@pytest.mark.parametrize("name", ["client_order_id", "issued_at", "market", "price", "quantity"])
def test_a_missing_field_is_named(front: Front, rich: Caller, name: str) -> None:
    body = new_order(front)
    del body[name]
    document = problem_of(rich.post("/v1/orders", body), 400, "missing_field")
    assert document["errors"] == [{"pointer": f"/{name}", "code": "missing_field"}]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"external_id":"a"', {}, 400, "malformed"),
        (b"", {}, 400, "malformed"),
        (b'{"external_id":"a","external_id":"b"}', {}, 400, "malformed"),
        (b'{"external_id":' + b"[" * 60_000 + b"]" * 5, {}, 400, "malformed"),
        (b'{"external_id":"' + b"a" * 70_000 + b'"}', {}, 413, "too_large"),
        (b'{"external_id":"a"}', {"Content-Type": "text/plain"}, 400, "malformed"),
        (b"external_id=a", {"Content-Type": "application/x-www-form-urlencoded"}, 400, "malformed"),
        (b'{"external_id":"a"}', {"Content-Type": "application/json; charset=latin-1"}, 400,
         "malformed"),
        (b'{"external_id":"a"}', {"Content-Length": "99999999999999999999999"}, 413, "too_large"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_clean_json_of_a_sane_size_is_refused(
    front: Front, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    sent = {"Content-Type": "application/json", **headers}
    answer = front.ops().ask("POST", "/v1/customers", content=body, headers=sent)
    problem_of(answer, status, code)


def test_a_body_without_a_declared_length_is_measured_as_it_comes(front: Front) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 1 << 24:
            sent += 1 << 14
            yield b" " * (1 << 14)

    headers = {"Content-Type": "application/json"}
    answer = front.ops().ask("POST", "/v1/customers", content=endless(), headers=headers)
    problem_of(answer, 413, "too_large")


@pytest.mark.parametrize(
    "query", ["?limi=5", "?limit=0", "?limit=101", "?limit=x", "?limit=1&limit=2", "?cursor=-1",
              "?cursor=a", "?cursor=" + "9" * 30, "?state=paid", "?customer_no=1"],
)  # fmt: skip
def test_parameters_that_nobody_knows_are_refused(rich: Caller, query: str) -> None:
    problem_of(rich.get(f"/v1/withdrawals{query}"), 400, "malformed")


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/orders/", "//v1/orders", "/v1/%2e%2e/v1/orders", "/v1/Orders", "/admin"],
)
def test_a_path_is_spelled_in_one_way(rich: Caller, path: str) -> None:
    assert rich.get("/v1/orders").status_code == 200
    problem_of(rich.get(path), 404, "not_found")


def test_a_good_request_after_all_that_still_works(front: Front) -> None:
    caller = front.customer("control", TOK=10**7)
    with front.running():
        made = caller.post("/v1/withdrawals", withdrawal(front), key="control")
    assert made.json()["state"] == "held"
