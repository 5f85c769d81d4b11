"""Standing mandates: what the officers' quorum allows to be signed unattended, and how much of it.

A mandate is a table of the roster's body (custody.keys.roster_text), so the signatures of the
quorum under that body are the signatures of its mandates too; a spend names one by its id.

`amount_max` caps one spend; `window_max` caps the sum over every 24 hours, recomputed from the log
of signatures itself and never from what the platform says. Fees likewise. A cancellation pays
nothing and goes back to its sender, so it needs neither destinations nor caps. The destinations of
a delegation are the contracts whose code may be run; they stand among the roster's delegates too.
A withdrawal goes wherever the rule of a policy allows it, so its mandate names no destinations.
"""

from __future__ import annotations

from dataclasses import dataclass

from chains.base import SpendIntent, SpendKind
from core.clock import DAY_NS
from core.errors import Reason, Refused
from core.ids import ChainId
from core.money import AMOUNT_LIMIT
from custody.keys.intent import TIME_LIMIT_NS
from custody.keys.signers.base import ACCOUNT_NUMBERS

WINDOW_NS = DAY_NS
LIST_MAX = 1_024
UNATTENDED = frozenset(
    {
        SpendKind.SWEEP,
        SpendKind.TOP_UP,
        SpendKind.CANCELLATION,
        SpendKind.DELEGATION,
        SpendKind.WITHDRAWAL,
    }
)
_MOVES_NOTHING = frozenset({SpendKind.CANCELLATION, SpendKind.DELEGATION})


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
class Usage:
    """What other spends of the same kind and chain took in a window, from the guard's own log."""

    amount: int
    fees: int


def check_mandate(mandate: Mandate) -> None:
    """Return when every field of a mandate is plain. Refused: malformed."""
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
        and set(mandate.destination_accounts) <= set(ACCOUNT_NUMBERS)
        and not (mandate.kind is SpendKind.WITHDRAWAL and any(lists[:2]))
    )
    if not sound:
        raise Refused(Reason.MALFORMED, "a mandate's fields")


def covers(mandate: Mandate, spend: SpendIntent, *, destination_account: str | None) -> None:
    """Return when one spend lies inside a mandate.

    destination_account names the own account that the guard itself found the destination in.
    Refused: intent_mismatch, forbidden_destination, asset_mismatch, policy_blocked (above the cap),
    fee_above_cap, foreign_delegate.
    """
    if (mandate.kind, mandate.chain, mandate.network) != (spend.kind, spend.chain, spend.network):
        raise Refused(Reason.INTENT_MISMATCH, f"mandate {mandate.mandate_id} is for other spends")
    if spend.fee_max > mandate.fee_max:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{spend.fee_max} is above {mandate.fee_max}")
    if spend.kind is SpendKind.CANCELLATION:
        if spend.destination != spend.source or spend.amount != 0:
            raise Refused(Reason.FORBIDDEN_DESTINATION, "a cancellation pays nothing to itself")
        return
    if spend.kind is SpendKind.DELEGATION:
        if spend.destination not in mandate.destinations:
            raise Refused(Reason.FOREIGN_DELEGATE, "not a contract of the mandate")
        return
    if (
        spend.kind is not SpendKind.WITHDRAWAL
        and spend.destination not in mandate.destinations
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
    if spend.kind in _MOVES_NOTHING:
        return
    cap = _cap(mandate, spend.asset_key)
    if used.amount + spend.amount > cap.window_max:
        raise Refused(Reason.POLICY_BLOCKED, f"sum of 24 h above {cap.window_max}")


def _cap(mandate: Mandate, asset_key: str) -> AssetCap:
    for cap in mandate.caps:
        if cap.asset_key == asset_key:
            return cap
    raise Refused(Reason.ASSET_MISMATCH, f"mandate {mandate.mandate_id} has no cap for the asset")
