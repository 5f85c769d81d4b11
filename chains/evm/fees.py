"""What to pay for gas. Pure: whatever nodes say is bounded by the configured floor and cap."""

from __future__ import annotations

from collections.abc import Sequence

from chains.base import FeeRate
from chains.evm import parse
from chains.evm.params import PLAIN_TRANSFER_GAS, EvmParams
from core.errors import Reason, Refused, Unavailable
from core.money import ceil_div

# Nodes replace a waiting transaction when both rates rise by a tenth; an eighth suits all of them.
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8
# State may change between simulation and inclusion: a quarter more, paid only when used.
_GAS_MARGIN_NUMERATOR, _GAS_MARGIN_DENOMINATOR = 5, 4


def base_fee_of(history: object) -> int | None:
    """Return the next block's base fee from an eth_feeHistory answer, None for nonsense."""
    try:
        fees = parse.sequence(parse.mapping(history, "history").get("baseFeePerGas"), "base fees")
        return parse.quantity(fees[-1], "base fee") if fees else None
    except parse.MalformedAnswer:
        return None


def plan_rate(base_fees: Sequence[int | None], params: EvmParams) -> FeeRate:
    """Return the rate for the nodes' base fees: twice the median plus the tip, within floor and
    cap.

    Without any sensible answer the floor is paid; a replacement can raise it later.
    """
    known = sorted(fee for fee in base_fees if fee is not None)
    wanted = 2 * known[len(known) // 2] + params.tip if known else params.fee_floor
    highest = min(max(wanted, params.fee_floor), params.fee_cap)
    return FeeRate(max_rate=highest, tip_rate=min(params.tip, highest))


def plan_bump(rate: FeeRate, current: FeeRate, params: EvmParams) -> FeeRate:
    """Return the lowest rate >= rate that replaces one sent at `current`.

    Refused: fee_above_cap.
    """
    highest = max(rate.max_rate, _raised(current.max_rate))
    tip = max(rate.tip_rate, _raised(current.tip_rate))
    if highest > params.fee_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"a replacement needs {highest} wei a gas")
    return FeeRate(max_rate=highest, tip_rate=min(tip, highest))


def plan_units(estimate: int, params: EvmParams) -> int:
    """Return the gas limit for an estimate.

    Unavailable: the estimate lies outside any sensible bound.
    """
    if estimate == PLAIN_TRANSFER_GAS:
        return estimate
    units = ceil_div(estimate * _GAS_MARGIN_NUMERATOR, _GAS_MARGIN_DENOMINATOR)
    if not estimate >= PLAIN_TRANSFER_GAS or units > params.gas_cap:
        raise Unavailable(f"gas_estimate_out_of_range: {estimate}")
    return units


def _raised(number: int) -> int:
    return max(number + 1, ceil_div(number * _BUMP_NUMERATOR, _BUMP_DENOMINATOR))
