"""Standing mandates: what the officers' quorum allows to be signed unattended, and how much of it.

A mandate is a canonical message (custody.keys.canonical), signed with Ed25519 by a quorum of the
roster:

    strongroom/mandate, version 1
        mandate_id s · kind s (sweep | top_up | cancellation) · chain s · network s ·
        destinations l of s, sorted · destination_accounts l of s, sorted ·
        caps l of (asset_key s · amount_max i · window_max i), sorted by asset_key ·
        fee_max i · fee_window_max i · valid_from_ns i · valid_until_ns i

`amount_max` caps one spend; `window_max` caps the sum over every 24 hours, recomputed from the log
of signatures itself and never from what the platform says. Fees likewise. A cancellation pays
nothing and goes back to its sender, so it needs neither destinations nor caps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chains.base import SpendIntent, SpendKind
from core.clock import DAY_NS
from core.errors import Reason, Refused
from core.ids import ChainId
from core.money import AMOUNT_LIMIT
from custody.keys import canonical
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.roster import Roster, check_signature
from custody.keys.signers.base import ACCOUNTS

TAG = "strongroom/mandate"
VERSION = 1
FILE_VERSION = 1
WINDOW_NS = DAY_NS
LIST_MAX = 1_024
UNATTENDED = frozenset({SpendKind.SWEEP, SpendKind.TOP_UP, SpendKind.CANCELLATION})


@dataclass(frozen=True, slots=True)
class AssetCap:
    """Most minor units of one asset per spend and per 24 hours."""

    asset_key: str
    amount_max: int
    window_max: int


@dataclass(frozen=True, slots=True)
class Mandate:
    """One kind of unattended spend on one network."""

    mandate_id: str
    kind: SpendKind
    chain: ChainId
    network: str
    destinations: tuple[str, ...]
    """Addresses of own wallets, canonical text, sorted."""
    destination_accounts: tuple[str, ...]
    """Own accounts any key of which may receive; the guard derives the address itself."""
    caps: tuple[AssetCap, ...]
    fee_max: int
    """Most native units of fees one spend may cost."""
    fee_window_max: int
    """Most native units of fees all of these spends may cost in 24 hours."""
    valid_from_ns: int
    valid_until_ns: int


@dataclass(frozen=True, slots=True)
class MandateSignature:
    """One officer's Ed25519 signature over an encoded mandate."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedMandate:
    """A mandate and who signed it; nothing is believed before check_mandate."""

    mandate: Mandate
    signatures: tuple[MandateSignature, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What other spends of the same kind and chain took in a window, from the guard's own log."""

    amount: int
    fees: int


def encode(mandate: Mandate) -> bytes:
    """Return the canonical message, which is also what officers sign. Refused: malformed."""
    _check(mandate)
    values: tuple[canonical.Value, ...] = (
        mandate.mandate_id,
        mandate.kind.value,
        mandate.chain,
        mandate.network,
        mandate.destinations,
        mandate.destination_accounts,
        tuple((cap.asset_key, cap.amount_max, cap.window_max) for cap in mandate.caps),
        mandate.fee_max,
        mandate.fee_window_max,
        mandate.valid_from_ns,
        mandate.valid_until_ns,
    )
    return canonical.encode(TAG, VERSION, values)


def decode(data: bytes) -> Mandate:
    """Return the mandate of a message; the strict inverse of encode. Refused: malformed, …"""
    values = canonical.decode(TAG, VERSION, data)
    try:
        name, kind, chain, network, destinations, accounts, caps, *numbers = values
        fee_max, fee_window_max, valid_from_ns, valid_until_ns = cast("list[int]", numbers)
        mandate = Mandate(
            mandate_id=cast("str", name),
            kind=SpendKind(cast("str", kind)),
            chain=ChainId(cast("str", chain)),
            network=cast("str", network),
            destinations=cast("tuple[str, ...]", destinations),
            destination_accounts=cast("tuple[str, ...]", accounts),
            caps=tuple(AssetCap(*cap) for cap in cast("tuple[tuple[str, int, int], ...]", caps)),
            fee_max=fee_max,
            fee_window_max=fee_window_max,
            valid_from_ns=valid_from_ns,
            valid_until_ns=valid_until_ns,
        )
    except (ValueError, TypeError) as error:
        raise Refused(Reason.MALFORMED, "fields of a mandate") from error
    if encode(mandate) != data:
        raise Refused(Reason.MALFORMED, "not the canonical spelling")
    return mandate


def mandate_hash(mandate: Mandate) -> bytes:
    """Return SHA-256 of the encoded mandate."""
    return hashlib.sha256(encode(mandate)).digest()


def sign_mandate(private_key: Ed25519PrivateKey, mandate: Mandate) -> MandateSignature:
    """Sign with an officer's own key; runs where the officer is."""
    message, public_key = encode(mandate), private_key.public_key()
    signature = private_key.sign(message)
    public_key.verify(signature, message)
    return MandateSignature(public_key.public_bytes_raw(), signature)


def check_mandate(roster: Roster, signed: SignedMandate, *, now_ns: int) -> tuple[str, ...]:
    """Return the distinct persons who stand behind a mandate now, sorted.

    Refused: not_an_officer, bad_signature, quorum_not_met, approval_expired (not valid now).
    """
    message = encode(signed.mandate)
    persons: set[str] = set()
    reasons: list[Reason] = []
    for entry in signed.signatures[:LIST_MAX]:
        try:
            officer = roster.officer(entry.public_key, now_ns)
            check_signature(entry.public_key, entry.signature, message)
        except Refused as refused:
            reasons.append(refused.reason)
        else:
            persons.add(officer.person)
    if len(persons) < roster.threshold:
        reason = min(reasons, key=list(Reason).index, default=Reason.QUORUM_NOT_MET)
        raise Refused(reason, f"{len(persons)} of {roster.threshold} persons signed the mandate")
    if not signed.mandate.valid_from_ns <= now_ns < signed.mandate.valid_until_ns:
        raise Refused(Reason.APPROVAL_EXPIRED, f"mandate {signed.mandate.mandate_id}")
    return tuple(sorted(persons))


def covers(mandate: Mandate, spend: SpendIntent, *, destination_account: str | None) -> None:
    """Return when one spend lies inside a mandate.

    destination_account names the own account that the guard itself found the destination in.
    Refused: intent_mismatch, forbidden_destination, asset_mismatch, policy_blocked (above the cap),
    fee_above_cap.
    """
    if (mandate.kind, mandate.chain, mandate.network) != (spend.kind, spend.chain, spend.network):
        raise Refused(Reason.INTENT_MISMATCH, f"mandate {mandate.mandate_id} is for other spends")
    if spend.fee_max > mandate.fee_max:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{spend.fee_max} is above {mandate.fee_max}")
    if spend.kind is SpendKind.CANCELLATION:
        if spend.destination != spend.source or spend.amount != 0:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "a cancellation pays nothing to itself")
        return
    if (
        spend.destination not in mandate.destinations
        and destination_account not in mandate.destination_accounts
    ):
        raise Refused(Reason.FORBIDDEN_DESTINATION, "not an own wallet of the mandate")
    cap = _cap(mandate, spend.asset_key)
    if spend.amount > cap.amount_max:
        raise Refused(Reason.POLICY_BLOCKED, f"{spend.amount} is above {cap.amount_max}")


def fits(mandate: Mandate, spend: SpendIntent, used: Usage) -> None:
    """Return when a spend and what others used stay within the window. Refused: policy_blocked."""
    if used.fees + spend.fee_max > mandate.fee_window_max:
        raise Refused(Reason.POLICY_BLOCKED, f"fees of 24 h above {mandate.fee_window_max}")
    if spend.kind is SpendKind.CANCELLATION:
        return
    cap = _cap(mandate, spend.asset_key)
    if used.amount + spend.amount > cap.window_max:
        raise Refused(Reason.POLICY_BLOCKED, f"sum of 24 h above {cap.window_max}")


def render_mandates(signed: Sequence[SignedMandate]) -> bytes:
    """Return the bytes of a mandates file (JSON); `about` is for people and must fit the bytes."""
    rows = [
        {
            "about": _about(entry.mandate),
            "mandate": encode(entry.mandate).hex(),
            "signatures": [
                {"public_key": one.public_key.hex(), "signature": one.signature.hex()}
                for one in entry.signatures
            ],
        }
        for entry in signed
    ]
    text = json.dumps({"version": FILE_VERSION, "mandates": rows}, indent=1, sort_keys=True)
    return text.encode("ascii") + b"\n"


def parse_mandates(data: bytes) -> tuple[SignedMandate, ...]:
    """Return the mandates of a file's bytes, not yet checked.

    Refused: malformed, unknown_version.
    """
    try:
        page = json.loads(data)
        version, rows = page["version"], page["mandates"]
        signed = tuple(_parse_signed(row) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(Reason.MALFORMED, "a mandates file") from error
    if version != FILE_VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, "a mandates file")
    return signed


def _parse_signed(row: dict[str, object]) -> SignedMandate:
    mandate = decode(bytes.fromhex(str(row["mandate"])))
    if row["about"] != _about(mandate):
        raise Refused(Reason.MALFORMED, f"mandate {mandate.mandate_id} is described wrongly")
    entries = cast("list[dict[str, str]]", row["signatures"])
    return SignedMandate(
        mandate,
        tuple(
            MandateSignature(bytes.fromhex(one["public_key"]), bytes.fromhex(one["signature"]))
            for one in entries
        ),
    )


def _about(mandate: Mandate) -> str:
    caps = ", ".join(
        f"{cap.asset_key}: {cap.amount_max} each and {cap.window_max} in 24 h"
        for cap in mandate.caps
    )
    to = ", ".join((*mandate.destinations, *(f"any {a}" for a in mandate.destination_accounts)))
    return (
        f"{mandate.mandate_id}: {mandate.kind.value} on {mandate.chain} ({mandate.network})"
        f" to [{to}]; [{caps}]; fees {mandate.fee_max} each and {mandate.fee_window_max} in 24 h;"
        f" from {mandate.valid_from_ns} until {mandate.valid_until_ns}"
    )


def _cap(mandate: Mandate, asset_key: str) -> AssetCap:
    for cap in mandate.caps:
        if cap.asset_key == asset_key:
            return cap
    raise Refused(Reason.ASSET_MISMATCH, f"mandate {mandate.mandate_id} has no cap for the asset")


def _check(mandate: Mandate) -> None:
    assets = tuple(cap.asset_key for cap in mandate.caps)
    lists = (mandate.destinations, mandate.destination_accounts, assets)
    amounts = [mandate.fee_max, mandate.fee_window_max]
    amounts += [n for cap in mandate.caps for n in (cap.amount_max, cap.window_max)]
    times = (mandate.valid_from_ns, mandate.valid_until_ns)
    texts = [mandate.mandate_id, mandate.chain, mandate.network, *(t for one in lists for t in one)]
    sound = (
        mandate.kind in UNATTENDED
        and all(type(n) is int and 0 <= n < AMOUNT_LIMIT for n in amounts)
        and all(type(n) is int and 0 <= n < TIME_LIMIT_NS for n in times)
        and times[0] < times[1]
        and all(type(text) is str and text for text in texts)
        and all(len(one) <= LIST_MAX for one in lists)
        and all(list(one) == sorted(set(one)) for one in lists)
        and set(mandate.destination_accounts) <= set(ACCOUNTS)
    )
    if not sound:
        raise Refused(Reason.MALFORMED, "a mandate's fields")
