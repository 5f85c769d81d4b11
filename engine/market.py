"""A market: ticks and lots into exact minor units, and the fees of a fill."""

from __future__ import annotations

from dataclasses import dataclass

from core.money import ENGINE_AMOUNT_LIMIT, PPM, fee_of
from engine.commands import AddMarket
from engine.enums import MarketStatus, Side
from engine.events import MarketAdded, Trade

WIRE_LIMIT = 1 << 63
"""Prices and quantities are below this: int64 on the wire."""
COLLAR_PPM_MAX = 100 * PPM
"""No collar is wider than a hundred times the price it lies around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Quote = ticks x lots x tick_minor, base = lots x lot_minor: integers, never rounded."""

    market_no: int
    base_asset_no: int
    quote_asset_no: int
    tick_minor: int
    lot_minor: int
    maker_ppm: int
    taker_ppm: int
    status: MarketStatus = MarketStatus.OPEN
    collar_ppm: int = 0
    """How far from the last trade a price may lie, in millionths of it; 0: any distance."""

    @property
    def is_halted(self) -> bool:
        """Return whether only cancels are taken."""
        return self.status is MarketStatus.HALTED

    @property
    def is_retired(self) -> bool:
        """Return whether the market is closed for ever."""
        return self.status is MarketStatus.RETIRED

    def is_outside_collar(self, *, price_ticks: int, last_ticks: int) -> bool:
        """Return whether a limit lies too far from the last trade; last_ticks 0: there is none."""
        if not self.collar_ppm or not last_ticks:
            return False
        return abs(price_ticks - last_ticks) * PPM > self.collar_ppm * last_ticks

    def quote_minor(self, *, price_ticks: int, quantity_lots: int) -> int:
        """Return quote minor units of a quantity at a price."""
        return price_ticks * quantity_lots * self.tick_minor

    def base_minor(self, quantity_lots: int) -> int:
        """Return base minor units of a quantity."""
        return quantity_lots * self.lot_minor

    def fits(self, *, price_ticks: int, quantity_lots: int) -> bool:
        """Return whether both sides of such an order are amounts below 2^96."""
        return (
            self.quote_minor(price_ticks=price_ticks, quantity_lots=quantity_lots)
            < ENGINE_AMOUNT_LIMIT
            and self.base_minor(quantity_lots) < ENGINE_AMOUNT_LIMIT
        )

    def given_asset_no(self, side: Side) -> int:
        """Return the asset an order of this side locks and pays with."""
        return self.quote_asset_no if side is Side.BUY else self.base_asset_no

    def received_asset_no(self, side: Side) -> int:
        """Return the asset an order of this side receives."""
        return self.base_asset_no if side is Side.BUY else self.quote_asset_no

    def lock_minor(self, *, side: Side, price_ticks: int, quantity_lots: int) -> int:
        """Return what an open order of this side locks: quote at its limit, or base."""
        if side is Side.BUY:
            return price_ticks * quantity_lots * self.tick_minor
        return quantity_lots * self.lot_minor


def market_of(content: AddMarket | MarketAdded) -> Market:
    """Return the market as it was opened."""
    return Market(
        market_no=content.market_no,
        base_asset_no=content.base_asset_no,
        quote_asset_no=content.quote_asset_no,
        tick_minor=content.tick_minor,
        lot_minor=content.lot_minor,
        maker_ppm=content.maker_ppm,
        taker_ppm=content.taker_ppm,
    )


def rates_are_valid(*, maker_ppm: int, taker_ppm: int) -> bool:
    """Return whether both rates lie between 0 and 100 %: there are no rebates."""
    return 0 <= maker_ppm <= PPM and 0 <= taker_ppm <= PPM


@dataclass(frozen=True, slots=True, kw_only=True)
class FillAmounts:
    """What a fill moves. The seller gives base_minor to the buyer, the buyer quote_minor to the
    seller; then each pays the fee out of what was received."""

    buyer_customer_no: int
    seller_customer_no: int
    base_asset_no: int
    quote_asset_no: int
    base_minor: int
    quote_minor: int
    buyer_fee_base: int
    seller_fee_quote: int


def fill_amounts(trade: Trade, market: Market) -> FillAmounts:
    """Return the exact amounts of a trade: its own rates apply, not the market's present ones."""
    if trade.market_no != market.market_no:
        raise ValueError(f"trade in market {trade.market_no}, not {market.market_no}")
    base_minor = market.base_minor(trade.quantity_lots)
    quote_minor = market.quote_minor(
        price_ticks=trade.price_ticks, quantity_lots=trade.quantity_lots
    )
    taker_buys = trade.taker_side is Side.BUY
    buyer, seller = trade.taker_customer_no, trade.maker_customer_no
    buyer_ppm, seller_ppm = trade.taker_ppm, trade.maker_ppm
    if not taker_buys:
        buyer, seller = seller, buyer
        buyer_ppm, seller_ppm = seller_ppm, buyer_ppm
    return FillAmounts(
        buyer_customer_no=buyer,
        seller_customer_no=seller,
        base_asset_no=market.base_asset_no,
        quote_asset_no=market.quote_asset_no,
        base_minor=base_minor,
        quote_minor=quote_minor,
        buyer_fee_base=fee_of(base_minor, buyer_ppm),
        seller_fee_quote=fee_of(quote_minor, seller_ppm),
    )
