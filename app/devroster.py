"""The first roster of a development setup: officers, wide mandates, limits for every asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chains.base import NATIVE, ChainTraits, SpendKind
from core.clock import DAY_NS
from core.ids import ChainId
from custody.keys.mandate import AssetCap, Mandate
from custody.keys.officer_keys import load_officer_key
from custody.keys.roster import Node, Officer, Roster, SpendLimit
from custody.keys.roster_files import SignedRoster, file_name, render_file, sign_roster
from custody.keys.roster_text import sealed

THRESHOLD = 2
MANDATE_DAYS = 3_650
CAP_COINS = 1_000_000
"""Mandates of the development setup allow this many whole coins of every asset per day."""
FEES = 10_000
"""Spends of the highest allowed fee that fit into a day."""


@dataclass(frozen=True, slots=True)
class DevChain:
    """What the roster says of one development chain. `scales` are the decimal places by key."""

    traits: ChainTraits
    scales: Mapping[str, int]
    node_urls: tuple[str, ...]
    sweep_fee_max: int
    network_fee_max: int

    @property
    def wide(self) -> dict[str, int]:
        """Return the most of every asset that is moved in a day, in minor units."""
        return {key: CAP_COINS * 10**scale for key, scale in sorted(self.scales.items())}


def dev_roster(
    officers: Sequence[Officer],
    chains: Sequence[DevChain],
    *,
    attestation_key: bytes,
    now_ns: int,
) -> Roster:
    """Return the first roster of some chains."""
    return sealed(
        Roster(
            serial=1,
            previous=b"",
            issued_ns=now_ns,
            threshold=THRESHOLD,
            officers=tuple(officers),
            nodes=tuple(
                Node(one.traits.chain, one.node_urls, len(one.node_urls)) for one in chains
            ),
            limits=tuple(limit for one in chains for limit in _limits(one)),
            mandates=tuple(mandate for one in chains for mandate in _mandates(one, now_ns)),
            attestation_key=attestation_key,
        )
    )


def _limits(one: DevChain) -> tuple[SpendLimit, ...]:
    fee_max = max(one.sweep_fee_max, one.network_fee_max)
    return limits_of(one.traits.chain, one.wide, fee_max=fee_max)


def _mandates(one: DevChain, now_ns: int) -> tuple[Mandate, ...]:
    chain = one.traits.chain
    fees = {"fee_max": one.sweep_fee_max, "fee_window_max": FEES * one.sweep_fee_max}
    withdrawal_fees = {"fee_max": one.network_fee_max, "fee_window_max": FEES * one.network_fee_max}
    return tuple(
        Mandate(
            mandate_id=f"{chain}-{kind.value}",
            kind=kind,
            chain=chain,
            network=one.traits.network,
            destinations=(),
            destination_accounts=accounts,
            caps=() if kind is SpendKind.CANCELLATION else caps_of(one.wide),
            valid_from_ns=0,
            valid_until_ns=now_ns + MANDATE_DAYS * DAY_NS,
            **(withdrawal_fees if kind is SpendKind.WITHDRAWAL else fees),
        )
        for kind, accounts in (
            (SpendKind.WITHDRAWAL, ()),
            (SpendKind.SWEEP, ("hot",)),
            (SpendKind.TOP_UP, ("deposits",)),
            (SpendKind.CANCELLATION, ()),
        )
    )


def caps_of(amounts: Mapping[str, int]) -> tuple[AssetCap, ...]:
    """Return a mandate's caps: as much in one spend as in a day."""
    return tuple(AssetCap(key, most, most) for key, most in sorted(amounts.items()))


def limits_of(
    chain: ChainId, amounts: Mapping[str, int], *, fee_max: int
) -> tuple[SpendLimit, ...]:
    """Return a signer's limits: as much in one spend as in a day."""
    return tuple(
        SpendLimit(chain, key, most, most, fee_max, FEES * fee_max)
        for key, most in sorted({NATIVE: 0, **amounts}.items())
    )


def write_dev_roster(folder: Path, roster: Roster, key_files: Sequence[Path]) -> None:
    """Have officers sign a roster and write its file."""
    signed = SignedRoster(
        roster, tuple(sign_roster(load_officer_key(file), roster) for file in key_files)
    )
    folder.mkdir(exist_ok=True)
    (folder / file_name(roster.serial)).write_bytes(render_file(signed))
