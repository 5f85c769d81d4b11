"""What some people together can bring through a policy: their payments, by kind.

A stream is a kind of payment that they can make and approve as often as the buckets let them. All
payments to one that the policy does not name may go to a fresh address each, so a bucket for each
destination does not hold them back.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from core.money import ceil_div
from custody.policy.cells import OTHER, OTHER_CUSTOMER, Cell, Maker, amounts_of, cell_of, view_lines
from custody.policy.decision import Charge, Outcome
from custody.policy.request import PRICE_SCALE, USD_SCALE
from custody.policy.rules import Bucket, Per, Policy, Rule, Unit
from custody.policy.scope import ANY, View
from custody.policy.world import CUSTOMER, World

DOLLAR = 10**PRICE_SCALE
_ACCOUNT = "customer:"
LEAVES = ("external", "contract")
"""Kinds of destinations that are not ours."""

Prices = Mapping[tuple[str, str], int]
"""By chain and asset key, in 10^-12 USD for one whole coin; what is not named is worth 1 USD."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """People who act together, and the customers' accounts they have."""

    persons: frozenset[str]
    customers: tuple[str, ...]

    @property
    def makers(self) -> tuple[Maker, ...]:
        """Return the requests' makers they can be."""
        return (
            *(Maker(CUSTOMER, f"{_ACCOUNT}{one}", one) for one in self.customers),
            *(
                Maker(role, one, None)
                for one in sorted(self.persons)
                for role in ("officer", "ops")
            ),
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket as a stream meets it, in 10^-6 USD."""

    bucket: Bucket
    key: str
    cap: int
    is_fresh: bool
    """A key that every payment has for itself."""

    @property
    def in_usd(self) -> bool:
        """Return whether the bucket itself counts USD."""
        return self.bucket.unit is Unit.USD


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of payment: every one of them worth [low, most], in 10^-6 USD."""

    view: View
    rule: Rule
    price: int
    low: int
    most: int | None
    """None: nothing bounds one payment."""
    limits: tuple[Limit, ...]

    @property
    def shared(self) -> frozenset[str]:
        """Return the keys that payments of this stream have in common."""
        return frozenset(one.key for one in self.limits if not one.is_fresh)

    @property
    def is_fresh(self) -> bool:
        """Return whether every payment goes to an address of its own."""
        return self.view.values["destinations"] == (OTHER,)

    @property
    def unit(self) -> int:
        """Return what divides minor units x price into 10^-6 USD."""
        return _unit(self.view)

    def amount(self, worth: int) -> int:
        """Return minor units that are worth no more than a value."""
        return worth * self.unit // self.price


def attackers(policy: Policy, *, persons: int, accounts: int) -> Iterator[Attacker]:
    """Yield every group of so many persons and accounts, alike ones once.

    A person may be in no group: somebody whom the policy names as an initiator, or nobody it knows.
    """
    makers = {one for part in policy.parts for one in part.scope.names("initiators")} - {ANY}
    accounts_named = {one.removeprefix(_ACCOUNT) for one in makers if one.startswith(_ACCOUNT)}
    people_named = {one for one in makers if not one.startswith(_ACCOUNT)}
    everyone = sorted({*people_named, OTHER}.union(*policy.groups.values()))
    sets = [
        *policy.groups.values(),
        *(rule.exclude for rule in policy.rules),
        *(part.scope.names("initiators") for part in policy.parts),
    ]
    numbers = {one for part in policy.parts for one in part.scope.names("customers")} - {ANY}
    customers = sorted(numbers | {one for one in accounts_named if one.isdigit()})
    others = [str(int(OTHER_CUSTOMER) - n) for n in range(accounts)]
    named = [part.scope.names("customers") for part in policy.parts]
    named += [part.scope.names("initiators") for part in policy.parts]
    seen: set[object] = set()
    for people in itertools.combinations(everyone, min(persons, len(everyone))):
        for owned in itertools.combinations([*customers, *others], accounts):
            alike = (
                tuple(sorted(tuple(one in names for names in sets) for one in people)),
                tuple(sorted(tuple(_is_named(one, names) for names in named) for one in owned)),
            )
            if alike not in seen:
                seen.add(alike)
                yield Attacker(frozenset(people), owned)


def _is_named(customer: str, names: Collection[str]) -> bool:
    return customer in names or f"{_ACCOUNT}{customer}" in names


def streams_of(
    policy: Policy, world: World, attacker: Attacker, prices: Prices
) -> tuple[Stream, ...]:
    """Return what an attacker can bring through, without what is no better than another stream."""
    found: list[Stream] = []
    for views in view_lines((policy,), world, attacker.makers):
        for view, after in itertools.zip_longest(views, views[1:]):
            if view.values["destination_kinds"][0] not in LEAVES:
                continue
            cell = cell_of(policy, view)
            rule = _passing(policy, cell, attacker)
            if rule is not None:
                high = None if after is None else after.usd
                stream = _stream(policy, cell, rule, high, prices)
                if stream is not None:
                    found.append(stream)
    kept: list[Stream] = []
    for one in sorted(found, key=lambda one: len(one.limits)):
        if not any(_is_no_worse(other, one) for other in kept):
            kept.append(one)
    return tuple(kept)


def _passing(policy: Policy, cell: Cell, attacker: Attacker) -> Rule | None:
    """Return the rule by which an attacker gets a cell through."""
    if cell.denies or cell.missing or not cell.rules:
        return None
    rule = policy.rules[cell.rules[0]]
    if rule.outcome is Outcome.BLOCK:
        return None
    if cell.view.usd is None and any(one.unit is Unit.USD for one, _ in cell.charges):
        return None
    able = attacker.persons - rule.exclude - {cell.view.values["initiators"][0]}
    if rule.quorum is not None and not rule.quorum.is_met(policy.groups, able):
        return None
    return rule


def _stream(
    policy: Policy, cell: Cell, rule: Rule, high: int | None, prices: Prices
) -> Stream | None:
    view = cell.view
    price = prices.get((view.values["chains"][0], view.values["assets"][0]), DOLLAR)
    unit = _unit(view)
    limits = tuple(_limit(bucket, charge, view, price) for bucket, charge in cell.charges)
    least = max(view.usd or 0, ceil_div(view.amount * price, unit))
    tops = [one.cap for one in limits] + ([] if high is None else [high - 1])
    above = [bound for bound in amounts_of(policy, view) if bound > view.amount]
    tops += [(above[0] - 1) * price // unit] if above else []
    most = min(tops) if tops else None
    if most is not None and (most < least or most <= 0):
        return None
    return Stream(view, rule, price, max(least, 1), most, limits)


def _limit(bucket: Bucket, charge: Charge, view: View, price: int) -> Limit:
    unit = _unit(view)
    cap = charge.cap if bucket.unit is Unit.USD else charge.cap * price // unit
    is_fresh = Per.DESTINATION in bucket.per and view.values["destinations"] == (OTHER,)
    return Limit(bucket, charge.key, cap, is_fresh)


def _is_no_worse(one: Stream, other: Stream) -> bool:
    """Return whether whatever `other` brings through, `one` does too."""
    is_wide = one.most is None or (other.most is not None and one.most >= other.most)
    keys = {limit.key for limit in one.limits} <= {limit.key for limit in other.limits}
    return (
        is_wide
        and keys
        and one.low <= other.low
        and one.rule.delay_ns <= other.rule.delay_ns
        and (one.view.usd is None) <= (other.view.usd is None)
        and one.price == other.price
    )


def _unit(view: View) -> int:
    unit: int = 10 ** (view.scale + PRICE_SCALE - USD_SCALE)
    return unit
