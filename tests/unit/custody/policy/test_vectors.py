"""The published vectors hold: hashes, decisions, and a second implementation says the same."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from custody.policy.document import parse_policy
from custody.policy.record import (
    Moment,
    Record,
    decision_hash,
    decode_record,
    encode_record,
    repeated,
)
from tests.support import naive_policy
from tests.support.policy_weather import summary

PAGE = json.loads((Path(__file__).parents[3] / "vectors" / "policy.json").read_text("ascii"))
VECTORS: list[dict[str, Any]] = PAGE["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_decision_is_made_again(vector: dict[str, Any]) -> None:
    documents = [text for text in (vector["document"], vector["newest_document"]) if text]
    policies = {policy.hash: policy for policy in (parse_policy(t.encode()) for t in documents)}
    text = json.dumps(vector["record"], sort_keys=True, separators=(",", ":"))
    record = decode_record(text)
    assert hashlib.sha256(vector["document"].encode()).digest() == record.policy_hash
    assert hashlib.sha256(documents[-1].encode()).digest() == record.newest_hash
    assert encode_record(repeated(record, policies)) == text
    assert hashlib.sha256(text.encode()).hexdigest() == vector["decision_hash"]
    assert decision_hash(record).hex() == vector["decision_hash"]
    found = record.decision
    said = {"outcome": found.outcome.value, "code": found.code, "rule": found.rule}
    assert said == vector["expected"]
    assert summary(found) == _twin(vector, record)


def _twin(vector: dict[str, Any], record: Record) -> naive_policy.Said:
    page = tomllib.loads(vector["document"])
    newest = tomllib.loads(vector["newest_document"] or vector["document"])
    if record.moment is Moment.REQUEST:
        return naive_policy.say(page, record.request, record.facts, newest)
    assert record.taken is not None
    taken = summary(record.taken)
    return naive_policy.say_release(page, record.request, record.facts, taken, newest)


def test_the_vectors_cover_every_outcome_and_have_different_hashes() -> None:
    assert {one["expected"]["outcome"] for one in VECTORS} == {"allow", "block", "require", "wait"}
    assert len({one["decision_hash"] for one in VECTORS}) == len(VECTORS) >= 30
