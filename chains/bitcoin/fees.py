"""What to pay for a virtual byte. Pure: whatever nodes say ends between floor and cap.

Two estimators: what nodes expect to be enough within some blocks, and what the transactions of the
newest blocks really paid. The higher one is paid unless it is far above the other: a payment that
waits can be replaced, one that paid too much cannot be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from chains.base import FeeRate
from chains.bitcoin.params import COIN, BitcoinParams
from core.errors import Reason, Refused
from core.money import ceil_div

TARGET_BLOCKS = 6
"""Nodes are asked what is enough to be in one of so many next blocks."""
SEEN_BLOCKS = 6
"""Newest blocks whose paid rates are looked at."""
APART = 4
"""An estimate that is so many times the other is not believed alone."""
RELAY_STEP = 1
"""What a replacement pays more for each of its bytes. Source: BIP-125, rule 4."""
_BYTES = 1_000
_MEDIAN = 2
"""Place of the middle among the rates at 10, 25, 50, 75 and 90 % of a block's weight."""


def rate_in(answer: object) -> int | None:
    """Return whole units per virtual byte of coins per thousand bytes, None for nonsense.

    Rounded up; nodes write 4e-05 for four units per byte. null, negative, not a number: nonsense.
    """
    if isinstance(answer, bool) or not isinstance(answer, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(answer)) * COIN / _BYTES
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 < number <= COIN:
        return None
    return int(number.to_integral_value(ROUND_CEILING))


def smart_rate(answer: object) -> int | None:
    """Return the rate in an estimatesmartfee answer, None when the node has no estimate."""
    return rate_in(answer.get("feerate")) if isinstance(answer, dict) else None


def paid_rate(stats: Sequence[object]) -> int | None:
    """Return the median rate of the median bytes of some blocks, from getblockstats answers.

    None: none of these blocks says anything (blocks without payments say 0).
    """
    rates = []
    for one in stats:
        found = one.get("feerate_percentiles") if isinstance(one, dict) else None
        if isinstance(found, list) and len(found) == 2 * _MEDIAN + 1:
            middle = found[_MEDIAN]
            if type(middle) is int and 0 < middle <= COIN:
                rates.append(middle)
    return _middle(rates)


def plan_rate(
    expected: Sequence[int | None],
    paid: Sequence[int | None],
    params: BitcoinParams,
    *,
    least: Sequence[int | None] = (),
) -> FeeRate:
    """Return the rate for the nodes' estimates of both kinds, within floor and cap.

    least: below these the nodes' pools take nothing now. Without any sensible estimate that, or
    the floor, is paid; a replacement can raise it later.
    """
    first = _middle([one for one in expected if one is not None])
    second = _middle([one for one in paid if one is not None])
    both = sorted(one for one in (first, second) if one is not None)
    wanted = params.fee_floor
    if both:
        wanted = both[-1] if both[-1] <= APART * max(both[0], params.fee_floor) else both[0]
    needed = _middle([one for one in least if one is not None]) or 0
    rate = min(max(wanted, needed, params.fee_floor), params.fee_cap)
    return FeeRate(max_rate=rate, tip_rate=rate)


def plan_bump(rate: FeeRate, current: FeeRate, params: BitcoinParams) -> FeeRate:
    """Return the lowest rate >= rate whose transaction replaces one that paid `current`.

    A replacement pays all that the replaced one paid, and RELAY_STEP for each byte of its own. It
    may be smaller by its change, so the rate rises by what the smallest loses in that way.

    Refused: fee_above_cap.
    """
    raised = ceil_div(current.max_rate * _LARGEST, _SMALLEST) + RELAY_STEP
    wanted = max(rate.max_rate, raised)
    if wanted > params.fee_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"a replacement needs {wanted} a byte")
    return FeeRate(max_rate=wanted, tip_rate=wanted)


_SMALLEST, _LARGEST = 99, 99 + 43
"""One taproot input and the shortest output, without and with change of the longest kind."""


def _middle(rates: Sequence[int]) -> int | None:
    return sorted(rates)[len(rates) // 2] if rates else None
