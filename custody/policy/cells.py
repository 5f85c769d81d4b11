"""Every request there can be, in finitely many cells within which a policy says the same.

Values that no scope tells apart share a cell; of windows the lower end stands for the whole
interval. So what holds in every cell holds for every request of a shape that can happen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from core.clock import SECOND_NS
from core.money import format_amount
from custody.policy.charging import charges_at
from custody.policy.decision import Charge
from custody.policy.matching import NO, YES, fits
from custody.policy.request import USD_SCALE, DestinationKind
from custody.policy.rules import Bucket, Policy
from custody.policy.scope import ANY, Scope, View
from custody.policy.world import CUSTOMER, INSIDE, ROLES, SHAPES, Asset, World

CELLS_MAX = 200_000
"""So many cells are looked at; a policy with more is too large to be checked."""
OTHER = "somebody-else"
"""Stands for every customer, initiator or address that the policy does not name."""
OTHER_CUSTOMER = "4294967295"


T = TypeVar("T")


class TooManyCells(Exception):
    """The policy tells more requests apart than can be looked at."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes a request."""

    role: str
    initiator: str
    customer: str | None
    """Number of the customer, of role `customer` only."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a policy says of all requests of one cell."""

    view: View
    denies: tuple[int, ...]
    """Numbers of the denies that match."""
    rules: tuple[int, ...]
    """Numbers of the rules that match; the first counts."""
    charges: tuple[tuple[Bucket, Charge], ...]
    missing: tuple[tuple[str, str, str], ...]
    """(deny | rule | bucket, id, absent field) that would block."""

    @property
    def describes(self) -> str:
        """Return one request of the cell in words."""
        return describe(self.view)


@dataclass(frozen=True, slots=True)
class Line:
    """Cells that differ in nothing but the value: ascending, without a price last."""

    cells: tuple[Cell, ...]


def lines(policy: Policy, world: World) -> Iterator[Line]:
    """Yield all cells of a policy, those that differ in the value alone together. TooManyCells."""
    for views in view_lines((policy,), world):
        yield Line(tuple(cell_of(policy, one) for one in views))


def view_lines(
    policies: Sequence[Policy], world: World, makers: Sequence[Maker] | None = None
) -> Iterator[tuple[View, ...]]:
    """Yield one request of every cell that some of the policies tell apart. TooManyCells.

    makers: who makes requests; None: everybody who is told apart.
    """
    scopes = [part.scope for policy in policies for part in policy.parts]
    left = CELLS_MAX
    for base, asset in _bases(scopes, world, makers):
        relevant = [scope for policy in policies for scope in _relevant(policy, base)]
        worths = _worths(relevant) if asset.is_priced else [None]
        for book, amount in itertools.product(
            _books(base, relevant), _amounts(relevant, asset.scale)
        ):
            left -= len(worths)
            if left < 0:
                raise TooManyCells
            yield tuple(
                replace(
                    base,
                    in_book=book is not None,
                    entry_age_ns=book,
                    amount=amount,
                    usd=usd,
                    price="no_price" if usd is None else "fresh",
                )
                for usd in worths
            )


def amounts_of(policy: Policy, view: View) -> list[int]:
    """Return the amounts, ascending, at which the answer to a request may change."""
    return _amounts(_relevant(policy, view), view.scale)


def describe(view: View) -> str:
    """Return one request in words."""
    value = {field: "".join(sorted(names)[:1]) for field, names in view.values.items()}
    worth = "without a price" if view.usd is None else f"{format_amount(view.usd, USD_SCALE)} USD"
    who = f"{value['kinds']} by {value['roles']} {value['initiators']}"
    what = f"of {value['assets']} on {value['chains']} from {value['wallets']}"
    where = f"to {value['destination_kinds']} {value['destinations']}"
    words = [
        f"{who} {what} {where}",
        f"{format_amount(view.amount, view.scale)} coins" if view.amount else "",
        worth,
    ]
    if view.in_book:
        age = (view.entry_age_ns or 0) // SECOND_NS
        words.append(f"in the address book for {age} s")
    return ", ".join(word for word in words if word)


def cell_of(policy: Policy, view: View) -> Cell:
    """Return what a policy says of a request, all its parts looked at."""
    missing: list[tuple[str, str, str]] = []
    denies: list[int] = []
    for number in policy.index.denies.candidates(view):
        found = fits(policy.denies[number].scope, view)
        if found == YES:
            denies.append(number)
        elif found != NO:
            missing.append(("deny", policy.denies[number].id, found))
    rules: list[int] = []
    for number in policy.index.rules.candidates(view):
        found = fits(policy.rules[number].scope, view)
        if found == YES:
            rules.append(number)
        elif found != NO and not rules:
            missing.append(("rule", policy.rules[number].id, found))
    charges: list[tuple[Bucket, Charge]] = []
    for bucket, charge in charges_at(policy, view):
        if isinstance(charge, Charge):
            charges.append((bucket, charge))
        else:
            missing.append(("bucket", bucket.id, charge))
    return Cell(view, tuple(denies), tuple(rules), tuple(charges), tuple(missing))


def _bases(
    scopes: Sequence[Scope], world: World, makers: Sequence[Maker] | None
) -> Iterator[tuple[View, Asset]]:
    """Yield a view for every combination of values that some scope tells apart."""
    kinds = _classes(SHAPES, lambda kind: (SHAPES[kind], _signature(scopes, "kinds", kind)))
    assets = _classes(world.assets, lambda one: _asset_signature(scopes, one))
    wallets = _classes(
        sorted({*world.wallets, INSIDE}),
        lambda wallet: (wallet == INSIDE, _signature(scopes, "wallets", wallet)),
    )
    places = _different(scopes, "destinations", _named(scopes, "destinations"), OTHER)
    everybody = _makers(scopes) if makers is None else makers
    for kind, asset, wallet, place in itertools.product(kinds, assets, wallets, places):
        shape = SHAPES[kind]
        able = [maker for maker in everybody if maker.role in shape.roles]
        for maker, where in itertools.product(able, shape.destination_kinds):
            if (wallet == INSIDE) != (where is DestinationKind.OWN_CUSTOMER):
                continue
            values = {
                "kinds": (kind,),
                "chains": (asset.chain,),
                "assets": (asset.key,),
                "wallets": (wallet,),
                "roles": (maker.role,),
                "initiators": (maker.initiator,),
                "customers": () if maker.customer is None else (maker.customer,),
                "destinations": (place,),
                "destination_kinds": (where.value,),
            }
            plain = View(
                values,
                amount=0,
                scale=asset.scale,
                usd=0,
                price="fresh",
                in_book=False,
                entry_age_ns=None,
            )
            yield plain, asset


def _makers(scopes: Sequence[Scope]) -> list[Maker]:
    initiators = _different(scopes, "initiators", _named(scopes, "initiators"), OTHER)
    customers = _different(scopes, "customers", _named(scopes, "customers"), OTHER_CUSTOMER)
    return [
        Maker(role, initiator, customer)
        for role in ROLES
        for initiator in initiators
        for customer in (customers if role == CUSTOMER else (None,))
    ]


def _relevant(policy: Policy, base: View) -> list[Scope]:
    """Return the scopes that the sets of a view leave in question."""
    index = policy.index
    return [
        *(policy.denies[n].scope for n in index.denies.candidates(base)),
        *(policy.rules[n].scope for n in index.rules.candidates(base)),
        *(policy.buckets[n].scope for n in index.buckets.candidates(base)),
    ]


def _books(base: View, scopes: Iterable[Scope]) -> list[int | None]:
    """Return ages of the destination's entry that are told apart; None: not in the book."""
    ages = {scope.entry_age_min_ns for scope in scopes} - {None}
    asks = bool(ages) or any(scope.in_book is not None for scope in scopes)
    if not base.values["customers"] or not asks:
        return [None]
    return [None, *sorted({0, *(age for age in ages if age is not None)})]


def _amounts(scopes: Iterable[Scope], scale: int) -> list[int]:
    bounds = {
        bound.at_least(scale)
        for scope in scopes
        for bound in (scope.window.min_coins, scope.window.max_coins)
        if bound is not None
    }
    return sorted({0, *bounds})


def _worths(scopes: Iterable[Scope]) -> list[int | None]:
    bounds = {
        bound
        for scope in scopes
        for bound in (scope.window.min_usd, scope.window.max_usd)
        if bound is not None
    }
    return [*sorted({0, *bounds}), None]


def _classes(values: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    """Return the first of all values that have one key."""
    found: dict[Hashable, T] = {}
    for one in values:
        found.setdefault(key(one), one)
    return list(found.values())


def _different(scopes: Sequence[Scope], field: str, values: Iterable[str], *more: str) -> list[str]:
    """Return values of a field, one of all that no scope tells apart."""
    return _classes((*values, *more), lambda value: _signature(scopes, field, value))


def _signature(scopes: Sequence[Scope], field: str, value: str) -> tuple[bool, ...]:
    return tuple(scope.admits(field, value) for scope in scopes)


def _asset_signature(scopes: Sequence[Scope], asset: Asset) -> Hashable:
    admits = tuple(
        scope.admits("chains", asset.chain) and scope.admits("assets", asset.key)
        for scope in scopes
    )
    counts_coins = any(
        is_in and scope.window.names_coins for is_in, scope in zip(admits, scopes, strict=True)
    )
    return admits, asset.is_priced, asset if counts_coins else None


def _named(scopes: Sequence[Scope], field: str) -> list[str]:
    return sorted({name for scope in scopes for name in scope.names(field)} - {ANY})
