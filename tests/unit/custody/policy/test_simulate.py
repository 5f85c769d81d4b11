"""A draft tried on stored decisions: what it would have answered differently."""

from __future__ import annotations

import dataclasses

import pytest

from core.clock import DAY_NS
from core.errors import Reason, Refused
from custody.policy import simulate as simulation
from custody.policy.ease import Direction
from custody.policy.record import Record, recorded
from custody.policy.request import Facts, Finding, Price, Verdict
from custody.policy.rules import Policy
from custody.policy.simulate import simulate
from tests.unit.custody.policy.papers import COIN, NOW, allow, block, policy, request, require

OLD = policy(rules=[allow("small", max_usd="1000"), require("big")])
DAY = {"id": "day", "per": ["customer"], "unit": "usd", "cap": "1000"}


def past(one: Policy, *amounts: int, every_ns: int = 1, facts: Facts | None = None) -> list[Record]:
    """Return records of withdrawals of so many coins, each worth 100 USD a coin."""
    return [
        recorded(
            one,
            dataclasses.replace(
                request(amount * COIN),
                request_id=f"wd_{n}",
                now_ns=NOW + n * every_ns,
                price=Price(100 * 10**12, NOW + n * every_ns, "test"),
            ),
            facts or Facts(),
        )
        for n, amount in enumerate(amounts)
    ]


def test_the_policy_of_the_past_changes_nothing() -> None:
    found = simulate(past(OLD, 1, 9, 10, 500), OLD)
    assert (found.requests, found.differences) == (4, ())


def test_a_draft_shows_what_would_have_been_easier_or_harder() -> None:
    draft = policy(rules=[allow("small", max_usd="1500"), require("big", "3 of officers")])
    found = simulate(past(OLD, 1, 12, 20), draft)
    assert [(one.request_id, one.becomes) for one in found.differences] == [
        ("wd_1", Direction.LOOSER),
        ("wd_2", Direction.STRICTER),
    ]
    first = found.differences[0]
    assert first.before == "require 2 of officers, delay 60 s (rule big)"
    assert first.after == "allow (rule small)"


def test_a_drafts_own_buckets_are_filled_in_the_order_of_the_past() -> None:
    draft = policy(rules=[allow("small", max_usd="1000"), require("big")], buckets=[DAY])
    found = simulate(past(OLD, 6, 3, 2, 1), draft)
    assert [(one.request_id, one.after) for one in found.differences] == [
        ("wd_2", "block velocity")
    ]
    later = simulate(past(OLD, 6, 6, 6, every_ns=DAY_NS), draft)
    assert later.differences == ()
    nearly = simulate(past(OLD, 6, 6, every_ns=DAY_NS - 1), draft)
    assert [one.after for one in nearly.differences] == ["block velocity"]


def test_what_was_found_then_counts_again() -> None:
    facts = Facts(screening=(Finding(Verdict.BLOCK, "sanctioned"),))
    draft = policy(rules=[block("all", "closed")])
    found = simulate(past(OLD, 1, facts=facts), draft)
    assert found.differences == ()
    assert simulate(past(OLD, 1), draft).differences[0].after == "block closed"


def test_releases_are_not_counted_twice_and_too_many_records_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first,) = past(OLD, 1)
    release = recorded(OLD, first.request, Facts(), taken=first.decision)
    assert simulate([first, release], OLD).requests == 1
    monkeypatch.setattr(simulation, "RECORDS_MAX", 2)
    with pytest.raises(Refused) as caught:
        simulate(past(OLD, 1, 2, 3), OLD)
    assert caught.value.reason is Reason.TOO_LARGE
