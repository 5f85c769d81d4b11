"""Commands: what the sequencer journals and the engine applies, as frozen values.

Amounts are minor units, prices ticks, quantities lots, times unix nanoseconds. `order_id` is an
opaque u64 given by the engine, `client_order_id` a u128 chosen by the customer, `number` the
gapless funding number. `engine.records` turns each into a fixed 64-byte record and back.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.enums import OrderKind, SelfTrade, Side, TimeInForce


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAsset:
    """Make an asset known. Repeated: answered again."""

    asset_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMarket:
    """Open a market. The same content again is answered again.

    Refused: amount_out_of_range, exists_with_other_content, unknown_asset, market_retired,
    invalid_combination.
    """

    market_no: int
    base_asset_no: int
    quote_asset_no: int
    tick_minor: int
    """Quote minor units per tick per lot."""
    lot_minor: int
    """Base minor units per lot."""
    maker_ppm: int
    taker_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMarketFees:
    """Change the fee rates of fills from now on.

    Refused: amount_out_of_range, unknown_market, market_retired.
    """

    market_no: int
    maker_ppm: int
    taker_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltMarket:
    """Refuse new and replaced orders; cancels still work.

    Refused: unknown_market, market_retired.
    """

    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeMarket:
    """End a halt. Refused: unknown_market, market_retired."""

    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireMarket:
    """Cancel every order of a market in order of acceptance, and close it for ever.

    Its number is never used again. Refused: unknown_market, market_retired.
    """

    market_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMarketCollar:
    """Refuse orders priced further from the last trade than this from now on.

    Orders that are already in the book stay. Refused: amount_out_of_range, unknown_market,
    market_retired.
    """

    market_no: int
    collar_ppm: int
    """Millionths of the last trade's price, up to COLLAR_PPM_MAX; 0 for no collar."""
    reference_ticks: int = 0
    """Stands for the last trade's price until the next trade; 0 leaves that as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """Match, and let the rest of a GTC order wait in the book.

    (customer_no, client_order_id) is the idempotency key. `issued_ns` is saved by whoever issued
    the order before sending it, and repeated unchanged with every retry.
    """

    customer_no: int
    client_order_id: int
    market_no: int
    side: Side
    price_ticks: int
    """Limit price, or the protection price of a market order."""
    quantity_lots: int
    issued_ns: int
    kind: OrderKind = OrderKind.LIMIT
    tif: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    stp: SelfTrade = SelfTrade.CANCEL_NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Close one open order. Refused: unknown_order (also when it is somebody else's)."""

    customer_no: int
    order_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAll:
    """Close every open order of a customer, in one market or (market_no 0) everywhere."""

    customer_no: int
    market_no: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceOrder:
    """Change price and total quantity (what is already filled counts towards it).

    Priority is kept only when the price stays and the quantity shrinks; otherwise the order enters
    the book anew under its old id and may trade at once. Refused: the order stays as it was.
    """

    customer_no: int
    order_id: int
    price_ticks: int
    quantity_lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Add to available.

    Refused: amount_out_of_range, unknown_asset, zero_amount, balance_overflow.
    """

    number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Debit:
    """Cancel the customer's orders, then take min(amount, available) and report the shortfall.

    Refused: amount_out_of_range, unknown_asset, zero_amount.
    """

    number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Move from available to held; `number` names the hold.

    Refused: amount_out_of_range, unknown_asset, zero_amount, exceeds_available.
    """

    number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Take a whole live hold out of the engine.

    Refused: exists_with_other_content (customer, asset or amount differ), unknown_hold.
    """

    number: int
    hold_number: int
    customer_no: int
    asset_no: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give a whole live hold back to available.

    Refused: exists_with_other_content (customer, asset or amount differ), unknown_hold.
    """

    number: int
    hold_number: int
    customer_no: int
    asset_no: int
    amount: int


ConfigCommand = (
    AddAsset
    | AddMarket
    | SetMarketFees
    | HaltMarket
    | ResumeMarket
    | RetireMarket
    | SetMarketCollar
)
OrderCommand = PlaceOrder | CancelOrder | CancelAll | ReplaceOrder
FundingCommand = Credit | Debit | Hold | Capture | Release
Command = ConfigCommand | OrderCommand | FundingCommand
