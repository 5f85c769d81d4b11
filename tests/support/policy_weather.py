"""Random policies, requests and facts of few different values, so that most things do meet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from app.toml_text import toml_text
from core.ids import ChainId
from custody.policy.decide import charges_of, decide, decide_release
from custody.policy.decision import Decision
from custody.policy.document import Policy, parse_policy
from custody.policy.record import decode_record, encode_record, recorded, repeated
from custody.policy.request import (
    Destination,
    DestinationKind,
    Facts,
    Finding,
    Movement,
    PolicyRequest,
    Price,
    Verdict,
)
from tests.support import naive_policy

Table = dict[str, Any]

KINDS = ("withdrawal", "withdrawal", "withdrawal", "sweep", "batch", "owner_change")
CHAINS, ASSETS, WALLETS = ("one", "two"), ("native", "0xt0"), ("hot", "treasury")
ROLES, INITIATORS = ("customer", "officer", "platform"), ("customer:7", "ada", "ben")
CUSTOMERS, ADDRESSES = (7, 8), ("0xa1", "0xb2", "a:b/c,d=%")
PERSONS = ("ada", "ben", "eve", "kim", "lou")
AMOUNTS = ("0", "0.5", "1", "1.000001", "2", "3", "1000000")
SECONDS = (1, 60, 61)
PER_POLICY = 20
VALUES: dict[str, tuple[Any, ...]] = {
    "kinds": KINDS,
    "chains": CHAINS,
    "assets": ASSETS,
    "wallets": WALLETS,
    "roles": ROLES,
    "initiators": INITIATORS,
    "customers": CUSTOMERS,
    "destinations": ADDRESSES,
    "destination_kinds": tuple(kind.value for kind in DestinationKind),
}
NOW = 1_800_000_000 * 10**9


def random_page(dice: random.Random) -> Table:
    """Return a valid document as tables."""
    groups = {
        name: {"persons": dice.sample(PERSONS, dice.randint(0, 5))}
        for name in ("officers", "board", "third")
    }
    return {
        "version": 1,
        "serial": 1,
        "previous": "",
        "issued_ns": NOW,
        "publish": {"quorum": "1 of officers", "delay_s": 0},
        "price": {"stale_after_s": dice.choice(SECONDS)},
        "groups": groups,
        "denies": [_deny(dice, n) for n in range(dice.randint(0, 2))],
        "rules": [_rule(dice, n, groups) for n in range(dice.randint(1, 8))],
        "buckets": [_bucket(dice, n) for n in range(dice.randint(0, 4))],
    }


def random_request(dice: random.Random) -> PolicyRequest:
    """Return a request, now and then one with fields missing or out of range."""
    scale = dice.choice((0, 6, 6, 18, 18, 18, 78) if dice.random() < 0.1 else (0, 6, 18))
    unit = 10 ** max(0, scale - 1)
    amount = dice.choice((0, 1, 5 * unit, 10 * unit, 10 * unit + 1, 20 * unit, 30 * unit - 1))
    address = dice.choice(ADDRESSES)
    asset = dice.choice(ASSETS)
    entry = dice.choice((None, "e1"))
    return PolicyRequest(
        request_id="wd_1",
        kind=dice.choice(KINDS),
        initiator=dice.choice((*INITIATORS, *INITIATORS, "")),
        roles=frozenset(dice.sample(ROLES, dice.randint(0, 2))),
        customer_no=dice.choice((*CUSTOMERS, 7, 7, None)),
        chain=ChainId(dice.choice(CHAINS)),
        asset_key=asset,
        scale=scale,
        amount=-1 if dice.random() < 0.01 else amount,
        price=_price(dice),
        wallet=dice.choice((*WALLETS, *WALLETS, "")),
        destination=Destination(
            address,
            dice.choice(tuple(DestinationKind)),
            entry=entry,
            entry_age_ns=None if entry is None else dice.choice((None, 0, 60 * 10**9, 61 * 10**9)),
            last_editor=dice.choice((None, "ada", "kim")),
        ),
        effects=_effects(dice, asset, address, amount),
        now_ns=NOW,
    )


def random_facts(dice: random.Random, policy: Policy, request: PolicyRequest) -> Facts:
    """Return findings, seldom against it, and sums near the caps."""
    used = {
        charge.key: max(0, charge.cap - charge.amount + dice.randint(-1, 1))
        for charge in charges_of(policy, request)
        if dice.random() < 0.3
    }
    return Facts(_findings(dice, "stop"), _findings(dice, "screen"), _findings(dice, "place"), used)


def disagreements(pairs: int, number: int) -> list[str]:
    """Return where the two implementations, or a decision and its record, differ."""
    found: list[str] = []
    for n in range(-(-pairs // PER_POLICY)):
        seed = f"{number}/{n}"
        found += [f"seed {seed!r}: {line}" for line in _differences(random.Random(seed))]
    return found


def _differences(dice: random.Random) -> Iterator[str]:
    page, newer = random_page(dice), random_page(dice)
    policy = parse_policy(toml_text(page).encode())
    later = parse_policy(toml_text(newer).encode())
    for n in range(PER_POLICY):
        request = random_request(dice)
        facts = random_facts(dice, policy, request)
        is_later = dice.random() < 0.3
        pages = (newer if is_later else None, later if is_later else None)
        expected = naive_policy.say(page, request, facts, pages[0])
        record = recorded(policy, request, facts, newest=pages[1])
        if summary(record.decision) != expected:
            yield f"request {n}: {summary(record.decision)} but the twin says {expected}"
        release = random_facts(dice, policy, request)
        again = decide_release(policy, request, release, record.decision, newest=pages[1])
        expected = naive_policy.say_release(page, request, release, expected, pages[0])
        if summary(again) != expected:
            yield f"release {n}: {summary(again)} but the twin says {expected}"
        if n % 5 == 0:
            text = encode_record(record)
            known = {policy.hash: policy, later.hash: later}
            if encode_record(repeated(decode_record(text), known)) != text:
                yield f"request {n}: its record repeats to something else"
            if decide(policy, request, facts, newest=pages[1]) != record.decision:
                yield f"request {n}: decided differently the second time"


def summary(decision: Decision) -> naive_policy.Said:
    """Return a decision in the twin's words, without its trace."""
    needs = decision.requirement
    return naive_policy.Said(
        decision.outcome.value,
        decision.code,
        decision.rule,
        [(one.bucket, one.key, one.amount, one.cap, one.window_ns) for one in decision.charges],
        None
        if needs is None
        else (needs.quorum.text, needs.delay_ns, needs.expiry_ns, list(needs.exclude)),
    )


def _conditions(dice: random.Random, openness: float = 0.7) -> Table:
    found: Table = {}
    for field, values in VALUES.items():
        is_stated = field in ("kinds", "chains", "assets", "wallets")
        if is_stated or dice.random() < 0.1:
            different = sorted(set(values), key=str)
            names = dice.sample(different, dice.randint(0 if dice.random() < 0.1 else 1, 2))
            found[field] = ["*"] if is_stated and dice.random() < openness else names
    if dice.random() < 0.1:
        found["in_book"] = dice.random() < 0.5
    if dice.random() < 0.1:
        found["entry_age_min_s"] = dice.choice(SECONDS)
    return found


def _window(dice: random.Random, table: Table) -> Table:
    for unit, likely in (("usd", 0.5), ("coins", 0.25)):
        if dice.random() < likely:
            low, high = sorted(dice.sample(range(len(AMOUNTS)), 2))
            bounds = {f"min_{unit}": AMOUNTS[low], f"max_{unit}": AMOUNTS[high]}
            for key in dice.sample(sorted(bounds), dice.randint(1, 2)):
                if (key, bounds[key]) != (f"max_{unit}", "0"):
                    table[key] = bounds[key]
            if unit == "coins" and any(key.endswith("coins") for key in table):
                table |= _one_asset(dice)
    return table


def _one_asset(dice: random.Random) -> Table:
    return {"chains": [dice.choice(CHAINS)], "assets": [dice.choice(ASSETS)]}


def _deny(dice: random.Random, number: int) -> Table:
    return _window(dice, {"id": f"d{number}", "code": f"denied_{number}", **_conditions(dice, 0.4)})


def _rule(dice: random.Random, number: int, groups: Table) -> Table:
    rule = _window(dice, {"id": f"r{number}", **_conditions(dice)})
    rule["outcome"] = dice.choice(("allow", "require", "require", "require", "block"))
    if rule["outcome"] == "block":
        rule["code"] = f"blocked_{number}"
    if rule["outcome"] == "require":
        rule |= {"quorum": random_quorum(dice, 2), "delay_s": 0, "expiry_s": 60}
        others = [*groups, *{p for group in groups.values() for p in group["persons"]}]
        rule["exclude"] = dice.sample(sorted(others), dice.randint(0, 1))
    return rule


def random_quorum(dice: random.Random, depth: int) -> str:
    """Return a quorum of the three groups."""
    if depth == 0 or dice.random() < 0.4:
        return f"{dice.randint(1, 2)} of {dice.choice(('officers', 'board', 'third'))}"
    word = dice.choice((" and ", " or "))
    parts = [random_quorum(dice, depth - 1) for _ in range(2)]
    return word.join(f"({part})" if " " in part[5:] else part for part in parts)


def _bucket(dice: random.Random, number: int) -> Table:
    unit = dice.choice(("usd", "coins"))
    names = ("initiator", "customer", "wallet", "destination", "asset")
    return {
        "id": f"b{number}",
        **_conditions(dice, 0.9),
        **(_one_asset(dice) if unit == "coins" else {}),
        "per": dice.sample(names, dice.randint(1, 2)) if dice.random() < 0.7 else ["global"],
        "unit": unit,
        "cap": dice.choice(AMOUNTS[1:] + AMOUNTS[-3:] * 2),
        "window_s": dice.choice(SECONDS),
    }


def _price(dice: random.Random) -> Price | None:
    if dice.random() < 0.1:
        return None
    value = dice.choice((0, 1, 10**12, 10**12, 10**12, 10**12, 10**12 + 1, 2**255))
    age = dice.choice(
        (0, 0, 0, 10**9 - 1, 10**9, 60 * 10**9, 61 * 10**9, -1, -5 * 10**9, -5 * 10**9 - 1)
    )
    return Price(value, NOW - age, "test")


def _effects(
    dice: random.Random, asset: str, address: str, amount: int
) -> tuple[Movement, ...] | None:
    if dice.random() < 0.02:
        return None
    where = dice.choice(ADDRESSES) if dice.random() < 0.04 else address
    what = dice.choice(ASSETS) if dice.random() < 0.04 else asset
    first = -1 if dice.random() < 0.02 else amount // 2
    return tuple(Movement(what, where, part) for part in (first, amount - first))


def _findings(dice: random.Random, what: str) -> tuple[Finding, ...]:
    return tuple(
        Finding(dice.choice(tuple(Verdict)), f"{what}_{n}")
        for n in range(dice.randint(1, 2))
        if dice.random() < 0.04
    )
