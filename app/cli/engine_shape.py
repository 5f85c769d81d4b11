"""A state for people: tables, and histograms drawn with blocks."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from app.cli.output import emit
from engine.enums import Side
from engine.laboratory.machine import resident_bytes
from engine.laboratory.shape import (
    Bin,
    MarketShape,
    StateShape,
    depth_bins,
    queue_bins,
)

BINS_A_SIDE = 12
BAR_WIDTH = 48
MARKETS_SHOWN = 20
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def describe(shape: StateShape) -> dict[str, object]:
    """Return a state for programs."""
    return {
        "sequence": shape.sequence,
        "state_hash": shape.state_hash.hex(),
        "orders": shape.orders,
        "markets": [_market_row(market) for market in shape.markets],
        "queues": [
            {"from_orders": one.from_orders, "to_orders": one.to_orders, "levels": one.levels}
            for one in queue_bins(shape.markets)
        ],
        "parts": [
            {"part": part.name, "rows": part.rows, "bytes": part.bytes} for part in shape.parts
        ],
        "process_bytes": resident_bytes(),
    }


def draw(shape: StateShape, market_no: int | None, levels: int) -> None:
    """Write a state for people; the market with most orders is drawn unless one is named."""
    typer.echo(f"sequence {shape.sequence:,}, state {shape.state_hash.hex()}")
    ranked = sorted(shape.markets, key=lambda market: -market.orders)
    _heading(f"{_counted(len(ranked), 'market')}, {_counted(shape.orders, 'open order')}")
    emit([_grouped(_market_row(market)) for market in ranked[:MARKETS_SHOWN]])
    if len(ranked) > MARKETS_SHOWN:
        typer.echo(f"and {len(ranked) - MARKETS_SHOWN:,} more markets with fewer orders")
    chosen = [market for market in ranked if market_no in (None, market.market_no)][:1]
    for market in chosen:
        _draw_depth(market, levels)
    _draw_queues(shape.markets)
    _heading("what it takes in a snapshot")
    emit(
        [
            {"part": part.name, "rows": f"{part.rows:,}", "bytes": f"{part.bytes:,}"}
            for part in shape.parts
        ]
    )
    typer.echo(f"this process has touched {resident_bytes() >> 20:,} MB of memory")


def _market_row(market: MarketShape) -> dict[str, object]:
    bid, ask = market.best_bid_ticks, market.best_ask_ticks
    return {
        "market": market.market_no,
        "status": market.status,
        "orders": market.orders,
        "levels": market.levels,
        "bid_levels": len(market.bids),
        "ask_levels": len(market.asks),
        "best_bid": bid,
        "best_ask": ask,
        "spread": None if bid is None or ask is None else ask - bid,
        "longest_queue": max((level.orders for level in (*market.bids, *market.asks)), default=0),
    }


def _grouped(row: dict[str, object]) -> dict[str, object]:
    return {name: f"{value:,}" if type(value) is int else value for name, value in row.items()}


def _draw_depth(market: MarketShape, levels: int) -> None:
    bins = depth_bins(market, bins=BINS_A_SIDE, levels=levels)
    _heading(f"market {market.market_no}: lots by price, the nearest {levels} levels a side")
    labels = [_range(one.from_ticks, one.to_ticks) for one in bins]
    width = max(map(len, labels), default=0)
    most = max((one.lots for one in bins), default=1)
    for n, (label, one) in enumerate(zip(labels, bins, strict=True)):
        if n and bins[n - 1].side is not one.side:
            typer.echo(f"{'':>{width}}  ┄┄ the spread ┄┄")
        typer.echo(_depth_line(label.rjust(width), one, most))


def _depth_line(label: str, one: Bin, most: int) -> str:
    bar = typer.style(
        _bar(one.lots, most), fg=typer.colors.RED if one.side is Side.SELL else typer.colors.GREEN
    )
    return f"{label}  {bar} {_counted(one.lots, 'lot')}, {_counted(one.orders, 'order')}"


def _draw_queues(markets: Sequence[MarketShape]) -> None:
    bins = queue_bins(markets)
    _heading("orders per level: how many levels have such a queue")
    labels = [_range(one.from_orders, one.to_orders) for one in bins]
    width = max(map(len, labels), default=0)
    most = max((one.levels for one in bins), default=1)
    for label, one in zip(labels, bins, strict=True):
        typer.echo(
            f"{label.rjust(width)}  {_bar(one.levels, most)} {_counted(one.levels, 'level')}"
        )


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _bar(value: int, most: int) -> str:
    """Return a bar of blocks; what is not nothing is seen."""
    eighths = max(value * BAR_WIDTH * 8 // max(most, 1), 1 if value else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _heading(text: str) -> None:
    typer.echo("")
    typer.echo(typer.style(text, bold=True))
