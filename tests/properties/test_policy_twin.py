"""Policies decide as a naive second implementation does; `make campaign ARGS=policy` takes 10^5."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from app.toml_text import toml_text
from custody.policy import decide as decide_module
from custody.policy import matching
from custody.policy.decide import decide
from custody.policy.document import parse_policy
from custody.policy.quorum import Quorum
from custody.policy.scope import Scope, View, Window
from tests.support import naive_policy
from tests.support.policy_weather import (
    PERSONS,
    disagreements,
    random_facts,
    random_page,
    random_quorum,
    random_request,
)

CHUNKS, PAIRS = 4, 2_500


@pytest.mark.parametrize("number", range(CHUNKS))
def test_random_policies_and_requests_are_decided_alike(number: int) -> None:
    assert CHUNKS * PAIRS == 10_000
    assert disagreements(PAIRS, number) == []


def test_random_requests_reach_every_outcome_and_code() -> None:
    seen: Counter[str] = Counter()
    for n in range(150):
        dice = random.Random(f"reach/{n}")
        policy = parse_policy(toml_text(random_page(dice)).encode())
        for _ in range(20):
            request = random_request(dice)
            decision = decide(policy, request, random_facts(dice, policy, request))
            seen.update((decision.outcome.value, decision.code))
    own = {"malformed", "undecodable", "effects_differ", "missing_field", "no_rule", "no_price"}
    own |= {"stale_price", "above_cap", "velocity", "quorum_unreachable"}
    assert own | {"allow", "require", "block"} <= set(seen)
    assert min(seen["allow"], seen["require"]) > 50, seen


def test_random_quorums_are_met_alike() -> None:
    dice = random.Random("quorums")
    met: Counter[bool] = Counter()
    for _ in range(3_000):
        text = random_quorum(dice, 3)
        page = random_page(dice)
        groups = {name: frozenset(one["persons"]) for name, one in page["groups"].items()}
        persons = set(dice.sample(PERSONS, dice.randint(0, 5)))
        expected = naive_policy.quorum_met(text, page, persons)
        assert Quorum.parse(text).is_met(groups, persons) == expected, (text, groups, persons)
        met[expected] += 1
    assert min(met.values()) > 300


def _closed(window: Window, amount: int, scale: int, usd: int | None) -> bool:
    high = window.max_coins
    is_at_bound = high is not None and amount == high.at_least(scale)
    is_at_bound = is_at_bound or (usd is not None and usd == window.max_usd)
    return is_at_bound or RIGHT(window, amount, scale, usd)


RIGHT = Window.contains


def test_a_closed_window_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Window, "contains", _closed)
    assert disagreements(2_000, 1)


def test_a_missing_field_taken_for_no_match_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def careless(scope: Scope, seen: View) -> str:
        found = matching.fits(scope, seen)
        return found if found == matching.YES else matching.NO

    monkeypatch.setattr(decide_module, "fits", careless)
    assert disagreements(1_000, 1)
