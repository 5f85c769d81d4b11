"""The closed lists of the engine. Numbers are written to the journal and never reused.

The gaps are left for what comes later: iceberg, stop and one-cancels-other orders.
"""

from __future__ import annotations

import enum

from core.errors import Reason


class Side(enum.IntEnum):
    """What the order does with the base asset."""

    BUY = 1
    SELL = 2


class OrderKind(enum.IntEnum):
    """A market order is immediate-or-cancel; its price is the mandatory protection price."""

    LIMIT = 1
    MARKET = 2


class TimeInForce(enum.IntEnum):
    """What happens to the part that does not trade at once."""

    GTC = 1
    IOC = 2
    FOK = 3


class SelfTrade(enum.IntEnum):
    """What happens when an order meets another one of the same customer."""

    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class CancelReason(enum.IntEnum):
    """Why an accepted order was closed before it was filled."""

    REQUESTED = 1
    UNFILLED = 2
    """The rest of an immediate-or-cancel order."""
    SELF_TRADE = 3
    DEBIT = 4
    """A reversal cancels the customer's orders first."""
    MARKET_RETIRED = 5


class MarketStatus(enum.IntEnum):
    """What a market lets happen; it never leaves RETIRED."""

    OPEN = 0
    HALTED = 1
    """Cancels only."""
    RETIRED = 2
    """Nothing: its orders are gone."""


class RejectReason(enum.IntEnum):
    """Why a command had no effect; ascending numbers are the order of precedence."""

    AMOUNT_OUT_OF_RANGE = 20
    EXISTS_WITH_OTHER_CONTENT = 30
    DUPLICATE_OTHER_CONTENT = 40
    ISSUED_TOO_LONG_AGO = 50
    ISSUED_IN_FUTURE = 60
    UNKNOWN_ASSET = 80
    UNKNOWN_MARKET = 90
    UNKNOWN_ORDER = 100
    UNKNOWN_HOLD = 110
    MARKET_RETIRED = 130
    MARKET_HALTED = 140
    INVALID_PRICE = 150
    OUTSIDE_COLLAR = 155
    INVALID_QUANTITY = 160
    INVALID_COMBINATION = 170
    TOO_MANY_ORDERS = 190
    TOO_MANY_LEVELS = 195
    WOULD_CROSS = 200
    WOULD_NOT_FILL = 210
    ZERO_AMOUNT = 230
    EXCEEDS_AVAILABLE = 250
    BALANCE_OVERFLOW = 260

    @property
    def reason(self) -> Reason:
        """Return the published reason of the same name."""
        return Reason(self.name.lower())


class CommandKind(enum.IntEnum):
    """First byte of a command record."""

    ADD_ASSET = 1
    ADD_MARKET = 2
    SET_MARKET_FEES = 3
    HALT_MARKET = 4
    RESUME_MARKET = 5
    RETIRE_MARKET = 6
    SET_MARKET_COLLAR = 7
    PLACE_ORDER = 16
    CANCEL_ORDER = 17
    CANCEL_ALL = 18
    REPLACE_ORDER = 19
    CREDIT = 32
    DEBIT = 33
    HOLD = 34
    CAPTURE = 35
    RELEASE = 36


class EventKind(enum.IntEnum):
    """First byte of an event record."""

    ASSET_ADDED = 1
    MARKET_ADDED = 2
    MARKET_FEES_SET = 3
    MARKET_HALTED = 4
    MARKET_RESUMED = 5
    MARKET_RETIRED = 6
    MARKET_COLLAR_SET = 7
    CONFIG_REFUSED = 15
    ORDER_ACCEPTED = 16
    ORDER_REJECTED = 17
    ORDER_DUPLICATE = 18
    TRADE = 19
    ORDER_REDUCED = 20
    ORDER_REPLACED = 21
    ORDER_FILLED = 22
    ORDER_CANCELLED = 23
    ORDERS_CANCELLED = 24
    CREDITED = 32
    DEBITED = 33
    HELD = 34
    CAPTURED = 35
    RELEASED = 36
    FUNDING_REFUSED = 37
    FUNDING_REPEATED = 38
