"""How a node of the fake chain misbehaves: planned call by call, or drawn from seeded odds."""

from __future__ import annotations

import enum
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from core.entropy import Entropy
from core.money import PPM


class FaultKind(enum.StrEnum):
    """One way to misbehave. Which calls each can befall is in APPLIES."""

    UNAVAILABLE = "unavailable"
    """No answer. A broadcast is not forwarded and ends UNKNOWN."""
    NULL = "null"
    """An answer that is nothing, which a truthful reader reports as Unavailable."""
    LAGGING = "lagging"
    """The answer of a node that is `blocks` behind."""
    OTHER_BRANCH = "other_branch"
    """The answer of a node that still follows the branch that was left last."""
    INCOMPLETE = "incomplete"
    """The list of payments comes back empty; the reader notices, unless it is a lying one."""
    STALE_NONCE = "stale_nonce"
    """Three nonces fewer than are spent."""
    ODD_FEE = "odd_fee"
    """A rate of zero, below zero, or a million times too high."""
    LOST = "lost"
    """Bytes that never arrive: UNKNOWN."""
    ANSWER_LOST = "answer_lost"
    """Bytes that arrive while the answer does not: UNKNOWN."""
    LATE = "late"
    """Bytes that arrive only after `blocks` more blocks: UNKNOWN."""
    FALSE_REJECT = "false_reject"
    """Good bytes that the node took while it says they never can be valid: REJECTED."""
    TRUE_REJECT = "true_reject"
    """Good bytes that the node says never can be valid, and does not keep: REJECTED."""


COIN_READS = frozenset({"used_in", "pending", "spent_coins"})
"""What is asked of a node whose chain spends coins, and of no other."""
_READS = COIN_READS | {
    "head", "final_head", "block_at", "payments_in", "balance_of", "used_nonces",
}  # fmt: skip
_ASKS = _READS | {
    "fee_rate", "tx_status", "check_identity", "simulate", "standing_of", "payable_items",
}  # fmt: skip

APPLIES: Mapping[FaultKind, frozenset[str]] = {
    FaultKind.UNAVAILABLE: _ASKS | {"broadcast"},
    FaultKind.NULL: _ASKS,
    FaultKind.LAGGING: _READS | {"tx_status"},
    FaultKind.OTHER_BRANCH: frozenset({"head", "block_at"}),
    FaultKind.INCOMPLETE: frozenset({"payments_in", "used_in"}),
    FaultKind.STALE_NONCE: frozenset({"used_nonces"}),
    FaultKind.ODD_FEE: frozenset({"fee_rate"}),
    FaultKind.LOST: frozenset({"broadcast"}),
    FaultKind.ANSWER_LOST: frozenset({"broadcast"}),
    FaultKind.LATE: frozenset({"broadcast"}),
    FaultKind.FALSE_REJECT: frozenset({"broadcast"}),
    FaultKind.TRUE_REJECT: frozenset({"broadcast"}),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour. blocks counts for LAGGING and LATE; which picks among a kind's variants."""

    kind: FaultKind
    blocks: int = 2
    which: int = 0


class Dice:
    """Choices from one stream of seeded bytes."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def below(self, limit: int) -> int:
        """Return a number in 0..limit-1, for limits far below 2^64."""
        if limit < 1:
            raise ValueError("a die has at least one side")
        return int.from_bytes(self._entropy.token_bytes(8), "big") % limit

    def between(self, low: int, high: int) -> int:
        """Return a number in low..high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, odds_ppm: int) -> bool:
        """Return True in odds_ppm of a million throws."""
        return self.below(PPM) < odds_ppm


class FaultScript:
    """What befalls the next calls: what `plan` queued for a call first, then what the odds say.

    Odds are per kind in ppm of the calls the kind can befall; they need entropy.
    """

    def __init__(
        self,
        *,
        entropy: Entropy | None = None,
        odds_ppm: Mapping[FaultKind, int] | None = None,
        blocks_max: int = 4,
    ) -> None:
        self._odds_ppm = dict(odds_ppm or {})
        self._blocks_max = blocks_max
        self._queued: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self._dice = None if entropy is None else Dice(entropy)
        if self._odds_ppm and self._dice is None:
            raise ValueError("odds need entropy")

    def plan(self, call: str, *faults: Fault | FaultKind | None) -> None:
        """Queue what befalls the next calls of one verb; None is an honest answer."""
        for fault in faults:
            planned = Fault(fault) if isinstance(fault, FaultKind) else fault
            if planned is not None and call not in APPLIES[planned.kind]:
                raise ValueError(f"{planned.kind} cannot befall {call}")
            self._queued[call].append(planned)

    def heal(self) -> None:
        """Forget plans and odds: from now on every answer is honest."""
        self._odds_ppm.clear()
        self._queued.clear()

    def take(self, call: str) -> Fault | None:
        """Return what befalls this call."""
        if self._queued[call]:
            return self._queued[call].popleft()
        if self._dice is None:
            return None
        for kind, odds_ppm in self._odds_ppm.items():
            if call in APPLIES[kind] and self._dice.chance(odds_ppm):
                blocks = self._dice.between(1, self._blocks_max)
                return Fault(kind, blocks, self._dice.below(PPM))
        return None
