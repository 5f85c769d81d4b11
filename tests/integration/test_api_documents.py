"""What the instance says of itself: OpenAPI, its page, health, metrics, logs, reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coincurve
import pytest
import structlog
from fastapi.openapi.models import OpenAPI

from app.api.problems import Problem
from custody.reserves import verify
from custody.reserves.publish import Prover, publish
from engine.factory import engine_factory
from tests.support.api import Caller, Front, new_order, open_front, problem_of
from tests.support.databases import Databases


@pytest.fixture(scope="module")
def front(databases: Databases) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url) as opened:
        yield opened


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "$ref":
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_openapi_document_is_served_valid_and_whole(front: Front) -> None:
    document = front.client.request("GET", "/openapi.json").json()
    OpenAPI.model_validate(document)
    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    for path, operation in operations:
        named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))
        assert operation["description"]
        assert set(operation["responses"]) >= ({"400", "401", "403", "429", "500", "503"}
                                               if operation["x-roles"] else {"500"})  # fmt: skip
    schema = document["components"]["schemas"]["Problem"]
    assert set(schema["properties"]) == set(Problem.model_fields)


def test_the_page_names_every_operation_and_runs_no_script(front: Front) -> None:
    page = front.client.request("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    for path in front.client.contract.document["paths"]:
        assert path in page.text


def test_amounts_are_texts_in_every_schema(front: Front) -> None:
    names = {"amount", "price", "quantity", "fee", "available", "locked", "withdrawing", "total"}
    seen = 0
    for schema in front.client.contract.document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if name in names:
                kinds = {field.get("type")} | {each.get("type") for each in field.get("anyOf", ())}
                assert kinds <= {"string", "null", None}, (schema["title"], name)
                seen += 1
    assert seen > 12


def test_health_names_each_chain_and_everything_else_that_was_asked_to_be_checked(
    databases: Databases,
) -> None:
    limping: dict[str, str | None] = {"worker": None}
    with (
        databases.fresh("sqlite") as url,
        open_front(url, checks={"worker": lambda: limping["worker"]}) as front,
    ):
        front.customer("someone", TOK=10**6)
        assert front.client.request("GET", "/livez").json() == {"status": "alive"}
        assert front.client.request("GET", "/readyz").json() == {"status": "ready"}
        limping["worker"] = "silent for 20 s"
        answer = front.client.request("GET", "/readyz?verbose")
        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"
        assert answer.json()["engine"] == engine_factory().kind
        checks = {each["name"]: each for each in answer.json()["checks"]}
        assert set(checks) == {"database", "engine", "chain.fake", "addresses", "worker"}
        assert checks["worker"]["detail"] == "silent for 20 s"


def test_metrics_have_no_label_that_grows_with_customers(front: Front) -> None:
    caller = front.customer("metrics", TOK=10**7)
    order = caller.post("/v1/orders", new_order(front, side="sell", price="5")).json()
    caller.get(f"/v1/orders/{order['order_id']}")
    front.client.request("BREW", "/v1/coffee")
    text = front.client.request("GET", "/metrics").text
    route = 'method="GET",route="/v1/orders/{order_id}",status="200"'
    assert f"strongroom_http_requests_total{{{route}}} 1.0" in text
    assert order["order_id"] not in text
    assert "coffee" not in text
    assert "BREW" not in text


def test_logs_name_request_route_and_key_and_no_secret(front: Front) -> None:
    caller = front.customer("logged", TOK=10**7)
    with structlog.testing.capture_logs() as logs:
        answer = caller.get("/v1/withdrawals?client_withdrawal_id=private-id")
        front.client.request("GET", "/v1/me", headers={"Authorization": "Bearer hunter2"})
    lines = [line for line in logs if line["event"] == "request"]
    assert lines[0]["request_id"] == answer.headers["x-request-id"]
    assert (lines[0]["route"], lines[0]["role"]) == ("/v1/withdrawals", "customer")
    text = str(logs)
    for secret in (caller.token.partition(".")[2], "hunter2", "private-id"):
        assert secret not in text


def test_every_answer_has_an_id_of_its_own_and_is_not_kept_by_anybody(front: Front) -> None:
    answers = [front.client.request("GET", "/v1/time") for _ in range(5)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


def every_page(caller: Caller, path: str) -> Iterator[dict[str, Any]]:
    page = caller.get(path).json()
    yield from page["data"]
    while page["next_cursor"] is not None:
        page = caller.get(f"{path}&cursor={page['next_cursor']}").json()
        yield from page["data"]


def test_an_auditor_reads_chains_and_the_log_of_who_did_what(front: Front) -> None:
    auditor = front.auditor()
    (chain,) = auditor.get("/v1/chains").json()["data"]
    assert chain["chain"] == "fake"
    assert auditor.get("/v1/incidents").json() == {"data": []}
    for n in range(4):
        front.ops().post("/v1/customers", {"external_id": f"c{n}"})
    seen = [record["number"] for record in every_page(auditor, "/v1/audit-log?limit=2")]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= 9


def test_pages_follow_each_other_without_gaps_or_repeats(front: Front) -> None:
    caller = front.customer("pages", TOK=10**7)
    with front.running():
        placed = [
            caller.post("/v1/orders", new_order(front, side="sell", price="5", quantity="0.1"))
            for _ in range(7)
        ]
        ids = [answer.json()["order_id"] for answer in placed]
        for status in ("open", "all"):
            found = every_page(caller, f"/v1/orders?limit=3&status={status}")
            assert [order["order_id"] for order in found] == ids[::-1]


def test_a_customer_takes_his_own_proof_home_and_it_verifies(
    databases: Databases, tmp_path: Path
) -> None:
    reports, leaves = tmp_path / "reports", tmp_path / "leaves"
    reports.mkdir()
    with (
        databases.fresh("sqlite") as url,
        open_front(url, reports_folder=reports, leaves_folder=leaves) as front,
    ):
        alice, bob = front.customer("alice", TOK=5 * 10**6), front.customer("bob", FAKE=10**8)
        nobody = front.customer("nobody")
        platform, home = front.house.platform, front.house.home

        def signer(challenge: bytes, proof: bytes) -> str:
            digest = home.chain.control_digest(challenge, address="")
            key = coincurve.PublicKey.from_signature_and_message(proof, digest, hasher=None)
            return home.chain.address_of(key.format())

        schemes: dict[str, verify.Scheme] = {"fake": signer}
        made = publish(
            platform.db,
            {home.chain.traits.chain: Prover(home.chain, platform.signer, "fake")},
            entity="house",
            folder=reports,
            leaves_folder=leaves,
            clock=platform.clock,
            entropy=platform.entropy,
            more_schemes=schemes,
        )
        (listed,) = alice.get("/v1/reserves").json()["data"]
        assert listed["hash"] == made.sealed.link.hash
        assert alice.get("/v1/reserves/1").content == made.sealed.data
        problem_of(alice.get("/v1/reserves/2"), 404, "not_found")
        report = verify.check_report(made.sealed.data, schemes)
        for caller in (alice, bob):
            proof = caller.get("/v1/reserves/1/proof").content
            assert verify.check_proof(report, proof)
            assert json.loads(proof)["customer"] == str(caller.customer_no)
        problem_of(nobody.get("/v1/reserves/1/proof"), 404, "unknown_customer")
        damaged = made.path.read_bytes().replace(b'"house"', b'"mouse"')
        made.path.write_bytes(damaged)
        problem_of(alice.get("/v1/reserves/1"), 500, "internal")
        assert len(front.corrupt) == 1
