"""Assets, markets, fees, collars, halts: configuration enters the engine only as commands."""

from __future__ import annotations

from dataclasses import replace

from core.ids import ASSET_NO_LIMIT, MARKET_NO_LIMIT
from core.money import ENGINE_AMOUNT_LIMIT
from engine.commands import (
    AddAsset,
    AddMarket,
    ConfigCommand,
    HaltMarket,
    ResumeMarket,
    RetireMarket,
    SetMarketCollar,
    SetMarketFees,
)
from engine.enums import CancelReason, MarketStatus, RejectReason
from engine.events import (
    AssetAdded,
    ConfigRefused,
    MarketAdded,
    MarketCollarSet,
    MarketFeesSet,
    MarketHalted,
    MarketResumed,
    MarketRetired,
)
from engine.market import COLLAR_PPM_MAX, WIRE_LIMIT, Market, market_of, rates_are_valid
from engine.records import command_kind
from engine.reference_balances import AssetTotal
from engine.reference_book import Book
from engine.reference_state import State


def add_asset(state: State, command: AddAsset) -> None:
    """Make an asset known; one that is known is only named again."""
    if not 0 <= command.asset_no < ASSET_NO_LIMIT:
        _refuse(state, command, command.asset_no, RejectReason.AMOUNT_OUT_OF_RANGE)
        return
    state.balances.assets.setdefault(command.asset_no, AssetTotal())
    state.emit(AssetAdded(sequence=state.sequence, asset_no=command.asset_no))


def add_market(state: State, command: AddMarket) -> None:
    """Open a market, or name it again when it is open with the same content."""
    reason = _why_no_market(state, command)
    if reason is not None:
        _refuse(state, command, command.market_no, reason)
        return
    if command.market_no not in state.markets:
        state.markets[command.market_no] = market_of(command)
        state.books[command.market_no] = Book()
    state.emit(
        MarketAdded(
            sequence=state.sequence,
            market_no=command.market_no,
            base_asset_no=command.base_asset_no,
            quote_asset_no=command.quote_asset_no,
            tick_minor=command.tick_minor,
            lot_minor=command.lot_minor,
            maker_ppm=command.maker_ppm,
            taker_ppm=command.taker_ppm,
        )
    )


def _why_no_market(state: State, command: AddMarket) -> RejectReason | None:
    present = state.markets.get(command.market_no)
    in_range = (
        0 < command.market_no < MARKET_NO_LIMIT
        and 0 < command.tick_minor < ENGINE_AMOUNT_LIMIT
        and 0 < command.lot_minor < ENGINE_AMOUNT_LIMIT
        and rates_are_valid(maker_ppm=command.maker_ppm, taker_ppm=command.taker_ppm)
    )
    if not in_range:
        return RejectReason.AMOUNT_OUT_OF_RANGE
    if present and replace(present, status=MarketStatus.OPEN, collar_ppm=0) != market_of(command):
        return RejectReason.EXISTS_WITH_OTHER_CONTENT
    if not {command.base_asset_no, command.quote_asset_no} <= state.balances.assets.keys():
        return RejectReason.UNKNOWN_ASSET
    if present and present.is_retired:
        return RejectReason.MARKET_RETIRED
    if command.base_asset_no == command.quote_asset_no:
        return RejectReason.INVALID_COMBINATION
    return None


def set_market_fees(state: State, command: SetMarketFees) -> None:
    """Change the rates of later fills."""
    is_sound = rates_are_valid(maker_ppm=command.maker_ppm, taker_ppm=command.taker_ppm)
    market = _market_to_change(state, command, is_sound=is_sound)
    if market is None:
        return
    state.markets[command.market_no] = replace(
        market, maker_ppm=command.maker_ppm, taker_ppm=command.taker_ppm
    )
    state.emit(
        MarketFeesSet(
            sequence=state.sequence,
            market_no=command.market_no,
            maker_ppm=command.maker_ppm,
            taker_ppm=command.taker_ppm,
        )
    )


def set_market_collar(state: State, command: SetMarketCollar) -> None:
    """Change how far from the last trade a price may lie, and perhaps what counts as that trade."""
    is_sound = (
        0 <= command.collar_ppm <= COLLAR_PPM_MAX and 0 <= command.reference_ticks < WIRE_LIMIT
    )
    market = _market_to_change(state, command, is_sound=is_sound)
    if market is None:
        return
    state.markets[command.market_no] = replace(market, collar_ppm=command.collar_ppm)
    book = state.books[command.market_no]
    book.last_ticks = command.reference_ticks or book.last_ticks
    state.emit(
        MarketCollarSet(
            sequence=state.sequence,
            market_no=command.market_no,
            collar_ppm=command.collar_ppm,
            reference_ticks=book.last_ticks,
        )
    )


def halt_market(state: State, command: HaltMarket) -> None:
    """Refuse orders from now on; halting twice is the same as once."""
    market = _market_to_change(state, command)
    if market is not None:
        state.markets[command.market_no] = replace(market, status=MarketStatus.HALTED)
        state.emit(MarketHalted(sequence=state.sequence, market_no=command.market_no))


def resume_market(state: State, command: ResumeMarket) -> None:
    """Take orders again."""
    market = _market_to_change(state, command)
    if market is not None:
        state.markets[command.market_no] = replace(market, status=MarketStatus.OPEN)
        state.emit(MarketResumed(sequence=state.sequence, market_no=command.market_no))


def retire_market(state: State, command: RetireMarket) -> None:
    """Cancel all its orders, oldest first, and take nothing for it ever again."""
    market = _market_to_change(state, command)
    if market is None:
        return
    for _, order in sorted(state.orders.items()):
        if order.market_no == command.market_no:
            state.cancel(order, CancelReason.MARKET_RETIRED, is_resting=True)
    state.markets[command.market_no] = replace(market, status=MarketStatus.RETIRED)
    state.emit(MarketRetired(sequence=state.sequence, market_no=command.market_no))


def _market_to_change(
    state: State,
    command: SetMarketFees | SetMarketCollar | HaltMarket | ResumeMarket | RetireMarket,
    *,
    is_sound: bool = True,
) -> Market | None:
    """Return the market a command may change, or refuse the command."""
    market = state.markets.get(command.market_no)
    if not is_sound:
        _refuse(state, command, command.market_no, RejectReason.AMOUNT_OUT_OF_RANGE)
    elif market is None:
        _refuse(state, command, command.market_no, RejectReason.UNKNOWN_MARKET)
    elif market.is_retired:
        _refuse(state, command, command.market_no, RejectReason.MARKET_RETIRED)
    else:
        return market
    return None


def _refuse(state: State, command: ConfigCommand, subject_no: int, reason: RejectReason) -> None:
    state.emit(
        ConfigRefused(
            sequence=state.sequence,
            command=command_kind(command),
            subject_no=subject_no,
            reason=reason,
        )
    )
