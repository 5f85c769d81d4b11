"""Events: what a command caused, in order, as frozen values.

Amounts are minor units, prices ticks, quantities lots. `sequence` is that of the command. An
accepted order gets exactly one closing event, OrderFilled or OrderCancelled. `engine.records`
turns each into a fixed 64-byte record and back.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.enums import (
    CancelReason,
    CommandKind,
    OrderKind,
    RejectReason,
    SelfTrade,
    Side,
    TimeInForce,
)

GENESIS_HASH = bytes(32)
"""Running hash of the journal before its first block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetAdded:
    """An asset is known from here on."""

    sequence: int
    asset_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketAdded:
    """A market is open from here on; all but its fee rates stays for ever."""

    sequence: int
    market_no: int
    base_asset_no: int
    quote_asset_no: int
    tick_minor: int
    lot_minor: int
    maker_ppm: int
    taker_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketFeesSet:
    """Fills after this one carry these rates."""

    sequence: int
    market_no: int
    maker_ppm: int
    taker_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketHalted:
    """The market takes no orders."""

    sequence: int
    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketResumed:
    """The market takes orders."""

    sequence: int
    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRetired:
    """The market is closed for ever; the cancels of its orders stand before this."""

    sequence: int
    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketCollarSet:
    """The collar that orders meet from here on. `reference_ticks` is the price it lies around,
    0 while there is none and the collar refuses nothing."""

    sequence: int
    market_no: int
    collar_ppm: int
    reference_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRefused:
    """A configuration command had no effect. `subject_no` is its market or asset number."""

    sequence: int
    command: CommandKind
    subject_no: int
    reason: RejectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAccepted:
    """The order exists and its money is locked; its fills and its closing event follow."""

    sequence: int
    order_id: int
    customer_no: int
    client_order_id: int
    market_no: int
    side: Side
    price_ticks: int
    quantity_lots: int
    kind: OrderKind
    tif: TimeInForce
    post_only: bool
    stp: SelfTrade


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRejected:
    """A place (order_id 0), cancel or replace (client_order_id 0) had no effect."""

    sequence: int
    customer_no: int
    market_no: int
    client_order_id: int
    order_id: int
    command: CommandKind
    reason: RejectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDuplicate:
    """The same order was accepted before, as order_id; nothing happened."""

    sequence: int
    order_id: int
    customer_no: int
    client_order_id: int
    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One fill at the maker's price. `engine.market.fill_amounts` gives the amounts and fees."""

    sequence: int
    market_no: int
    taker_order_id: int
    maker_order_id: int
    taker_customer_no: int
    maker_customer_no: int
    taker_side: Side
    price_ticks: int
    quantity_lots: int
    taker_ppm: int
    maker_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReduced:
    """Self-trade prevention took lots off an order without a trade; remaining 0 is closed next."""

    sequence: int
    order_id: int
    customer_no: int
    market_no: int
    reduced_lots: int
    remaining_lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReplaced:
    """The order has a new price and total quantity; its fills may follow."""

    sequence: int
    order_id: int
    customer_no: int
    market_no: int
    price_ticks: int
    quantity_lots: int
    remaining_lots: int
    kept_priority: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilled:
    """Closing event: nothing is left to trade."""

    sequence: int
    order_id: int
    customer_no: int
    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled:
    """Closing event: `cancelled_lots` were left, their lock is back in available."""

    sequence: int
    order_id: int
    customer_no: int
    market_no: int
    cancelled_lots: int
    reason: CancelReason


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersCancelled:
    """Last event of a CancelAll: how many orders it closed."""

    sequence: int
    customer_no: int
    market_no: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited:
    """Available rose by amount."""

    sequence: int
    number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Debited:
    """Available fell by amount_taken; amount_taken + shortfall is what was asked."""

    sequence: int
    number: int
    customer_no: int
    asset_no: int
    amount_taken: int
    shortfall: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The amount went from available to held; `number` names the hold."""

    sequence: int
    number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """The held amount left the engine."""

    sequence: int
    number: int
    hold_number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The held amount went back to available."""

    sequence: int
    number: int
    hold_number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRefused:
    """The number is used up and nothing moved. hold_number is 0 unless a hold was named."""

    sequence: int
    number: int
    hold_number: int
    customer_no: int
    asset_no: int
    amount: int
    command: CommandKind
    reason: RejectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRepeated:
    """The number was used before; nothing happened, and its first answer stands earlier."""

    sequence: int
    number: int
    customer_no: int
    asset_no: int


ConfigEvent = (
    AssetAdded
    | MarketAdded
    | MarketFeesSet
    | MarketHalted
    | MarketResumed
    | MarketRetired
    | MarketCollarSet
    | ConfigRefused
)
OrderEvent = (
    OrderAccepted
    | OrderRejected
    | OrderDuplicate
    | Trade
    | OrderReduced
    | OrderReplaced
    | OrderFilled
    | OrderCancelled
    | OrdersCancelled
)
FundingEvent = Credited | Debited | Held | Captured | Released | FundingRefused | FundingRepeated
Event = ConfigEvent | OrderEvent | FundingEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """How far the books have followed: the end of a journal block and the running hash there."""

    epoch: int
    sequence: int
    hash: bytes
