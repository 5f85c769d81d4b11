"""What a rule, a deny or a bucket is about: sets of values, the book, and windows of the amount.

A scope is a conjunction. A set holds `*` for everything, which does not even look at the field; an
empty set matches nothing. Windows are half open, `[min, max)`: in USD, or in whole coins of the one
asset that the scope names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import SECOND_NS
from core.money import AMOUNT_LIMIT, ceil_div
from custody.policy.request import PRICE_SCALE, USD_SCALE, PolicyRequest

ANY = "*"
STATED = ("kinds", "chains", "assets", "wallets")
"""Sets that every rule, deny and bucket spells out."""
SETS = (*STATED, "roles", "initiators", "customers", "destinations", "destination_kinds")
"""All sets; one that is left out is not looked at."""

EVERYTHING = frozenset({ANY})
PRICE_AHEAD_NS = 5 * SECOND_NS
"""How far a price's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Coins:
    """An amount of whole coins, exactly: value x 10^-places."""

    value: int
    places: int

    def at_least(self, scale: int) -> int:
        """Return the least amount of minor units that is not below this."""
        return ceil_div(self.value * 10**scale, 10**self.places)

    def at_most(self, scale: int) -> int:
        """Return the greatest amount of minor units that is not above this."""
        minor: int = self.value * 10**scale // 10**self.places
        return minor


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds of the amount; None: no bound. USD in 10^-6 USD."""

    min_usd: int | None = None
    max_usd: int | None = None
    min_coins: Coins | None = None
    max_coins: Coins | None = None

    @property
    def names_usd(self) -> bool:
        """Return whether a price is needed."""
        return self.min_usd is not None or self.max_usd is not None

    @property
    def names_coins(self) -> bool:
        """Return whether whole coins are counted."""
        return self.min_coins is not None or self.max_coins is not None

    def contains(self, amount: int, scale: int, usd: int | None) -> bool:
        """Return whether an amount lies in the window; usd None counts as above every bound."""
        if self.min_usd is not None and usd is not None and usd < self.min_usd:
            return False
        if self.max_usd is not None and (usd is None or usd >= self.max_usd):
            return False
        if self.min_coins is not None and amount < self.min_coins.at_least(scale):
            return False
        return self.max_coins is None or amount < self.max_coins.at_least(scale)


@dataclass(frozen=True, slots=True)
class Scope:
    """A conjunction of conditions."""

    sets: Mapping[str, frozenset[str]]
    """By name out of SETS; customers as decimal text."""
    window: Window = Window()
    in_book: bool | None = None
    """Whether the destination must, or must not, be in the customer's address book."""
    entry_age_min_ns: int | None = None
    """How old its entry must be."""

    def names(self, field: str) -> frozenset[str]:
        """Return a set; all when the scope does not speak of the field."""
        return self.sets.get(field, EVERYTHING)

    def admits(self, field: str, value: str) -> bool:
        """Return whether a set holds a value."""
        names = self.names(field)
        return ANY in names or value in names


@dataclass(frozen=True, slots=True)
class View:
    """A request as scopes look at it."""

    values: Mapping[str, tuple[str, ...]]
    """By name out of SETS; empty: the request does not have the field."""
    amount: int
    scale: int
    usd: int | None
    """In 10^-6 USD, rounded up; None without a fresh price."""
    price: str
    """fresh, no_price or stale_price."""
    in_book: bool
    entry_age_ns: int | None


def view(request: PolicyRequest, stale_after_ns: int) -> View:
    """Return a request as scopes look at it, its price judged."""
    destination, customer = request.destination, request.customer_no
    price = price_state(request, stale_after_ns)
    return View(
        {
            "kinds": _present(request.kind),
            "chains": _present(request.chain),
            "assets": _present(request.asset_key),
            "wallets": _present(request.wallet),
            "roles": tuple(request.roles),
            "initiators": _present(request.initiator),
            "customers": () if customer is None else (str(customer),),
            "destinations": _present(destination.address),
            "destination_kinds": (destination.kind.value,),
        },
        amount=request.amount,
        scale=request.scale,
        usd=usd_value(request) if price == "fresh" else None,
        price=price,
        in_book=destination.entry is not None,
        entry_age_ns=destination.entry_age_ns,
    )


def price_state(request: PolicyRequest, stale_after_ns: int) -> str:
    """Return fresh, no_price or stale_price: half open, and hardly from the future."""
    price = request.price
    if price is None or not 0 < price.value < AMOUNT_LIMIT:
        return "no_price"
    age_ns = request.now_ns - price.at_ns
    return "fresh" if -PRICE_AHEAD_NS <= age_ns < stale_after_ns else "stale_price"


def usd_value(request: PolicyRequest) -> int:
    """Return what a request is worth in 10^-6 USD, rounded up; it must have a price."""
    assert request.price is not None
    unit = 10 ** (request.scale + PRICE_SCALE - USD_SCALE)
    return ceil_div(request.amount * request.price.value, unit)


def _present(text: str) -> tuple[str, ...]:
    return (text,) if text else ()
