"""What to pay for compute. Pure: what nodes say is bounded by the configured floor and cap."""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import NATIVE, FeeRate, SpendIntent, SpendKind
from chains.solana.accounts import MalformedAnswer, fields, items, number
from chains.solana.params import UNIT, SolanaParams
from core.errors import Reason, Refused, Unavailable
from core.money import ceil_div

SAMPLES_MAX = 150
"""Slots that a node remembers the fees of. Source: getRecentPrioritizationFees."""
_PERCENTILE = 75
# A replacement is an eighth dearer, as on every chain of the house; the guard asks for a sixteenth.
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8
_MARGIN_NUMERATOR, _MARGIN_DENOMINATOR = 5, 4

# Units by what the calls used on a node, rounded up generously: unused units cost some lamports,
# missing ones the whole payment. Opening searches for an address off the curve, each try 1,500.
_BASE_UNITS = 2
_TOKEN_UNITS = 30
_OPENING_UNITS = 60


def price_of(answer: object) -> int | None:
    """Return the micro-lamports per compute unit that most of the last slots took, None for
    nonsense.
    """
    try:
        pages = items(answer, "prioritization fees", most=SAMPLES_MAX)
        prices = sorted(
            number(fields(page, "fee").get("prioritizationFee"), "fee") for page in pages
        )
    except MalformedAnswer:
        return None
    return prices[len(prices) * _PERCENTILE // 100] if prices else 0


def plan_rate(prices: Sequence[int | None], params: SolanaParams) -> FeeRate:
    """Return the rate for the nodes' prices: their median in whole lamports a unit.

    Within floor and cap; without any sensible answer the floor, which a replacement can raise.
    """
    known = sorted(price for price in prices if price is not None)
    wanted = ceil_div(known[len(known) // 2], UNIT) if known else params.fee_floor
    rate = min(max(wanted, params.fee_floor), params.fee_cap)
    return FeeRate(max_rate=rate, tip_rate=rate)


def plan_bump(rate: FeeRate, current: FeeRate, params: SolanaParams) -> FeeRate:
    """Return the lowest rate >= rate that replaces one sent at `current`.

    Refused: fee_above_cap.
    """
    dearer = max(
        current.max_rate + 1,
        ceil_div(current.max_rate * _BUMP_NUMERATOR, _BUMP_DENOMINATOR),
    )
    wanted = max(rate.max_rate, dearer)
    if wanted > params.fee_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"a replacement needs {wanted} lamports a unit")
    return FeeRate(max_rate=wanted, tip_rate=wanted)


def plan_units(intent: SpendIntent, used: int, params: SolanaParams) -> int:
    """Return the units of a transaction that a simulation used so many compute units of.

    Always those that opening the receiver's account would take: it may be closed meanwhile.
    Unavailable: the answer lies outside any sensible bound.
    """
    units = _BASE_UNITS
    if intent.asset_key != NATIVE and intent.kind is not SpendKind.CANCELLATION:
        units += (_TOKEN_UNITS + _OPENING_UNITS) * max(1, len(intent.items))
    measured = ceil_div(used * _MARGIN_NUMERATOR, _MARGIN_DENOMINATOR * UNIT) + 1
    units = max(units, measured)
    if units > params.units_cap:
        raise Unavailable(f"units_out_of_range: {used}")
    return units
