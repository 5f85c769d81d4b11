"""The values of a policy: denies, rules, buckets and groups, frozen.

custody.policy.document reads them from a file.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from custody.policy.decision import Outcome
from custody.policy.index import Index
from custody.policy.quorum import Quorum
from custody.policy.scope import Coins, Scope


class Per(enum.StrEnum):
    """Whom a bucket is counted for; several make one key together."""

    INITIATOR = "initiator"
    CUSTOMER = "customer"
    WALLET = "wallet"
    DESTINATION = "destination"
    ASSET = "asset"
    GLOBAL = "global"


class Unit(enum.StrEnum):
    """What a bucket counts."""

    USD = "usd"
    COINS = "coins"


@dataclass(frozen=True, slots=True)
class Deny:
    """What never happens, whatever the rules say."""

    id: str
    code: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """Who must agree to what."""

    id: str
    scope: Scope
    outcome: Outcome
    """ALLOW, BLOCK or REQUIRE."""
    code: str = ""
    """Of BLOCK."""
    quorum: Quorum | None = None
    """Of REQUIRE."""
    delay_ns: int = 0
    expiry_ns: int = 0
    exclude: frozenset[str] = frozenset()
    """Persons who may not approve, beside the initiator and the destination's last editor."""
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A sliding window: for every t the sum over (t - window, t] stays within the cap."""

    id: str
    scope: Scope
    per: tuple[Per, ...]
    unit: Unit
    cap: Coins
    """In USD or whole coins."""
    window_ns: int


@dataclass(frozen=True, slots=True)
class Publish:
    """What the next version needs: a quorum of this one, then a delay."""

    quorum: Quorum
    delay_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One version of the policy. `hash` is SHA-256 of the file's bytes."""

    serial: int
    previous: bytes
    """Hash of the version before, empty in the first."""
    issued_ns: int
    publish: Publish
    stale_after_ns: int
    groups: Mapping[str, frozenset[str]]
    denies: tuple[Deny, ...]
    rules: tuple[Rule, ...]
    buckets: tuple[Bucket, ...]
    hash: bytes
    name: str = field(default="policy", compare=False)
    """The file it was read from, for messages."""
    index: Index = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        scopes = ([one.scope for one in group] for group in (self.denies, self.rules, self.buckets))
        object.__setattr__(self, "index", Index.of(*scopes))

    @property
    def parts(self) -> tuple[Deny | Rule | Bucket, ...]:
        """Return everything that has a scope."""
        return (*self.denies, *self.rules, *self.buckets)

    def rule(self, rule_id: str) -> Rule | None:
        """Return a rule by its id, None when there is none."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)
