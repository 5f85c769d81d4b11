"""The total input of a decision: everything a policy may ask, and what was found beside it.

Nothing here is looked up later: a decision is a function of these values and the policy alone, so
it can be repeated bit for bit from what was stored (custody.policy.record).

USD values are integers of 10^-6 USD, rounded up; prices are integers of 10^-12 USD for one whole
coin. Times are unix nanoseconds, amounts minor units of the asset.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.ids import ChainId

USD_SCALE = 6
PRICE_SCALE = 12


@dataclass(frozen=True, slots=True)
class Price:
    """What one whole coin was worth, when, and who says so."""

    value: int
    """In 10^-12 USD."""
    at_ns: int
    source: str


class DestinationKind(enum.StrEnum):
    """What stands at a destination, as far as we know."""

    EXTERNAL = "external"
    CONTRACT = "contract"
    OWN_WALLET = "own_wallet"
    OWN_CUSTOMER = "own_customer"
    """A customer's deposit address: settled inside, without a chain transaction."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where money is to go."""

    address: str
    kind: DestinationKind
    tag: str | None = None
    entry: str | None = None
    """Id of the usable entry of the customer's address book; None: not in the book."""
    entry_age_ns: int | None = None
    """Since the entry was confirmed."""
    last_editor: str | None = None
    """Who made the entry; may not approve payments to it."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One effect of the transaction, as decoded."""

    asset_key: str
    destination: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """One request as a policy sees it."""

    request_id: str
    kind: str
    """withdrawal, sweep, top_up, refill, rotation, owner_change, batch."""
    initiator: str
    roles: frozenset[str]
    """Of the initiator: customer, officer, ops, platform."""
    customer_no: int | None
    chain: ChainId
    asset_key: str
    scale: int
    amount: int
    price: Price | None
    wallet: str
    """Account that pays: hot, cold, treasury, …"""
    destination: Destination
    effects: tuple[Movement, ...] | None
    """None: could not be decoded."""
    now_ns: int


class Verdict(enum.StrEnum):
    """What one finding means."""

    PASS = "pass"
    WAIT = "wait"
    """Not now: nothing may be signed until it passes; it may still be approved."""
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact that was gathered before the decision. code: stable, lower case."""

    verdict: Verdict
    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was gathered beside the request itself. Empty tuples: nothing was found against it."""

    stops: tuple[Finding, ...] = ()
    """Freezes and pauses that cover the request."""
    screening: tuple[Finding, ...] = ()
    destination: tuple[Finding, ...] = ()
    used: Mapping[str, int] = field(default_factory=dict)
    """Bucket key -> what others hold in its window now, in the bucket's unit."""
