"""Three officers, their keys and one approved withdrawal, for the tests of custody.keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import NATIVE, SpendIntent, SpendKind
from core.entropy import SeededEntropy
from core.ids import ChainId
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.roster import Officer, Roster
from custody.keys.roster_files import RosterSignature, SignedRoster, sign_roster
from custody.keys.roster_text import sealed

NOW_NS = 1_700_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


def officer_key(name: str) -> Ed25519PrivateKey:
    """Return the key of a name, always the same."""
    return Ed25519PrivateKey.from_private_bytes(SeededEntropy(1, name).token_bytes(32))


def officer(person: str, *, key: str = "", **fields: Any) -> Officer:
    """Return a roster entry."""
    return Officer(person, officer_key(key or person).public_key().public_bytes_raw(), **fields)


def roster_of(*officers: Officer, threshold: int = 2, **fields: Any) -> Roster:
    """Return a first roster."""
    return sealed(replace(Roster(1, b"", 0, threshold, officers), **fields))


def next_roster(previous: Roster, **changes: Any) -> Roster:
    """Return the version after a roster, issued a nanosecond later."""
    following = {
        "serial": previous.serial + 1,
        "previous": previous.hash,
        "issued_ns": previous.issued_ns + 1,
    }
    return sealed(replace(previous, **{**following, **changes}))


def signed_by(roster: Roster, *names: str) -> SignedRoster:
    """Return a roster with the signatures of some officers."""
    signatures: list[RosterSignature] = [sign_roster(officer_key(name), roster) for name in names]
    return SignedRoster(roster, tuple(signatures))


ADA, BEA, CAI = (officer_key(name) for name in ("ada", "bea", "cai"))
ROSTER = roster_of(officer("ada"), officer("bea"), officer("cai"))

WITHDRAWAL = WithdrawalIntent(
    withdrawal_id="wd_1",
    customer_no=7,
    initiator="customer:7",
    chain=ChainId("local"),
    network="31337:0xabc",
    asset_key=NATIVE,
    destination="0x52908400098527886E0F7030069857D2E4169EE7",
    amount=1_500_000_000_000_000_000,
    fee_minor=1_000_000_000_000_000,
    network_fee_max=10**16,
    policy_version=1,
    expires_ns=NOW_NS + HOUR_NS,
    wallet="hot",
    policy_hash=NO_POLICY,
    decision_hash=NO_POLICY,
    excluded=("carol",),
    not_before_ns=NOW_NS,
)

SPEND = SpendIntent(
    spend_id="sp_1",
    kind=SpendKind.WITHDRAWAL,
    cause_id="wd_1",
    chain=ChainId("local"),
    network="31337:0xabc",
    asset_key=NATIVE,
    source="0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    destination="0x52908400098527886E0F7030069857D2E4169EE7",
    amount=1_500_000_000_000_000_000,
    fee_max=10**16,
)


def withdrawal(**changes: Any) -> WithdrawalIntent:
    """Return the withdrawal with changes."""
    return replace(WITHDRAWAL, **changes)


def spend(**changes: Any) -> SpendIntent:
    """Return the spend with changes."""
    return replace(SPEND, **changes)
