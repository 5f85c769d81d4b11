"""What a policy is checked against, read from files: the listed assets, the roster, its wallets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from chains.assets import load_assets
from core.clock import SystemClock
from core.errors import Reason, Refused
from custody.keys.roster_files import newest, parse_file
from custody.keys.signers.base import ACCOUNTS
from custody.policy.cells import OTHER
from custody.policy.rules import Policy
from custody.policy.scope import ANY
from custody.policy.world import Asset, World

if TYPE_CHECKING:
    from custody.keys.roster import Roster

CONTRACT_WALLETS = frozenset({"treasury"})
"""Accounts that are contracts of ours and not keys."""


def world_of(
    assets_file: Path,
    roster_path: Path,
    *,
    chains: Collection[str] = (),
    unpriced: Collection[str] = (),
    canonical: Mapping[str, Callable[[str], str]] = MappingProxyType({}),
    now_ns: int | None = None,
) -> World:
    """Return the world of files; of chains that are named only, when some are.

    unpriced: assets as `<chain>/<key>` that nothing gives a price of; canonical: the one spelling
    of an address, by chain. Refused: not_found, …
    """
    roster = _roster(roster_path)
    at_ns = SystemClock().now_ns() if now_ns is None else now_ns
    listed = [one for one in load_assets(assets_file) if not chains or one.chain in chains]
    unknown = set(unpriced) - {f"{one.chain}/{one.key}" for one in listed}
    if unknown:
        raise Refused(Reason.UNKNOWN_ASSET, min(unknown))
    return World(
        assets=tuple(
            Asset(one.chain, one.key, one.scale, f"{one.chain}/{one.key}" not in unpriced)
            for one in listed
        ),
        wallets=CONTRACT_WALLETS | frozenset(ACCOUNTS),
        officers=frozenset(one.person for one in roster.officers if one.is_active(at_ns)),
        threshold=roster.threshold,
        canonical=canonical,
    )


def world_named_in(policies: Sequence[Policy]) -> World:
    """Return a world of nothing but what policies name, and one thing more of each kind."""
    named: dict[str, set[str]] = {field: {OTHER} for field in ("chains", "assets", "wallets")}
    for part in (part for policy in policies for part in policy.parts):
        for field, found in named.items():
            found.update(part.scope.names(field) - {ANY})
    persons = frozenset[str]().union(*(g for one in policies for g in one.groups.values()))
    return World(
        assets=tuple(
            Asset(chain, key, 18, is_priced=True)
            for chain in sorted(named["chains"])
            for key in sorted(named["assets"])
        ),
        wallets=frozenset(named["wallets"]),
        officers=persons,
        threshold=1,
    )


def _roster(path: Path) -> Roster:
    if path.is_dir():
        return newest(path).roster
    try:
        return parse_file(path.read_bytes()).roster
    except OSError as error:
        raise Refused(Reason.NOT_FOUND, f"{path}: {error.strerror}") from error
