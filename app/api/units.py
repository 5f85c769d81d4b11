"""Between what people write and what the house counts in: amounts, prices, times, ids. Exact."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from core.clock import SECOND_NS
from core.errors import Reason, Refused
from core.ids import OrderId
from core.money import format_amount, parse_amount
from custody.catalogue import Asset, MarketRow

TICKS_MAX = (1 << 63) - 1
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z", re.ASCII
)
_CLIENT_ID = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII
)
_ORDER_ID = re.compile(r"ord_[0-9a-f]{16}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(time_ns: int) -> str:
    """Return unix nanoseconds as RFC 3339 in UTC with nine decimals."""
    seconds, rest = divmod(time_ns, SECOND_NS)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_instant(text: str) -> int:
    """Return unix nanoseconds of `2026-01-31T12:00:00.5Z`. Refused: malformed."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise Refused(Reason.MALFORMED, "a time looks like 2026-01-31T12:00:00.123456789Z")
    try:
        whole = datetime.fromisoformat(match.group(1)).replace(tzinfo=UTC)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "there is no such time") from error
    since = whole - _EPOCH
    if since < timedelta(0):
        raise Refused(Reason.MALFORMED, "times begin in 1970")
    fraction = int((match.group(2) or "").ljust(9, "0"))
    return (since.days * 86_400 + since.seconds) * SECOND_NS + fraction


def parse_client_order_id(text: str) -> int:
    """Return the 128 bits of 32 hex digits or a UUID, lower case. Refused: malformed."""
    if _CLIENT_ID.fullmatch(text) is None:
        raise Refused(Reason.MALFORMED, "a client_order_id is 32 lower-case hex digits or a UUID")
    return int(text.replace("-", ""), 16)


def client_order_id(number: int) -> str:
    """Return a client order id as 32 hex digits."""
    return f"{number:032x}"


def order_id(number: int) -> str:
    """Return an order id as the API spells it."""
    return f"ord_{number:016x}"


def parse_order_id(text: str) -> OrderId:
    """Return the engine's order id. Refused: unknown_order, because nothing else can have it."""
    if _ORDER_ID.fullmatch(text) is None:
        raise Refused(Reason.UNKNOWN_ORDER, "there is no such order")
    return OrderId(int(text[4:], 16))


def asset_id(asset: Asset) -> str:
    """Return `<chain>/<key>`: an asset is that pair, never a symbol."""
    return f"{asset.spec.chain}/{asset.spec.key}"


@dataclass(frozen=True, slots=True)
class MarketUnits:
    """A market as people see it: prices in quote coins per whole base coin."""

    row: MarketRow
    base: Asset
    quote: Asset
    price_scale: int
    tick: int
    """The least step of the price, in units of 10^-price_scale."""

    @classmethod
    def of(cls, row: MarketRow, base: Asset, quote: Asset) -> MarketUnits:
        """Return the units of a listed market. ValueError: its tick is no finite decimal."""
        step = Fraction(row.tick_minor * 10**base.spec.scale, row.lot_minor * 10**quote.spec.scale)
        scale, rest = 0, step.denominator
        while rest % 10 == 0:
            scale, rest = scale + 1, rest // 10
        for prime in (2, 5):
            while rest % prime == 0:
                scale, rest = scale + 1, rest // prime
        if rest != 1:
            raise ValueError(f"the tick of {row.name} is no decimal number")
        return cls(row, base, quote, scale, int(step * 10**scale))

    def ticks(self, price: str) -> int:
        """Return a price in ticks. Refused: malformed_amount, amount_out_of_range, invalid_price.

        invalid_price: zero, or between two ticks.
        """
        ticks, rest = divmod(parse_amount(price, self.price_scale), self.tick)
        if rest or not ticks:
            raise Refused(Reason.INVALID_PRICE, f"prices are multiples of {self.price(1)}")
        return _within_wire(ticks)

    def lots(self, quantity: str) -> int:
        """Return a quantity in lots. Refused as ticks, with invalid_quantity."""
        lots, rest = divmod(parse_amount(quantity, self.base.spec.scale), self.row.lot_minor)
        if rest or not lots:
            raise Refused(
                Reason.INVALID_QUANTITY, f"quantities are multiples of {self.quantity(1)}"
            )
        return _within_wire(lots)

    def price(self, ticks: int) -> str:
        """Return ticks as a price."""
        return format_amount(ticks * self.tick, self.price_scale)

    def quantity(self, lots: int) -> str:
        """Return lots as a quantity of the base coin."""
        return format_amount(lots * self.row.lot_minor, self.base.spec.scale)


def _within_wire(number: int) -> int:
    if number > TICKS_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "too many ticks or lots for one order")
    return number
