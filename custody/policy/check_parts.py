"""Flaws of single parts of a policy: names, quorums, buckets, times."""

from __future__ import annotations

from collections.abc import Iterator

from core.clock import DAY_NS, SECOND_NS
from core.errors import Refused
from custody.policy.decision import Outcome
from custody.policy.flaws import Flaw, error, warning
from custody.policy.quorum import Quorum
from custody.policy.rules import Bucket, Policy, Rule, Unit
from custody.policy.scope import ANY, Coins, Scope
from custody.policy.world import INSIDE, ROLES, SHAPES, Asset, World

LITTLE_TIME_NS = 600 * SECOND_NS
"""Less between the delay and the expiry leaves officers no time."""


def flaws_of_parts(policy: Policy, world: World) -> Iterator[Flaw]:
    """Yield the flaws that can be seen without comparing parts with each other."""
    yield from _groups(policy, world)
    yield from _publishing(policy, world)
    if policy.stale_after_ns > DAY_NS:
        yield warning("old_price", "price", "a price of more than a day ago counts as fresh")
    scopes: list[tuple[str, Scope]] = []
    for noun, parts in (
        ("deny", policy.denies),
        ("rule", policy.rules),
        ("bucket", policy.buckets),
    ):
        scopes += [(f"{noun} {part.id}", part.scope) for part in parts]
    for place, scope in scopes:
        yield from _scope(place, scope, world)
    for rule in policy.rules:
        yield from _rule(rule, policy, world)
    for bucket in policy.buckets:
        yield from _bucket(bucket, world)
    yield from _buckets_that_never_bind(policy.buckets)


def _groups(policy: Policy, world: World) -> Iterator[Flaw]:
    quorums = [rule.quorum for rule in policy.rules if rule.quorum is not None]
    spoken_of = frozenset[str]().union(*(one.groups for one in (*quorums, policy.publish.quorum)))
    for name, persons in policy.groups.items():
        place = f"group {name}"
        if not persons:
            yield error("empty_group", place, "has no members")
        for person in sorted(persons - world.officers):
            yield error("not_an_officer", place, f"{person} is not active in the roster")
        if name not in spoken_of:
            yield warning("unused_group", place, "no quorum speaks of it")


def _publishing(policy: Policy, world: World) -> Iterator[Flaw]:
    yield from _quorum("publish", policy.publish.quorum, frozenset(), policy, world)
    if policy.publish.delay_ns == 0:
        yield warning("no_delay", "publish", "a new version counts before anybody can stop it")


def _scope(place: str, scope: Scope, world: World) -> Iterator[Flaw]:
    known = {
        "kinds": frozenset(SHAPES),
        "roles": frozenset(ROLES),
        "chains": world.chains,
        "assets": frozenset(asset.key for asset in world.assets),
        "wallets": world.wallets | {INSIDE},
    }
    for field, names in scope.sets.items():
        if not names:
            yield error("empty_set", place, f"{field} is empty, so it matches nothing")
        for name in sorted(names - known.get(field, names) - {ANY}):
            yield error(f"unknown_{field.removesuffix('s')}", place, f"there is no {name}")
    for address in sorted(scope.names("destinations") - {ANY}):
        if not _is_spelled_right(address, scope, world):
            yield error("odd_address", place, f"{address} is never written so, and never met")
    assets = [one for one in world.assets if _admits(scope, one)]
    if not assets and all(scope.names(field) for field in ("chains", "assets")):
        yield error("no_such_asset", place, "none of its chains has one of its assets")
    if scope.window.names_usd:
        yield from _priced(place, assets)
    for bound in (scope.window.min_coins, scope.window.max_coins):
        for asset in assets:
            if bound is not None and not _is_whole(bound, asset):
                yield error("too_fine", place, f"{asset.key} has {asset.scale} decimal places")
    if scope.entry_age_min_ns is not None and scope.in_book is not True:
        yield error("age_without_book", place, "entry_age_min_s needs in_book = true beside it")


def _is_spelled_right(address: str, scope: Scope, world: World) -> bool:
    """Return whether some chain of a scope writes an address so; unknown chains may."""
    chains = [name for name in sorted(world.chains) if scope.admits("chains", name)]
    return not chains or any(
        name not in world.canonical or _canonical(world, name, address) == address
        for name in chains
    )


def _canonical(world: World, chain: str, address: str) -> str:
    try:
        return world.canonical[chain](address)
    except Refused:
        return ""


def _priced(place: str, assets: list[Asset]) -> Iterator[Flaw]:
    blind = [f"{one.key} on {one.chain}" for one in assets if not one.is_priced]
    if blind:
        text = f"counts USD, but nothing gives a price of {', '.join(blind)}"
        yield error("no_price_source", place, text)


def _rule(rule: Rule, policy: Policy, world: World) -> Iterator[Flaw]:
    place = f"rule {rule.id}"
    for wallet in sorted(set(rule.signers) - world.wallets):
        yield error("unknown_wallet", place, f"there is no {wallet}")
    if rule.outcome is not Outcome.REQUIRE or rule.quorum is None:
        return
    yield from _quorum(place, rule.quorum, rule.exclude, policy, world)
    if rule.expiry_ns - rule.delay_ns < LITTLE_TIME_NS:
        yield warning("little_time", place, "approvals expire minutes after the delay")


def _quorum(
    place: str, quorum: Quorum, exclude: frozenset[str], policy: Policy, world: World
) -> Iterator[Flaw]:
    able = (world.officers & frozenset[str]().union(*policy.groups.values())) - exclude
    if not quorum.is_met(policy.groups, able):
        yield error("quorum_unreachable", place, f"the active officers cannot meet {quorum.text!r}")
        return
    if quorum.least < world.threshold:
        text = f"{quorum.text!r} is below the roster's threshold of {world.threshold} persons"
        yield error("below_threshold", place, text)
    needed = [one for one in sorted(able) if not quorum.is_met(policy.groups, able - {one})]
    if needed:
        text = f"without {' or without '.join(needed)} nobody can meet {quorum.text!r}"
        yield warning("indispensable", place, text)


def _bucket(bucket: Bucket, world: World) -> Iterator[Flaw]:
    place = f"bucket {bucket.id}"
    assets = [one for one in world.assets if _admits(bucket.scope, one)]
    if bucket.cap.value == 0:
        yield error("cap_of_nothing", place, "a cap of 0 blocks everything it covers")
    if bucket.unit is Unit.USD:
        yield from _priced(place, assets)
    elif any(not _is_whole(bucket.cap, one) for one in assets):
        yield error("too_fine", place, "the cap has more decimal places than the asset")


def _buckets_that_never_bind(buckets: tuple[Bucket, ...]) -> Iterator[Flaw]:
    """Yield buckets that another one fills before them: as long a window, no higher cap."""
    for n, one in enumerate(buckets):
        for m, other in enumerate(buckets):
            is_alike = (one.scope, one.per, one.unit) == (other.scope, other.per, other.unit)
            if n == m or not is_alike:
                continue
            caps = [bucket.cap.at_least(77) for bucket in (one, other)]
            is_same = caps[0] == caps[1] and one.window_ns == other.window_ns
            if other.window_ns >= one.window_ns and caps[1] <= caps[0] and (not is_same or m < n):
                text = f"bucket {other.id} is always full before it"
                yield warning("never_binds", f"bucket {one.id}", text)
                break


def _admits(scope: Scope, asset: Asset) -> bool:
    return scope.admits("chains", asset.chain) and scope.admits("assets", asset.key)


def _is_whole(bound: Coins, asset: Asset) -> bool:
    return bound.at_least(asset.scale) == bound.at_most(asset.scale)
