"""A second, slow implementation of policies: from the document's plain tables, with fractions.

It shares nothing with custody.policy but the values of requests and facts. Whatever both say of
the same document and request must be equal (tests/properties/test_policy_twin.py).
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Any, NamedTuple

from custody.policy.request import Facts, Finding, PolicyRequest

Table = dict[str, Any]
YES, NO, UNKNOWN = "yes", "no", "unknown"


class Said(NamedTuple):
    """What a policy says of a request."""

    outcome: str
    code: str
    rule: str
    charges: list[tuple[str, str, int, int, int]]
    """Bucket, key, amount, cap, window."""
    quorum: tuple[str, int, int, list[str]] | None
    """Text, delay, expiry, who may not approve."""


def say(page: Table, request: PolicyRequest, facts: Facts, newest: Table | None = None) -> Said:
    """Decide a submission."""
    early, waiting = _before_the_rule(newest or page, request, facts)
    if early:
        return Said("block", early, "", [], None)
    for rule in page.get("rules", []):
        answer = _matches(rule, page, request)
        if answer == NO:
            continue
        if answer == UNKNOWN:
            return Said("block", "missing_field", rule["id"], [], None)
        if rule["outcome"] == "block":
            return Said("block", rule["code"], rule["id"], [], None)
        code, charges = _velocity(page, request, facts)
        if code:
            return Said("block", code, rule["id"], charges, None)
        if rule["outcome"] == "allow":
            return Said("allow", waiting, rule["id"], charges, None)
        exclude = {request.initiator} | {request.destination.last_editor or request.initiator}
        for name in rule.get("exclude", []):
            exclude |= set(page["groups"].get(name, {"persons": [name]})["persons"])
        everyone = {p for group in page["groups"].values() for p in group["persons"]}
        if not quorum_met(rule["quorum"], page, everyone - exclude):
            return Said("block", "quorum_unreachable", rule["id"], charges, None)
        times = rule["delay_s"] * 10**9, rule["expiry_s"] * 10**9
        needs = (rule["quorum"], *times, sorted(exclude))
        return Said("require", waiting, rule["id"], charges, needs)
    return Said("block", "no_rule", "", [], None)


def say_release(
    page: Table, request: PolicyRequest, facts: Facts, taken: Said, newest: Table | None = None
) -> Said:
    """Decide a release of what was decided before by the same page."""
    if taken.outcome == "block":
        return Said("block", taken.code or "unknown_rule", taken.rule, [], None)
    early, waiting = _before_the_rule(newest or page, request, facts)
    if early:
        return Said("block", early, taken.rule, [], taken.quorum)
    code, charges = _velocity(page, request, facts)
    if code in ("no_price", "stale_price"):
        waiting, code = waiting or code, ""
    if code:
        return Said("block", code, taken.rule, charges, taken.quorum)
    return Said("wait" if waiting else "allow", waiting, taken.rule, charges, taken.quorum)


def _before_the_rule(page: Table, request: PolicyRequest, facts: Facts) -> tuple[str, str]:
    """Return the code it is blocked with, and what has to be waited for."""
    if request.amount not in range(2**255) or request.scale not in range(78):
        return "malformed", ""
    if request.effects is None:
        return "undecodable", ""
    if _effects_differ(request):
        return "effects_differ", ""
    for finding in facts.stops:
        if finding.verdict.value == "block":
            return finding.code, ""
    for deny in page.get("denies", []):
        answer = _matches(deny, page, request)
        if answer != NO:
            return (deny["code"] if answer == YES else "missing_field"), ""
    later: list[Finding] = [*facts.screening, *facts.destination]
    for finding in later:
        if finding.verdict.value == "block":
            return finding.code, ""
    waits = [one.code for one in [*facts.stops, *later] if one.verdict.value == "wait"]
    return "", waits[0] if waits else ""


def _effects_differ(request: PolicyRequest) -> bool:
    paid = Fraction(0)
    for effect in request.effects or ():
        elsewhere = effect.destination != request.destination.address
        if effect.asset_key != request.asset_key or (elsewhere and request.kind != "batch"):
            return True
        if effect.amount < 0:
            return True
        paid += effect.amount
    return paid != request.amount


def _dollars(page: Table, request: PolicyRequest) -> Fraction | str:
    """Return the value in USD, rounded up to 10^-6, or why there is none."""
    if request.price is None or request.price.value not in range(1, 2**255):
        return "no_price"
    age = request.now_ns - request.price.at_ns
    if age < -5 * 10**9 or age >= page["price"]["stale_after_s"] * 10**9:
        return "stale_price"
    coins = Fraction(request.amount, 10**request.scale)
    millionths = coins * Fraction(request.price.value, 10**12) * 10**6
    whole = millionths.numerator // millionths.denominator
    return Fraction(whole if whole == millionths else whole + 1, 10**6)


def _matches(table: Table, page: Table, request: PolicyRequest) -> str:
    """Return the three-valued conjunction of everything a table asks."""
    answers = [_set_answer(table, field, _seen(field, request)) for field in _FIELDS]
    if "in_book" in table:
        known = request.destination.entry is not None
        answers.append(YES if known == table["in_book"] else NO)
    if "entry_age_min_s" in table:
        age = request.destination.entry_age_ns
        if age is None:
            answers.append(UNKNOWN)
        else:
            answers.append(YES if age >= table["entry_age_min_s"] * 10**9 else NO)
    worth = _dollars(page, request)
    coins = Fraction(request.amount, 10**request.scale)
    for key, value in (("usd", worth), ("coins", coins)):
        low, high = table.get(f"min_{key}"), table.get(f"max_{key}")
        if isinstance(value, str):
            answers.append(NO if high is not None else YES)
            continue
        is_in = (low is None or value >= Fraction(low)) and (high is None or value < Fraction(high))
        answers.append(YES if is_in else NO)
    return NO if NO in answers else UNKNOWN if UNKNOWN in answers else YES


_FIELDS = (
    "kinds",
    "chains",
    "assets",
    "wallets",
    "roles",
    "initiators",
    "customers",
    "destinations",
    "destination_kinds",
)


def _seen(field: str, request: PolicyRequest) -> list[object]:
    single: dict[str, object] = {
        "kinds": request.kind,
        "chains": request.chain,
        "assets": request.asset_key,
        "wallets": request.wallet,
        "initiators": request.initiator,
        "customers": request.customer_no,
        "destinations": request.destination.address,
        "destination_kinds": request.destination.kind.value,
    }
    if field == "roles":
        return list(request.roles)
    return [] if single[field] in (None, "") else [single[field]]


def _set_answer(table: Table, field: str, seen: list[object]) -> str:
    if field not in table or table[field] == ["*"]:
        return YES
    if not table[field]:
        return NO
    if not seen:
        return UNKNOWN
    return YES if any(one in table[field] for one in seen) else NO


def _velocity(
    page: Table, request: PolicyRequest, facts: Facts
) -> tuple[str, list[tuple[str, str, int, int, int]]]:
    charges, codes = [], []
    for bucket in page.get("buckets", []):
        answer = _matches(bucket, page, request)
        if answer == NO:
            continue
        key = _key(bucket, request)
        if answer == UNKNOWN or key is None:
            return "missing_field", []
        worth = _dollars(page, request)
        unit = 10**6 if bucket["unit"] == "usd" else 10**request.scale
        cap = int(Fraction(bucket["cap"]) * unit)
        amount = request.amount
        if bucket["unit"] == "usd":
            amount = cap + 1 if isinstance(worth, str) else int(worth * unit)
        charges.append((bucket["id"], key, amount, cap, bucket["window_s"] * 10**9))
        if bucket["unit"] == "usd" and isinstance(worth, str):
            codes.append(worth)
        elif amount > cap:
            codes.append("above_cap")
        elif amount + facts.used.get(key, 0) > cap:
            codes.append("velocity")
    return (codes[0] if codes else ""), charges


def _key(bucket: Table, request: PolicyRequest) -> str | None:
    parts = {
        "initiator": [request.initiator],
        "customer": ["" if request.customer_no is None else str(request.customer_no)],
        "wallet": [request.chain, request.wallet],
        "destination": [request.chain, request.destination.address],
        "asset": [request.chain, request.asset_key],
    }
    wanted = [name for name in parts if name in bucket["per"]]
    if any(not part for name in wanted for part in parts[name]):
        return None
    texts = [f"{name}=" + ":".join(map(_quoted, parts[name])) for name in wanted]
    return f"{bucket['id']}/{','.join(texts) or 'global'}"


def _quoted(text: str) -> str:
    return "".join(f"%{ord(one):02x}" if one in "%/,=:" else one for one in text)


def quorum_met(text: str, page: Table, persons: set[str]) -> bool:
    """Return whether persons meet a quorum: try every choice of persons for every demand."""
    return any(True for _ in _uses(_tree(re.findall(r"[()]|[^\s()]+", text)), page, persons))


def _tree(words: list[str]) -> Any:
    """Return nested tuples: ("or", …), ("and", …), or (count, group)."""

    def either() -> Any:
        parts = [both()]
        while words and words[0] == "or":
            words.pop(0)
            parts.append(both())
        return ("or", *parts)

    def both() -> Any:
        parts = [one()]
        while words and words[0] == "and":
            words.pop(0)
            parts.append(one())
        return ("and", *parts)

    def one() -> Any:
        if words[0] == "(":
            words.pop(0)
            inside = either()
            words.pop(0)
            return inside
        count, _of, group = words.pop(0), words.pop(0), words.pop(0)
        return (int(count), group)

    return either()


def _uses(tree: Any, page: Table, free: set[str]) -> Any:
    """Yield every set of persons that can meet a tree."""
    if tree[0] == "or":
        for part in tree[1:]:
            yield from _uses(part, page, free)
    elif tree[0] == "and":
        if len(tree) == 1:
            yield set()
            return
        for used in _uses(tree[1], page, free):
            for more in _uses(("and", *tree[2:]), page, free - used):
                yield used | more
    else:
        members = sorted(set(page["groups"][tree[1]]["persons"]) & free)
        yield from map(set, itertools.combinations(members, tree[0]))
