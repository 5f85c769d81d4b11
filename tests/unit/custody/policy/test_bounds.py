"""Bounds on what people can move: counter-examples are replayed, proofs name their buckets."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from app.toml_text import toml_text
from core.clock import DAY_NS
from core.errors import Corrupt
from custody.policy.bounds import Answer, Question, Verdict, answer
from custody.policy.document import parse_policy
from custody.policy.replay import confirm
from custody.policy.rules import Policy
from custody.policy.world import Asset, World
from tests.support.policy_weather import ASSETS, CHAINS, PERSONS, WALLETS, random_page
from tests.unit.custody.policy.papers import USD, allow, block, policy, require

WORLD = World(
    assets=(
        Asset("devnet", "native", 18, is_priced=True),
        Asset("devnet", "0xt0", 6, is_priced=True),
    ),
    wallets=frozenset({"hot"}),
    officers=frozenset({"ada", "ben", "eve", "kim"}),
    threshold=2,
)
DAY = {"id": "day", "per": ["customer"], "roles": ["customer"], "unit": "usd", "cap": "10000"}
SMALL = allow("small", roles=["customer"], kinds=["withdrawal"], max_usd="1000")


def ask(one: Policy, usd: int, **more: Any) -> Answer:
    """Ask whether more than so many whole USD can be moved; what was found was replayed."""
    found = answer(one, WORLD, Question(usd=usd * USD, **more))
    if found.steps:
        assert found.attacker is not None
        confirm(one, found.attacker, found.steps)
        first = min(step.released_ns for step in found.steps)
        window_ns = more.get("window_ns", DAY_NS)
        assert all(step.released_ns - first < window_ns for step in found.steps)
        assert sum(step.worth for step in found.steps) == found.moved
    return found


def test_small_payments_without_a_bucket_break_every_bound_by_splitting() -> None:
    found = ask(policy(rules=[SMALL, block("rest")]), 25_000)
    assert (found.verdict, found.ceiling) == (Verdict.BROKEN, None)
    assert len(found.steps) == 26
    assert found.moved == 25_000 * USD + 1
    assert all(step.request.initiator.startswith("customer:") for step in found.steps)


def test_a_bucket_proves_its_cap_and_not_one_dollar_less() -> None:
    one = policy(rules=[SMALL, block("rest")], buckets=[DAY])
    found = ask(one, 10_000)
    assert (found.verdict, found.ceiling, found.moved) == (
        Verdict.HOLDS,
        10_000 * USD,
        10_000 * USD,
    )
    assert found.because[0].startswith("day/customer=")
    assert ask(one, 9_999).verdict is Verdict.BROKEN


def test_a_second_account_doubles_what_one_person_can_move() -> None:
    one = policy(rules=[SMALL, block("rest")], buckets=[DAY])
    assert ask(one, 19_999, accounts=2).verdict is Verdict.BROKEN
    assert ask(one, 20_000, accounts=2).verdict is Verdict.HOLDS
    everyone = {**DAY, "id": "all", "per": ["global"], "cap": "15000"}
    both = policy(rules=[SMALL, block("rest")], buckets=[DAY, everyone])
    assert ask(both, 15_000, accounts=2).verdict is Verdict.HOLDS


def test_a_window_of_an_hour_slides_twenty_four_times_in_a_day() -> None:
    hour = {**DAY, "id": "hour", "cap": "1000", "window_s": 3_600}
    one = policy(rules=[SMALL, block("rest")], buckets=[hour])
    assert ask(one, 23_999).verdict is Verdict.BROKEN
    held = ask(one, 24_000)
    assert (held.verdict, held.ceiling) == (Verdict.HOLDS, 24_000 * USD)
    assert len({step.released_ns for step in held.steps}) == 24


def test_a_delay_makes_a_window_slide_less_often() -> None:
    """A payment counts from its request until a window after its release."""
    slow = require("slow", "1 of officers", kinds=["withdrawal"], delay_s=3_600, expiry_s=9_000)
    hour = {**DAY, "id": "hour", "cap": "1000", "window_s": 3_600}
    one = policy(rules=[{**slow, "roles": ["customer"]}, block("rest")], buckets=[hour])
    assert ask(one, 11_999).verdict is Verdict.BROKEN
    assert ask(one, 12_000).verdict is Verdict.HOLDS


def test_buckets_per_destination_do_not_hold_fresh_addresses_back() -> None:
    each = {**DAY, "id": "each", "per": ["destination"], "cap": "500"}
    found = ask(policy(rules=[SMALL, block("rest")], buckets=[each]), 5_000)
    assert (found.verdict, found.ceiling) == (Verdict.BROKEN, None)
    assert len({step.request.destination.address for step in found.steps}) == 11
    only = {**SMALL, "destinations": ["0xa1"]}
    one = policy(rules=[only, block("rest")], buckets=[each])
    assert ask(one, 500).verdict is Verdict.HOLDS


def test_an_officer_with_an_account_approves_where_one_person_is_enough() -> None:
    big = require("big", "1 of officers", kinds=["withdrawal"], roles=["customer"])
    found = ask(policy(rules=[big, block("rest")]), 1_000_000)
    assert found.verdict is Verdict.BROKEN
    assert found.steps[0].approvers in {("ada",), ("ben",), ("eve",)}
    assert len(found.steps) == 1


def test_two_officers_are_needed_where_the_quorum_is_two() -> None:
    big = require("big", "2 of officers", kinds=["withdrawal"], roles=["customer"])
    one = policy(rules=[big, block("rest")])
    alone = ask(one, 0)
    assert (alone.verdict, alone.moved, alone.ceiling) == (Verdict.HOLDS, 0, 0)
    assert ask(one, 1_000_000, persons=2).verdict is Verdict.BROKEN


def test_who_asks_cannot_approve_so_a_third_person_is_needed() -> None:
    own = require("own", "2 of officers", kinds=["withdrawal"], roles=["officer"])
    one = policy(rules=[own, block("rest")])
    assert ask(one, 0, persons=2).verdict is Verdict.HOLDS
    assert ask(one, 1_000, persons=3).verdict is Verdict.BROKEN


def test_a_person_in_two_groups_does_not_meet_two_demands() -> None:
    """Ada is an officer and in compliance."""
    both = require("both", "1 of officers and 1 of compliance", kinds=["withdrawal"])
    one = policy(rules=[{**both, "roles": ["customer"]}, block("rest")])
    assert ask(one, 0).verdict is Verdict.HOLDS
    assert ask(one, 10, persons=2).verdict is Verdict.BROKEN


def test_coins_count_at_their_price() -> None:
    coins = {"chains": ["devnet"], "assets": ["native"]}
    few = {**DAY, **coins, "id": "few", "unit": "coins", "cap": "2"}
    rules = [allow("a", **coins, roles=["customer"], kinds=["withdrawal"]), block("rest")]
    one = policy(rules=rules, buckets=[few])
    prices = {("devnet", "native"): 3_000 * 10**12}
    assert ask(one, 5_999, prices=prices).verdict is Verdict.BROKEN
    assert ask(one, 6_000, prices=prices).verdict is Verdict.HOLDS
    cheap = {("devnet", "native"): 10**12}
    assert ask(one, 2, prices=cheap).verdict is Verdict.HOLDS


def test_what_passes_without_a_price_is_found() -> None:
    """Dear payments need two officers; without a price the last rule takes them."""
    rules = [
        require("dear", "2 of officers", kinds=["withdrawal"], max_usd="1000000"),
        allow("blind", kinds=["withdrawal"], roles=["customer"]),
    ]
    found = ask(policy(rules=rules), 10)
    assert found.verdict is Verdict.BROKEN
    assert ask(policy(rules=[*rules[:1], block("rest")]), 10).verdict is Verdict.HOLDS


def test_payments_that_do_not_pass_are_not_believed() -> None:
    one = policy(rules=[SMALL, block("rest")], buckets=[DAY])
    found = ask(one, 9_999)
    assert found.attacker is not None
    doubled = tuple(
        dataclasses.replace(step, request=dataclasses.replace(step.request, request_id=f"x{n}"))
        for n, step in enumerate((*found.steps, *found.steps))
    )
    with pytest.raises(Corrupt, match="velocity"):
        confirm(one, found.attacker, doubled)
    other = policy(rules=[require("small", roles=["customer"]), block("rest")])
    with pytest.raises(Corrupt, match="quorum"):
        confirm(other, found.attacker, found.steps)


def test_random_policies_never_let_more_through_than_is_proved() -> None:
    """Everything found was replayed; a search that beats a proof would show either to be wrong."""
    world = World(
        assets=tuple(Asset(c, a, 6, is_priced=True) for c in CHAINS for a in ASSETS),
        wallets=frozenset(WALLETS),
        officers=frozenset(PERSONS),
        threshold=2,
    )
    verdicts = dict.fromkeys(Verdict, 0)
    tight = 0
    for n in range(40):
        dice = random.Random(f"bounds/{n}")
        one = parse_policy(toml_text(random_page(dice)).encode())
        usd = dice.choice((0, 1, 3, 50, 1_000_000)) * USD
        found = answer(one, world, Question(usd=usd, window_ns=dice.choice((60, 90, 200)) * 10**9))
        verdicts[found.verdict] += 1
        assert found.ceiling is None or found.moved <= found.ceiling
        tight += found.ceiling is not None and 0 < found.moved == found.ceiling
        if found.verdict is Verdict.BROKEN:
            assert found.moved > usd
    assert verdicts[Verdict.BROKEN] > 5
    assert verdicts[Verdict.HOLDS] > 5
    assert verdicts[Verdict.UNDECIDED] < 10, verdicts
    assert tight


def test_somebody_in_no_group_whom_a_rule_names_is_searched_too() -> None:
    robot = allow("robot", kinds=["withdrawal"], roles=["ops"], initiators=["zoe"])
    found = ask(policy(rules=[robot, block("rest")]), 10)
    assert found.verdict is Verdict.BROKEN
    assert found.attacker is not None
    assert found.attacker.persons == {"zoe"}
    seven = allow("seven", kinds=["withdrawal"], roles=["customer"], initiators=["customer:7"])
    assert ask(policy(rules=[seven, block("rest")]), 10).verdict is Verdict.BROKEN
    assert ask(policy(rules=[seven, block("rest")]), 10, accounts=0).verdict is Verdict.HOLDS
