"""What a policy is checked against: the assets, wallets and officers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from custody.policy.request import DestinationKind

OWN_TRANSFERS = ("sweep", "top_up", "refill")
OWNER_KINDS = ("rotation", "owner_change")
CUSTOMER = "customer"
INSIDE = "inside"
"""The wallet of payments to our own customers, which are settled inside."""
ROLES = (CUSTOMER, "officer", "ops", "platform")


@dataclass(frozen=True, slots=True)
class Shape:
    """How requests of one kind look: who makes them, for whom, and where they can go."""

    roles: tuple[str, ...]
    """Who makes them; those of role `customer` have a customer, all others none."""
    destination_kinds: tuple[DestinationKind, ...]


_OWN = Shape(("platform",), (DestinationKind.OWN_WALLET,))
_OWNERS = Shape(("officer",), (DestinationKind.CONTRACT, DestinationKind.OWN_WALLET))
_PLACES = (DestinationKind.EXTERNAL, DestinationKind.CONTRACT, DestinationKind.OWN_CUSTOMER)

SHAPES: Mapping[str, Shape] = {
    "withdrawal": Shape(("customer", "officer", "ops"), _PLACES),
    "batch": Shape(("platform",), (DestinationKind.CONTRACT,)),
    **dict.fromkeys(OWN_TRANSFERS, _OWN),
    **dict.fromkeys(OWNER_KINDS, _OWNERS),
}


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset of one chain."""

    chain: str
    key: str
    scale: int
    is_priced: bool
    """Whether a source gives its price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is beside the policy."""

    assets: tuple[Asset, ...]
    wallets: frozenset[str]
    """Accounts that pay; INSIDE is always there too."""
    officers: frozenset[str]
    """Persons active in the roster now."""
    threshold: int
    """The roster's: the signer never takes fewer persons."""
    canonical: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """By chain: the one spelling of an address. Refused: no address that can be paid."""

    @property
    def chains(self) -> frozenset[str]:
        """Return the names of the chains."""
        return frozenset(asset.chain for asset in self.assets)
