"""Which deposits to gather now, and which addresses need gas first.

Pure decisions over a gathered view.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import SECOND_NS
from core.ids import AssetNo
from custody.spending.sweep_items import Unswept

FAILURES_MAX = 6
FIRST_REST_NS = 300 * SECOND_NS


@dataclass(frozen=True, slots=True)
class SweepRules:
    """What operators set. Amounts are native minor units unless said otherwise."""

    cost_multiple: int = 5
    """A native sweep must be worth this many times what it may cost."""
    fee_max: int = 10**16
    """Most that one sweep or top-up may cost."""
    top_up_max: int = 2 * 10**16
    """Most that one top-up may bring to an address; bounds stranded gas (P01)."""
    top_up_percent: int = 120
    """How much of the estimated cost a top-up brings.

    So that a small rise of fees does not need a second.
    """
    rate_max: int = 200 * 10**9
    """Above this fee rate nothing is swept; deposits are credited all the same (P02)."""
    rate_percentile: int = 60
    """Where coins are spent: nothing is swept in an hour dearer than so many percent of late."""
    inputs_max: int = 100
    """Where coins are spent: most coins that one sweep gathers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One (address, asset) with unswept deposits, as the chain and the books show it."""

    address: str
    key_index: int
    asset_no: AssetNo
    is_native: bool
    minimum: int
    """The asset's sweep minimum in its own minor units."""
    deposits: tuple[Unswept, ...]
    balance: int
    native_balance: int
    cost: int
    """What the sweep may cost at most: units x rate."""
    busy: bool
    """A spend from or a top-up to this address is in flight."""
    resting: bool = False
    """Its sweeps failed on chain, and it is not time for another one; see is_resting."""
    pays_fee: bool = True
    """The address pays for its sweep; else wallet `gas` does, and nothing is ever topped up."""
    balance_least: int = 0
    """Native units that stay behind where not all leave (ChainTraits.balance_least)."""


class Verdict(enum.StrEnum):
    """What to do with a candidate now."""

    SWEEP = "sweep"
    TOP_UP = "top_up"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Action:
    """A verdict on one candidate.

    Amount to sweep (asset units) or to top up (native units), or why not.
    """

    verdict: Verdict
    candidate: Candidate
    amount: int = 0
    why: str = ""


def is_resting(*, failures: int, last_ns: int, now_ns: int) -> bool:
    """Return whether an address must wait after sweeps that failed on chain: each one cost a fee.

    The wait doubles with every failure; after FAILURES_MAX of them a person must look.
    """
    if failures == 0:
        return False
    return failures >= FAILURES_MAX or now_ns - last_ns < FIRST_REST_NS << failures


def plan_sweeps(candidates: Sequence[Candidate], *, rate: int, rules: SweepRules) -> list[Action]:
    """Decide about every candidate; at most one action per address, tokens before the native coin.

    Tokens go first because the native coin on the address is what pays for them.
    """
    actions: list[Action] = []
    taken: set[str] = set()
    for candidate in sorted(candidates, key=lambda c: (c.address, c.is_native, c.asset_no)):
        action = _decide(candidate, rate, rules)
        if action.verdict is not Verdict.WAIT:
            if candidate.address in taken:
                action = Action(Verdict.WAIT, candidate, why="address_busy")
            taken.add(candidate.address)
        actions.append(action)
    return actions


def _decide(candidate: Candidate, rate: int, rules: SweepRules) -> Action:
    owed = sum(deposit.amount for deposit in candidate.deposits)
    if candidate.busy:
        return Action(Verdict.WAIT, candidate, why="address_busy")
    if candidate.resting:
        return Action(Verdict.WAIT, candidate, why="keeps_failing")
    if rate > rules.rate_max or candidate.cost > rules.fee_max:
        return Action(Verdict.WAIT, candidate, why="fees_too_high")
    if candidate.is_native:
        own_cost = candidate.cost if candidate.pays_fee else 0
        amount = min(owed, candidate.balance - own_cost)
        if 0 < candidate.balance - amount < candidate.balance_least:
            # Else whoever sends one unit that is owed to nobody stops every sweep of the address.
            amount = candidate.balance - candidate.balance_least
        if amount < max(candidate.minimum, rules.cost_multiple * candidate.cost, 1):
            return Action(Verdict.WAIT, candidate, why="below_threshold")
        return Action(Verdict.SWEEP, candidate, amount)
    amount = min(owed, candidate.balance)
    if amount < max(candidate.minimum, 1):
        return Action(Verdict.WAIT, candidate, why="below_threshold")
    if candidate.native_balance >= candidate.cost or not candidate.pays_fee:
        return Action(Verdict.SWEEP, candidate, amount)
    return _top_up(candidate, rules)


def _top_up(candidate: Candidate, rules: SweepRules) -> Action:
    wanted = candidate.cost * rules.top_up_percent // 100 - candidate.native_balance
    if wanted > rules.top_up_max:
        return Action(Verdict.WAIT, candidate, why="top_up_above_cap")
    return Action(Verdict.TOP_UP, candidate, wanted)
