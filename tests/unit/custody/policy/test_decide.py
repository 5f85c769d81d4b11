"""What a policy says: the order of its parts, its windows, and what is missing."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from core.clock import DAY_NS, SECOND_NS
from custody.policy.decide import charges_of, decide, decide_release
from custody.policy.decision import Outcome, Stage
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Finding,
    Movement,
    Price,
    Verdict,
)
from tests.unit.custody.policy.papers import (
    COIN,
    NOW,
    STALE_S,
    USD,
    allow,
    block,
    decided,
    policy,
    request,
    require,
)

DAY = {"id": "day", "per": ["customer"], "unit": "usd", "cap": "1000"}


def test_the_first_matching_rule_counts_in_every_order() -> None:
    rules = [allow("a"), block("b"), require("c")]
    for order in itertools.permutations(rules):
        assert decided(policy(rules=list(order))).rule == order[0]["id"]
    other = policy(rules=[allow("a", chains=["elsewhere"]), block("b"), require("c")])
    assert (decided(other).rule, decided(other).code) == ("b", "blocked")


def test_a_deny_wins_over_every_rule() -> None:
    one = policy(rules=[allow("a")], denies=[{"id": "no", "wallets": ["hot"]}])
    found = decided(one)
    assert (found.outcome, found.code, found.rule) == (Outcome.BLOCK, "denied", "")
    assert decided(one, request(wallet="treasury")).outcome is Outcome.ALLOW


def test_the_denies_of_the_newest_policy_count_and_its_rules_do_not() -> None:
    old = policy(rules=[allow("a")], denies=[{"id": "old", "code": "old_deny"}])
    new = policy(rules=[block("b")], denies=[{"id": "new", "code": "new_deny", "wallets": ["x"]}])
    assert decide(old, request(), Facts()).code == "old_deny"
    assert decide(old, request(), Facts(), newest=new).outcome is Outcome.ALLOW
    assert decide(old, request(wallet="x"), Facts(), newest=new).code == "new_deny"


def test_without_a_matching_rule_a_request_is_blocked() -> None:
    for rules in ([], [allow("a", chains=["elsewhere"])], [allow("a", wallets=[])]):
        found = decided(policy(rules=rules))
        assert (found.outcome, found.code, found.rule) == (Outcome.BLOCK, "no_rule", "")


def test_an_empty_set_matches_nothing_and_a_star_everything() -> None:
    fields = ("kinds", "chains", "assets", "wallets", "roles", "initiators", "customers")
    for field in (*fields, "destinations", "destination_kinds"):
        assert decided(policy(rules=[allow("a", **{field: []})])).code == "no_rule"
        assert decided(policy(rules=[allow("a", **{field: ["*"]})])).rule == "a"
    nobody = request(customer_no=None, roles=frozenset())
    open_ = policy(rules=[allow("a", customers=["*"], roles=["*"])])
    assert decided(open_, nobody).rule == "a"


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (COIN // 2 - 1, "no_rule"),
        (COIN // 2, ""),
        (COIN - 1, ""),
        (COIN, "no_rule"),
    ],
)
def test_a_window_of_coins_has_its_lower_bound_and_not_its_upper(
    amount: int, expected: str
) -> None:
    window = {"chains": ["devnet"], "assets": ["native"], "min_coins": "0.5", "max_coins": "1"}
    assert decided(policy(rules=[allow("a", **window)]), request(amount)).code == expected


@pytest.mark.parametrize(
    ("price", "expected"),
    [(50 * 10**12 - 1, ""), (50 * 10**12, ""), (100 * 10**12 - 1, "no_rule"), (10**14, "no_rule")],
)
def test_a_window_of_usd_has_its_lower_bound_and_not_its_upper(price: int, expected: str) -> None:
    """A value is rounded up to 10^-6 USD: the tiniest bit below a bound counts as the bound."""
    one = policy(rules=[allow("a", min_usd="50", max_usd="100")])
    assert decided(one, request(price=Price(price, NOW, "test"))).code == expected
    below = request(price=Price(50 * 10**12 - 10**6, NOW, "test"))
    assert decided(one, below).code == "no_rule"


def test_neighbouring_windows_cover_every_amount_once() -> None:
    bounds = ["0", "0.5", "1.000001", "2"]
    rules = [
        allow(f"w{n}", min_usd=low, max_usd=high)
        for n, (low, high) in enumerate(itertools.pairwise(bounds))
    ]
    for order in (rules, rules[::-1]):
        for micro in (0, 1, 499_999, 500_000, 1_000_000, 1_000_001, 1_999_999):
            worth = request(scale=6, amount=micro, price=Price(10**12, NOW, "test"))
            worth = dataclasses.replace(worth, effects=(Movement("native", "0xa1", micro),))
            expected = sum(micro >= bound for bound in (500_000, 1_000_001))
            assert decided(policy(rules=order), worth).rule == f"w{expected}"


def test_a_rule_that_names_an_absent_field_blocks() -> None:
    one = policy(rules=[allow("seven", customers=[7]), block("rest")])
    assert decided(one).rule == "seven"
    found = decided(one, request(customer_no=None))
    assert (found.code, found.rule) == ("missing_field", "seven")
    assert found.trace[-1].condition == "customers"
    fresh = request(destination=Destination("0xa1", DestinationKind.EXTERNAL))
    aged = policy(rules=[allow("aged", entry_age_min_s=60), block("rest")])
    assert decided(aged, fresh).code == "missing_field"


def test_a_field_that_would_not_decide_is_not_missed() -> None:
    seven = allow("seven", customers=[7], kinds=["withdrawal"])
    found = decided(policy(rules=[seven, allow("b")]), request(customer_no=None, kind="sweep"))
    assert found.rule == "b"
    booked = allow("aged", in_book=True, entry_age_min_s=60)
    stranger = request(destination=Destination("0xa1", DestinationKind.EXTERNAL))
    assert decided(policy(rules=[booked, block("rest")]), stranger).rule == "rest"


def test_a_deny_and_a_bucket_that_name_an_absent_field_block() -> None:
    nobody = request(customer_no=None)
    one = policy(rules=[allow("a")], denies=[{"id": "no", "customers": [9]}])
    assert (decided(one, nobody).code, decided(one).code) == ("missing_field", "")
    one = policy(rules=[allow("a")], buckets=[DAY])
    assert (decided(one, nobody).code, decided(one).code) == ("missing_field", "")


@pytest.mark.parametrize("age_ns", [STALE_S * SECOND_NS, DAY_NS, -5 * SECOND_NS - 1, None])
def test_a_stale_or_absent_price_is_above_every_bound(age_ns: int | None) -> None:
    price = None if age_ns is None else Price(1, NOW - age_ns, "test")
    bounds = policy(rules=[allow("small", max_usd="1000000"), require("big", min_usd="1000000")])
    assert decided(bounds, request(price=price)).rule == "big"
    denied = policy(rules=[allow("a")], denies=[{"id": "no", "min_usd": "1000000000"}])
    assert decided(denied, request(price=price)).code == "denied"
    blind = policy(rules=[allow("a")])
    assert decided(blind, request(price=price)).outcome is Outcome.ALLOW
    bucket = policy(rules=[allow("a")], buckets=[DAY])
    expected = "no_price" if price is None else "stale_price"
    assert decided(bucket, request(price=price)).code == expected
    (charge,) = charges_of(bucket, request(price=price))
    assert charge.amount == charge.cap + 1


def test_a_price_is_fresh_until_the_moment_it_is_stale() -> None:
    one = policy(rules=[allow("small", max_usd="1000"), block("rest")])
    for age_ns in (-5 * SECOND_NS, 0, STALE_S * SECOND_NS - 1):
        asked = request(price=Price(10**14, NOW - age_ns, "test"))
        assert decided(one, asked).rule == "small"
    nothing = request(price=Price(0, NOW, "test"))
    assert decided(one, nothing).rule == "rest"


def test_undecodable_or_foreign_effects_block_before_anything_else() -> None:
    one = policy(rules=[allow("a")])
    assert decided(one, request(effects=None)).code == "undecodable"
    for effects in (
        (),
        (Movement("native", "0xa1", COIN - 1),),
        (Movement("native", "0xb2", COIN),),
        (Movement("token", "0xa1", COIN),),
        (Movement("native", "0xa1", COIN), Movement("token", "0xa1", 0)),
        (Movement("native", "0xa1", 2 * COIN), Movement("native", "0xa1", -COIN)),
    ):
        assert decided(one, request(effects=effects)).code == "effects_differ"
    batch = (Movement("native", "0xb2", COIN // 2), Movement("native", "0xc3", COIN // 2))
    assert decided(one, request(kind="batch", effects=batch)).outcome is Outcome.ALLOW
    assert decided(one, request(-1)).code == "malformed"
    assert decided(one, request(10**5_000)).code == "malformed"
    assert decided(one, request(scale=78)).code == "malformed"


def test_the_stages_stand_in_their_order_and_the_first_block_ends_it() -> None:
    one = policy(rules=[block("r", "rule")], denies=[{"id": "no", "wallets": ["hot"]}])
    held = Finding(Verdict.BLOCK, "held")
    everything = {"stops": (held,), "screening": (held,), "destination": (held,)}
    order = [Stage.INPUT, Stage.STOP, Stage.DENY, Stage.SCREENING, Stage.DESTINATION, Stage.RULE]
    bad, good = request(effects=None), request()
    seen = [decided(one, bad, **everything).trace[-1].stage]
    seen.append(decided(one, good, **everything).trace[-1].stage)
    seen.append(decided(one, good, screening=(held,), destination=(held,)).trace[-1].stage)
    other = request(wallet="treasury")
    seen.append(decided(one, other, screening=(held,), destination=(held,)).trace[-1].stage)
    seen.append(decided(one, other, destination=(held,)).trace[-1].stage)
    seen.append(decided(one, other).trace[-1].stage)
    assert seen == order


def test_what_must_be_waited_for_does_not_end_a_submission_but_a_release() -> None:
    one, asked = policy(rules=[require("r")]), request()
    facts = Facts(screening=(Finding(Verdict.WAIT, "screening_pending"),))
    found = decide(one, asked, facts)
    assert (found.outcome, found.code) == (Outcome.REQUIRE, "screening_pending")
    again = decide_release(one, asked, facts, found)
    assert (again.outcome, again.code) == (Outcome.WAIT, "screening_pending")
    assert decide_release(one, asked, Facts(), found).outcome is Outcome.ALLOW
    blocked = Facts(screening=(Finding(Verdict.BLOCK, "sanctioned"),))
    assert decide_release(one, asked, blocked, found).code == "sanctioned"


def test_a_release_keeps_the_rule_and_looks_at_everything_else_again() -> None:
    one = policy(rules=[require("small", max_usd="1000"), block("rest")], buckets=[DAY])
    asked = request()
    taken = decided(one, asked)
    dearer = request(price=Price(2_000 * 10**12, NOW, "test"))
    assert decided(one, dearer).rule == "rest"
    again = decide_release(one, dearer, Facts(), taken)
    assert (again.outcome, again.code, again.rule) == (Outcome.BLOCK, "above_cap", "small")
    full = Facts(used={"day/customer=7": 900 * USD + 1})
    assert decide_release(one, asked, full, taken).code == "velocity"
    assert decide_release(one, asked, Facts(), taken).outcome is Outcome.ALLOW
    unknown = request(price=None)
    waiting = decide_release(one, unknown, Facts(), taken)
    assert (waiting.outcome, waiting.code) == (Outcome.WAIT, "no_price")
    new = policy(rules=[allow("a")], denies=[{"id": "stop"}])
    assert decide_release(one, asked, Facts(), taken, newest=new).code == "denied"


def test_a_release_needs_a_decision_of_the_same_policy_that_was_no_block() -> None:
    one, other = policy(rules=[allow("a")]), policy(rules=[allow("b")])
    taken = decided(one)
    assert decide_release(other, request(), Facts(), taken).code == "unknown_policy"
    blocked = decided(policy(rules=[block("a")]))
    again = decide_release(policy(rules=[block("a")]), request(), Facts(), blocked)
    assert (again.outcome, again.code) == (Outcome.BLOCK, "blocked")


def test_an_amount_above_a_cap_and_a_sum_above_it_have_their_own_codes() -> None:
    one = policy(rules=[allow("a")], buckets=[{**DAY, "cap": "100"}])
    key = "day/customer=7"
    assert decided(one).outcome is Outcome.ALLOW
    assert decided(one, used={key: 1}).code == "velocity"
    assert decided(one, request(COIN + 1)).code == "above_cap"
    assert decided(one, used={"day/customer=8": 10**30}).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("per", "key"),
    [
        (["initiator"], "day/initiator=customer%3a7"),
        (["customer"], "day/customer=7"),
        (["wallet"], "day/wallet=devnet:hot"),
        (["destination"], "day/destination=devnet:0xa1"),
        (["asset"], "day/asset=devnet:native"),
        (["asset", "customer"], "day/customer=7,asset=devnet:native"),
        (["global"], "day/global"),
    ],
)
def test_a_bucket_counts_for_whom_it_says(per: list[str], key: str) -> None:
    one = policy(rules=[allow("a")], buckets=[{**DAY, "per": per}])
    (charge,) = decided(one).charges
    assert (charge.key, charge.amount, charge.cap) == (key, 100 * USD, 1_000 * USD)
    assert charges_of(one, request()) == (charge,)


def test_a_bucket_of_coins_counts_minor_units() -> None:
    sets = {"chains": ["devnet"], "assets": ["native"]}
    bucket = {**DAY, **sets, "unit": "coins", "cap": "1.5"}
    (charge,) = decided(policy(rules=[allow("a")], buckets=[bucket])).charges
    assert (charge.amount, charge.cap, charge.window_ns) == (COIN, 3 * COIN // 2, DAY_NS)


def test_who_asked_and_who_edited_the_destination_may_not_approve() -> None:
    edited = Destination("0xa1", DestinationKind.EXTERNAL, last_editor="ben")
    asked = request(initiator="ada", destination=edited)
    one = policy(rules=[require("r", "1 of officers", exclude=["compliance"])])
    needs = decided(one, asked).requirement
    assert needs is not None
    assert needs.exclude == ("ada", "ben", "kim")
    two = decided(policy(rules=[require("r", "2 of officers")]), asked)
    assert (two.outcome, two.code) == (Outcome.BLOCK, "quorum_unreachable")


def test_every_decision_says_the_whole_way_it_came() -> None:
    one = policy(rules=[require("r", max_usd="1000")], buckets=[DAY])
    lines = [(line.stage, line.rule, line.verdict) for line in decided(one).trace]
    assert lines == [
        (Stage.INPUT, "", "pass"),
        (Stage.DENY, "", "pass"),
        (Stage.RULE, "r", "pass"),
        (Stage.RULE, "r", "require"),
        (Stage.VELOCITY, "day", "pass"),
        (Stage.QUORUM, "r", "require"),
        (Stage.DELAY, "r", "require"),
    ]
