"""Assets, markets, fee rates, halts: configuration enters the engine only as commands."""

from __future__ import annotations

from dataclasses import replace

from core.ids import ASSET_NO_LIMIT, MARKET_NO_LIMIT
from core.money import ENGINE_AMOUNT_LIMIT
from engine.commands import AddAsset, AddMarket, HaltMarket, ResumeMarket, SetMarketFees
from engine.enums import RejectReason
from engine.events import (
    AssetAdded,
    ConfigRefused,
    MarketAdded,
    MarketFeesSet,
    MarketHalted,
    MarketResumed,
)
from engine.market import market_of, rates_are_valid
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
    if present and replace(present, is_halted=False) != market_of(command):
        return RejectReason.EXISTS_WITH_OTHER_CONTENT
    if not {command.base_asset_no, command.quote_asset_no} <= state.balances.assets.keys():
        return RejectReason.UNKNOWN_ASSET
    if command.base_asset_no == command.quote_asset_no:
        return RejectReason.INVALID_COMBINATION
    return None


def set_market_fees(state: State, command: SetMarketFees) -> None:
    """Change the rates of later fills."""
    market = state.markets.get(command.market_no)
    if not rates_are_valid(maker_ppm=command.maker_ppm, taker_ppm=command.taker_ppm):
        _refuse(state, command, command.market_no, RejectReason.AMOUNT_OUT_OF_RANGE)
    elif market is None:
        _refuse(state, command, command.market_no, RejectReason.UNKNOWN_MARKET)
    else:
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


def halt_market(state: State, command: HaltMarket) -> None:
    """Refuse orders from now on; halting twice is the same as once."""
    if _set_halted(state, command, is_halted=True):
        state.emit(MarketHalted(sequence=state.sequence, market_no=command.market_no))


def resume_market(state: State, command: ResumeMarket) -> None:
    """Take orders again."""
    if _set_halted(state, command, is_halted=False):
        state.emit(MarketResumed(sequence=state.sequence, market_no=command.market_no))


def _set_halted(state: State, command: HaltMarket | ResumeMarket, *, is_halted: bool) -> bool:
    market = state.markets.get(command.market_no)
    if market is None:
        _refuse(state, command, command.market_no, RejectReason.UNKNOWN_MARKET)
        return False
    state.markets[command.market_no] = replace(market, is_halted=is_halted)
    return True


def _refuse(
    state: State,
    command: AddAsset | AddMarket | SetMarketFees | HaltMarket | ResumeMarket,
    subject_no: int,
    reason: RejectReason,
) -> None:
    state.emit(
        ConfigRefused(
            sequence=state.sequence,
            command=command_kind(command),
            subject_no=subject_no,
            reason=reason,
        )
    )
