"""What a state looks like: books by market, queues, and how many bytes each part of it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.base import Depth, Engine, Level
from engine.enums import Side
from engine.market import Market

LEVELS_MOST = 1 << 30
ROW_BYTES = 64
"""Of one asset, market, balance, order, hold or client id in a dump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketShape:
    """One market's book; both sides best first."""

    market_no: int
    status: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @property
    def orders(self) -> int:
        """Return how many orders are open."""
        return sum(level.orders for level in (*self.bids, *self.asks))

    @property
    def levels(self) -> int:
        """Return how many prices have orders."""
        return len(self.bids) + len(self.asks)

    @property
    def best_bid_ticks(self) -> int | None:
        """Return the best price to sell at; None without a bid."""
        return self.bids[0].price_ticks if self.bids else None

    @property
    def best_ask_ticks(self) -> int | None:
        """Return the best price to buy at; None without an ask."""
        return self.asks[0].price_ticks if self.asks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the state: rows, and their bytes in a snapshot."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateShape:
    """A whole engine at one sequence."""

    sequence: int
    state_hash: bytes
    markets: tuple[MarketShape, ...]
    parts: tuple[Part, ...]

    @property
    def orders(self) -> int:
        """Return how many orders are open in all markets."""
        return sum(market.orders for market in self.markets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Prices of one side that stand together in a histogram of depth."""

    side: Side
    from_ticks: int
    to_ticks: int
    lots: int
    orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBin:
    """How many levels have a queue of from_orders up to to_orders."""

    from_orders: int
    to_orders: int
    levels: int


def shape_of(engine: Engine) -> StateShape:
    """Return what a state looks like."""
    markets = tuple(
        _market_shape(market, engine.depth(no, LEVELS_MOST))
        for no, market in sorted(engine.markets().items())
    )
    return StateShape(
        sequence=engine.sequence,
        state_hash=engine.state_hash(),
        markets=markets,
        parts=tuple(_parts(engine, sum(market.orders for market in markets))),
    )


def _market_shape(market: Market, depth: Depth) -> MarketShape:
    return MarketShape(
        market_no=market.market_no,
        status=market.status.name.lower(),
        bids=depth.bids,
        asks=depth.asks,
    )


def _parts(engine: Engine, orders: int) -> Iterator[Part]:
    rows = {
        "assets": len(engine.assets()),
        "markets": len(engine.markets()),
        "balances": sum(len(engine.balances(no)) for no in engine.customers()),
        "open orders": orders,
        "holds": len(engine.live_holds()),
    }
    for name, count in rows.items():
        yield Part(name=name, rows=count, bytes=count * ROW_BYTES)
    rest = len(engine.dump()) - ROW_BYTES * sum(rows.values())
    yield Part(name="client ids", rows=rest // ROW_BYTES, bytes=rest)


def depth_bins(market: MarketShape, *, bins: int, levels: int) -> list[Bin]:
    """Return the nearest levels of each side in at most so many bins of equal width, asks first.

    Both sides have the same width in ticks, so they can be compared; highest price first. The
    deepest prices beyond the nearest `levels` are left out.
    """
    near = {Side.SELL: market.asks[:levels], Side.BUY: market.bids[:levels]}
    reach = [
        abs(found[-1].price_ticks - found[0].price_ticks) + 1 for found in near.values() if found
    ]
    if not reach:
        return []
    width = -(-max(reach) // bins)
    asks = list(_side_bins(Side.SELL, near[Side.SELL], width))
    return [*reversed(asks), *_side_bins(Side.BUY, near[Side.BUY], width)]


def _side_bins(side: Side, levels: Sequence[Level], width: int) -> Iterator[Bin]:
    if not levels:
        return
    best, sign = levels[0].price_ticks, 1 if side is Side.SELL else -1
    found: dict[int, list[int]] = {}
    for level in levels:
        sums = found.setdefault(sign * (level.price_ticks - best) // width, [0, 0])
        sums[0] += level.quantity_lots
        sums[1] += level.orders
    for at in range(max(found) + 1):
        lots, orders = found.get(at, (0, 0))
        ends = sorted((best + sign * at * width, best + sign * ((at + 1) * width - 1)))
        yield Bin(side=side, from_ticks=ends[0], to_ticks=ends[1], lots=lots, orders=orders)


def queue_bins(markets: Sequence[MarketShape]) -> list[QueueBin]:
    """Return how long the queues are, each bin twice as wide as the one before."""
    found: dict[int, int] = {}
    for market in markets:
        for level in (*market.bids, *market.asks):
            power = level.orders.bit_length() - 1
            found[power] = found.get(power, 0) + 1
    return [
        QueueBin(from_orders=1 << power, to_orders=(2 << power) - 1, levels=found.get(power, 0))
        for power in range(max(found, default=-1) + 1)
    ]
