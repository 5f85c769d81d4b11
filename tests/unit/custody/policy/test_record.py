"""The record of a decision: one spelling, read back exactly, repeated bit for bit."""

from __future__ import annotations

import dataclasses
import json

import pytest

from core.errors import Reason, Refused
from custody.policy.record import (
    Moment,
    decision_hash,
    decode_record,
    encode_record,
    recorded,
    repeated,
)
from custody.policy.request import Facts, Finding, Verdict
from tests.unit.custody.policy.papers import allow, policy, request, require

ONE = policy(rules=[require("r", max_usd="1000"), allow("rest")])
FACTS = Facts(
    screening=(Finding(Verdict.WAIT, "screening_pending", 'asked at "noon" Ω'),), used={"k": 5}
)


def test_a_record_is_read_back_and_repeats_bit_for_bit() -> None:
    first = recorded(ONE, request(), FACTS)
    release = recorded(ONE, request(price=None), FACTS, taken=first.decision)
    assert (first.moment, release.moment) == (Moment.REQUEST, Moment.RELEASE)
    for record in (first, release):
        text = encode_record(record)
        assert text.isascii()
        assert decode_record(text) == record
        assert encode_record(repeated(decode_record(text), {ONE.hash: ONE})) == text
    assert decision_hash(first) != decision_hash(release)


def test_a_record_names_the_policy_whose_denies_counted() -> None:
    newer = policy(rules=[], denies=[{"id": "stop"}])
    record = recorded(ONE, request(), FACTS, newest=newer)
    assert (record.policy_hash, record.newest_hash) == (ONE.hash, newer.hash)
    assert repeated(record, {ONE.hash: ONE, newer.hash: newer}) == record
    with pytest.raises(Refused) as caught:
        repeated(record, {ONE.hash: ONE})
    assert caught.value.reason is Reason.UNKNOWN_POLICY


def test_every_changed_value_changes_the_hash_or_is_refused() -> None:
    record = recorded(ONE, request(), FACTS)
    text = encode_record(record)
    page = json.loads(text)
    places = list(_leaves(page))
    assert len(places) > 40
    for path in places:
        changed = json.loads(text)
        parent = changed
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = _other(parent[path[-1]])
        other = json.dumps(changed, sort_keys=True, separators=(",", ":"))
        assert _hash_or_reason(other) != decision_hash(record), path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace(":", ": ", 1),
        lambda text: text.replace('"scale":18', '"scale":"18"'),
        lambda text: text.replace('"customer_no":7', '"customer_no":7,"more":1'),
        lambda text: text.replace('"1000000000000000000"', '"1_000000000000000000"'),
        lambda text: text[:-1],
        lambda text: "[]",
        lambda text: "[" * 100_000,
    ],
)
def test_another_spelling_is_refused(spoil: object) -> None:
    text = encode_record(recorded(ONE, request(), FACTS))
    other = spoil(text)  # type: ignore[operator]
    assert other != text
    with pytest.raises(Refused) as caught:
        decode_record(other)
    assert caught.value.reason is Reason.MALFORMED


def test_a_forged_decision_does_not_repeat() -> None:
    record = recorded(ONE, request(), FACTS)
    forged = dataclasses.replace(
        record, decision=dataclasses.replace(record.decision, rule="rest", requirement=None)
    )
    assert repeated(forged, {ONE.hash: ONE}) == record != forged


def _hash_or_reason(text: str) -> bytes | Reason:
    try:
        return decision_hash(decode_record(text))
    except Refused as refusal:
        return refusal.reason


def _leaves(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(node, dict):
        return [leaf for key, one in node.items() for leaf in _leaves(one, (*path, key))]
    if isinstance(node, list):
        return [leaf for n, one in enumerate(node) for leaf in _leaves(one, (*path, n))]
    return [path]


def _other(value: object) -> object:
    if isinstance(value, int) or value is None:
        return 8
    assert isinstance(value, str)
    return value[:-1] + ("1" if value[-1:] != "1" else "2")
