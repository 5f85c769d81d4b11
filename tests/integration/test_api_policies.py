"""The next policy over the API: kept, proposed, approved, stopped; documents refused by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from custody import policies, publishing_step
from custody.keys.publication import publication_signable, sign_publication
from custody.keys.roster import Verdict
from custody.policy.document import parse_policy
from tests.support.api import Caller, Front, open_front, problem_of
from tests.support.databases import Databases
from tests.support.house import officer_key
from tests.support.policies import document, required

PATH, DRAFTS = "/v1/policies", "/v1/policy-drafts"


@pytest.fixture
def front(databases: Databases) -> Iterator[Front]:
    with databases.fresh("sqlite") as url, open_front(url) as opened:
        yield opened


def following(front: Front, *entries: str) -> str:
    with front.house.platform.db.read() as conn:
        newest = policies.newest(conn)
    assert newest is not None
    rules = entries or (required("one", quorum="1 of officers"),)
    return document(*rules, serial=newest.serial + 1, previous=newest.hash).decode()


def proposed(caller: Caller, text: str) -> dict[str, Any]:
    kept = caller.post(DRAFTS, {"document": text})
    assert (kept.status_code, kept.json()["state"]) == (201, "draft")
    shown = caller.post(f"{PATH}/{kept.json()['hash']}/propose", {})
    assert shown.status_code == 201, shown.text
    found: dict[str, Any] = shown.json()
    return found


def verdict(person: str, shown: dict[str, Any], said: Verdict = Verdict.APPROVE) -> dict[str, str]:
    signed = sign_publication(
        officer_key(person), parse_policy(shown["document"].encode()), shown["authors"], said
    )
    return {
        "public_key": signed.public_key.hex(),
        "verdict": signed.verdict.value,
        "signature": signed.signature.hex(),
    }


def step(front: Front) -> None:
    platform = front.house.platform
    for _ in range(2):  # handed to the signer, then in force: this policy has no delay
        publishing_step.step(platform.db, platform.signer, clock=platform.clock)


def test_officers_put_the_next_policy_in_force(front: Front) -> None:
    ops, ada, ben = front.ops(), front.officer("ada"), front.officer("ben")
    text = following(front)
    shown = proposed(ops, text)
    assert (shown["state"], shown["authors"], shown["quorum"]) == (
        "proposed", ["olga"], "2 of officers",
    )  # fmt: skip
    path = f"{PATH}/{shown['hash']}"
    detail = ada.get(path).json()
    assert detail["document"] == text
    policy = parse_policy(text.encode())
    assert detail["to_sign"][0]["message"] == (
        publication_signable(policy, ["olga"], Verdict.APPROVE).message.hex()
    )
    first = ada.post(f"{path}/approvals", verdict("ada", detail))
    assert (first.status_code, first.json()["state"]) == (201, "proposed")
    problem_of(ben.post(f"{path}/approvals", verdict("ada", detail)), 403, "forbidden")
    assert ben.post(f"{path}/approvals", verdict("ben", detail)).json()["state"] == "approved"
    step(front)
    rows = front.auditor().get(PATH).json()["data"]
    assert [(row["serial"], row["state"], row["in_force"]) for row in rows] == [(2, "active", True)]
    before = ada.get(f"{PATH}/{policy.previous.hex()}").json()
    assert (before["serial"], before["in_force"], before["to_sign"]) == (1, False, [])


def test_a_bad_document_is_refused_by_line_and_rule(front: Front) -> None:
    ops = front.ops()
    bad = following(front, required("odd", quorum="2 of nobody"))
    problem = problem_of(ops.post(DRAFTS, {"document": bad}), 400, "malformed")
    line = next(n for n, one in enumerate(bad.split("\n"), 1) if "2 of nobody" in one)
    assert f"document:{line}: rule 'odd'" in problem["detail"]
    foreign = problem_of(ops.post(DRAFTS, {"document": "# ü\n"}), 400, "malformed")
    assert "document:1" in foreign["detail"]
    assert ops.get(PATH).json()["data"][0]["serial"] == 1


def test_one_rejection_ends_a_proposal(front: Front) -> None:
    ada = front.officer("ada")
    shown = proposed(front.ops(), following(front))
    path = f"{PATH}/{shown['hash']}"
    detail = ada.get(path).json()
    ended = ada.post(f"{path}/approvals", verdict("ada", detail, Verdict.REJECT)).json()
    assert (ended["state"], ended["reason"]) == ("rejected", "rejected by ada")


def test_who_may_do_what(front: Front) -> None:
    text = following(front)
    for stranger in (front.customer("alice"), front.auditor()):
        problem_of(stranger.post(DRAFTS, {"document": text}), 403, "forbidden")
    problem_of(front.customer("bob").get(PATH), 403, "forbidden")
    ops = front.ops()
    for wrong in ("ab" * 32, "AB" * 32, "x", "0" * 63):
        problem_of(ops.get(f"{PATH}/{wrong}"), 404, "not_found")
        problem_of(ops.post(f"{PATH}/{wrong}/propose", {}), 404, "not_found")
