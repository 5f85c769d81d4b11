"""What a policy says of a request, with the whole way it came to it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from custody.policy.quorum import Quorum


class Outcome(enum.StrEnum):
    """BLOCK ends it, ALLOW needs nobody, REQUIRE needs officers, WAIT: ask again later."""

    BLOCK = "block"
    ALLOW = "allow"
    REQUIRE = "require"
    WAIT = "wait"


class Stage(enum.StrEnum):
    """The stages in their order; all must pass (rules §4)."""

    INPUT = "input"
    STOP = "stop"
    DENY = "deny"
    SCREENING = "screening"
    DESTINATION = "destination"
    RULE = "rule"
    VELOCITY = "velocity"
    QUORUM = "quorum"
    DELAY = "delay"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must happen before a signature. Times are durations in nanoseconds."""

    quorum: Quorum
    delay_ns: int
    """From the complete quorum to the earliest signature; visible, so that it can be stopped."""
    expiry_ns: int
    """From the request: afterwards its approvals are worth nothing."""
    signers: tuple[str, ...] = ()
    """Wallets that may sign; empty: the one that the request names."""
    exclude: tuple[str, ...] = ()
    """Who may not approve, sorted: the initiator, the destination's last editor, the rule's own."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request takes of one bucket: for every t the sum over (t - window, t] <= cap."""

    bucket: str
    key: str
    """The bucket and whom it is counted for, as `daily/customer=7`."""
    amount: int
    """In the bucket's unit: minor units of one asset, or 10^-6 USD."""
    cap: int
    window_ns: int


class TraceLine(NamedTuple):
    """One thing that was looked at; a tuple, since a decision makes dozens of them."""

    stage: Stage
    rule: str
    """Id of the deny, rule, bucket or finding; empty where there is none."""
    condition: str
    observed: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome and its trace. code: stable, lower case; empty when nothing is held against it."""

    outcome: Outcome
    code: str
    rule: str
    """The matching rule, empty while none was reached."""
    requirement: Requirement | None
    charges: tuple[Charge, ...]
    trace: tuple[TraceLine, ...]
    policy_hash: bytes
