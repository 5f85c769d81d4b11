"""Amounts: integers of an asset's smallest unit; decimal strings exist only at the edge."""

from __future__ import annotations

import re

from core.errors import Reason, Refused

AMOUNT_LIMIT = 1 << 255
"""No parsed amount reaches this."""
ENGINE_AMOUNT_LIMIT = 1 << 96
"""A single amount entering engine or ledger is below this."""
ENGINE_BALANCE_LIMIT = 1 << 127
"""A customer's balance in the engine is below this."""
MAX_SCALE = 77
PPM = 1_000_000

_GRAMMAR = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_MAX_TEXT = 160  # 2^255 has 77 digits; anything far longer is refused before the regex looks at it


def require_int(value: object, what: str = "amount") -> int:
    """Return value when it is exactly an int >= 0, so that True.

    1.0 and Decimal never pass as money.

    Refused: malformed_amount.
    """
    if type(value) is not int or value < 0:
        raise Refused(Reason.MALFORMED_AMOUNT, f"{what} must be an integer >= 0")
    return value


def parse_amount(text: object, scale: int) -> int:
    """Parse a decimal string into minor units of an asset with `scale` decimal places.

    Refused: malformed_amount (not the ASCII grammar, not a string, more digits than the scale),
    amount_out_of_range (2^255 or more).
    """
    _check_scale(scale)
    if type(text) is not str or len(text) > _MAX_TEXT:
        raise Refused(Reason.MALFORMED_AMOUNT, "an amount is a short decimal string")
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise Refused(Reason.MALFORMED_AMOUNT, "an amount looks like 12 or 0.05")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > scale:
        raise Refused(Reason.MALFORMED_AMOUNT, f"at most {scale} decimal places")
    amount = int(whole + fraction.ljust(scale, "0"))
    if amount >= AMOUNT_LIMIT:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "amounts are below 2^255 of the smallest unit")
    return amount


def format_amount(amount: int, scale: int) -> str:
    """Format minor units as the shortest exact decimal string; the inverse of parse_amount."""
    _check_scale(scale)
    if type(amount) is not int:
        raise TypeError("an amount is an int")
    sign, digits = ("-", str(-amount)) if amount < 0 else ("", str(amount))
    if scale == 0:
        return sign + digits
    digits = digits.rjust(scale + 1, "0")
    fraction = digits[-scale:].rstrip("0")
    return f"{sign}{digits[:-scale]}.{fraction}" if fraction else f"{sign}{digits[:-scale]}"


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide two non-negative integers, rounding up."""
    if numerator < 0 or denominator <= 0:
        raise ValueError("ceil_div needs numerator >= 0 and denominator > 0")
    return -(-numerator // denominator)


def fee_of(received_minor: int, rate_ppm: int) -> int:
    """Return the trading fee on a received amount.

    Ceil(received x ppm / 10^6), never above received.
    """
    if not 0 <= rate_ppm <= PPM:
        raise ValueError("a fee rate lies between 0 and 1,000,000 ppm")
    return ceil_div(received_minor * rate_ppm, PPM)


def _check_scale(scale: int) -> None:
    if type(scale) is not int or not 0 <= scale <= MAX_SCALE:
        raise ValueError(f"scale must be an int in 0..{MAX_SCALE}")
