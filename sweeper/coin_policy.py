"""Which deposit coins go into one transaction. Pure decisions over a gathered view.

A sweep of coins has no change: its intent names what arrives, all the rest is the fee, and the fee
it may cost is the fee it pays at once. So it is never replaced by a dearer one; it goes when fees
are low, with some room above them, and one that was not mined for long is cancelled and planned
again. Change would be one more coin at a deposit address, to be swept again.

A coin that cannot be spent spoils every transaction it is in. After each failure it travels with
half as many others, until it is alone and rests (P04).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import Coin
from custody.spending.sweep_items import Unswept
from sweeper.policy import SweepRules, is_resting

ROOM_PERCENT = 110
"""What a sweep pays of the fee at planning, so that a small rise does not keep it from signing."""


@dataclass(frozen=True, slots=True)
class CoinCandidate:
    """A final coin at a deposit address that nothing holds, and the deposits it stands for."""

    coin: Coin
    deposits: tuple[Unswept, ...]
    failures: int = 0
    """Sweeps of late that gathered one of these deposits and failed."""
    last_failed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Gathering:
    """One sweep: coins, what arrives of them, and the fee."""

    candidates: tuple[CoinCandidate, ...]
    amount: int
    fee: int

    @property
    def deposits(self) -> tuple[Unswept, ...]:
        """Return what it gathers, each deposit once."""
        found = {one.deposit_id: one for each in self.candidates for one in each.deposits}
        return tuple(found.values())


def groups(
    candidates: Sequence[CoinCandidate], *, rules: SweepRules, now_ns: int
) -> list[tuple[CoinCandidate, ...]]:
    """Return which coins travel together: those that never failed, then in ever smaller groups."""
    by_failures: dict[int, list[CoinCandidate]] = defaultdict(list)
    alone_after = rules.inputs_max.bit_length()
    for one in candidates:
        tried_alone = max(0, one.failures - alone_after + 1)
        if not is_resting(failures=tried_alone, last_ns=one.last_failed_ns, now_ns=now_ns):
            by_failures[one.failures].append(one)
    found = []
    for failures, some in sorted(by_failures.items()):
        size = max(1, rules.inputs_max >> failures)
        some.sort(key=lambda one: (-one.coin.amount, one.coin.outpoint))
        found += [tuple(some[start : start + size]) for start in range(0, len(some), size)]
    return found


def fee_of(cost: int) -> int:
    """Return what a sweep pays that costs so much at today's rate."""
    return cost * ROOM_PERCENT // 100


def decide(
    group: Sequence[CoinCandidate], *, cost: int, minimum: int, rules: SweepRules
) -> Gathering | str:
    """Return the sweep of a group, or why it waits. cost: of its size at today's rate."""
    fee = fee_of(cost)
    amount = sum(one.coin.amount for one in group) - fee
    if fee > rules.fee_max:
        return "fees_too_high"
    if amount < max(minimum, rules.cost_multiple * fee, 1):
        return "below_threshold"
    return Gathering(tuple(group), amount, fee)
