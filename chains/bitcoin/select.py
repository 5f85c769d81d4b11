"""Which coins carry out an intent. Pure, deterministic, bounded.

Branch and bound looks for coins that need no change at all, then three greedy ways find coins that
need some; of what is found the least wasteful is taken. A coin counts with what it adds beyond the
fee of its own spending, in quarters of a native unit, so that weights stay whole numbers.

Waste: what spending these coins now costs more than it would at a usual rate, and what making
change and spending it later costs, or what goes to the fee beyond need. Source: Bitcoin Core,
wallet/coinselection.cpp; Erhardt, An Evaluation of Coin Selection Strategies (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from chains.base import Coin
from core.errors import Reason, Refused

USUAL_RATE = 5
"""Native units per virtual byte at which coins are gathered rather than spared."""
DUST_COIN_MAX = 546
"""A coin up to here is nobody's payment but a mark: it is never spent beside others."""
INPUTS_MAX = 500
"""Coins in one transaction: a third of what nodes relay, and fits the payload's bound."""
TRIES_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A coin and what its spending weighs."""

    coin: Coin
    weight: int

    def effective(self, rate: int) -> int:
        """Return what the coin adds beyond its own fee, in quarters."""
        return 4 * self.coin.amount - rate * self.weight


@dataclass(frozen=True, slots=True)
class Need:
    """What the chosen coins have to pay for, at one rate."""

    amount: int
    """Sum of what is paid, in native units."""
    weight: int
    """Of the transaction without inputs and without change."""
    change_weight: int
    """Of an output that takes the change."""
    change_least: int
    """Less than this is never made as change, in native units."""
    spend_weight: int
    """Of spending the change later."""
    rate: int

    @property
    def target(self) -> int:
        """Return the least that the coins must add, in quarters; a virtual byte is rounded up."""
        return 4 * self.amount + self.rate * (self.weight + 3)

    @property
    def window(self) -> int:
        """Return from which excess on there is change, in quarters."""
        return self.rate * self.change_weight + 4 * self.change_least

    def waste(self, chosen: Sequence[Candidate]) -> int:
        """Return the waste of some coins that reach the target, in quarters."""
        excess = sum(one.effective(self.rate) for one in chosen) - self.target
        now = sum(one.weight for one in chosen) * (self.rate - USUAL_RATE)
        if excess < self.window:
            return now + excess
        return now + self.rate * self.change_weight + USUAL_RATE * self.spend_weight


def worth_spending(candidates: Sequence[Candidate], rate: int) -> list[Candidate]:
    """Return the coins that add something at a rate, the most first; no dust, no order of ties."""
    useful = [
        one for one in candidates if one.coin.amount > DUST_COIN_MAX and one.effective(rate) > 0
    ]
    return sorted(useful, key=lambda one: (-one.effective(rate), one.coin.outpoint))


def select(candidates: Sequence[Candidate], need: Need) -> tuple[Candidate, ...]:
    """Return coins that reach the target, the least wasteful that were found.

    Refused: exceeds_available, also when more than INPUTS_MAX coins would be needed.
    """
    useful = worth_spending(candidates, need.rate)
    values = [one.effective(need.rate) for one in useful]
    if sum(values[:INPUTS_MAX]) < need.target:
        held = sum(one.coin.amount for one in useful[:INPUTS_MAX])
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"{held} in coins that are worth their fee")
    found = [_largest_first(values, need), _smallest_alone(values, need), _closest(values, need)]
    exact = branch_and_bound(useful, need)
    plans: list[list[Candidate]] = [[useful[place] for place in one] for one in found if one]
    if exact is not None:
        plans.insert(0, list(exact))
    wastes = [need.waste(plan) for plan in plans]
    return tuple(plans[wastes.index(min(wastes))])


def branch_and_bound(useful: Sequence[Candidate], need: Need) -> tuple[Candidate, ...] | None:
    """Return the least wasteful coins that need no change, None when the tries found none.

    useful: as worth_spending orders them.
    """
    values = [one.effective(need.rate) for one in useful]
    rest = [*accumulate(reversed(values), initial=0)][::-1]
    # Where coins cost less now than usually, more of them are better: then no plan is cut early.
    is_dear = need.rate >= USUAL_RATE
    best: tuple[int, ...] | None = None
    best_waste = 0
    stack: list[tuple[int, int, int, tuple[int, ...]]] = [(0, 0, 0, ())]
    tries = 0
    while stack and tries < TRIES_MAX:
        tries += 1
        place, total, weight, chosen = stack.pop()
        waste = weight * (need.rate - USUAL_RATE)
        if total >= need.target:
            waste += total - need.target
            if total < need.target + need.window and (best is None or waste < best_waste):
                best, best_waste = chosen, waste
            if is_dear or total >= need.target + need.window:
                continue
        if place == len(values) or total + rest[place] < need.target:
            continue
        if is_dear and best is not None and waste > best_waste:
            continue
        if len(chosen) == INPUTS_MAX:
            continue
        # Without this coin, equal ones behind it are left out too: they make no other plan.
        after = place + 1
        while after < len(values) and _same(useful[after], useful[place]):
            after += 1
        stack.append((after, total, weight, chosen))
        own = weight + useful[place].weight
        stack.append((place + 1, total + values[place], own, (*chosen, place)))
    return None if best is None else tuple(useful[place] for place in best)


def _same(one: Candidate, other: Candidate) -> bool:
    return one.coin.amount == other.coin.amount and one.weight == other.weight


def _largest_first(values: Sequence[int], need: Need) -> list[int]:
    """Take the largest coins until they pay for change too, or all."""
    return _until(values, range(min(len(values), INPUTS_MAX)), need.target + need.window)


def _smallest_alone(values: Sequence[int], need: Need) -> list[int]:
    """Take the smallest coin that is enough alone."""
    enough = [place for place, value in enumerate(values) if value >= need.target]
    return enough[-1:]


def _closest(values: Sequence[int], need: Need) -> list[int]:
    """Take every coin, from the largest down, that does not overshoot; close the gap with one."""
    aim, total, chosen = need.target + need.window, 0, list[int]()
    for place, value in enumerate(values):
        if total + value <= aim and len(chosen) < INPUTS_MAX:
            chosen.append(place)
            total += value
    if total >= need.target:
        return chosen
    taken = set(chosen)
    closing = [
        place
        for place, value in enumerate(values)
        if place not in taken and total + value >= need.target
    ]
    return [*chosen, closing[-1]] if closing and len(chosen) < INPUTS_MAX else []


def _until(values: Sequence[int], places: Sequence[int], aim: int) -> list[int]:
    total, chosen = 0, list[int]()
    for place in places:
        if total >= aim:
            break
        chosen.append(place)
        total += values[place]
    return chosen
