"""Rougher weather than `Commands`: far prices, tight limits, enormous amounts, deep queues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine import commands as c
from engine.base import Limits
from engine.enums import Side
from engine.laboratory.drawn import ASSETS, MARKETS, Commands
from engine.reference import DEFAULT_LIMITS

EDGE = (1 << 96) - 1


class Rough(Commands):
    """Draws as `Commands` does, under limits that belong to the weather."""

    limits: Limits = DEFAULT_LIMITS


class FarPrices(Rough):
    """Prices jump further than any window, drift away and come back; most orders wait long."""

    _mid = 1 << 40

    def _price(self, side: Side) -> int:
        draw = self.random
        if draw.random() < 0.01:
            self._mid = max(1 << 20, self._mid + draw.randrange(-(1 << 22), 1 << 22))
        reach = draw.choice([3, 50, 70_000, 1 << 19, 1 << 30])
        away = draw.randrange(-reach // 8, reach)
        if draw.random() < 0.005:
            return draw.choice([1, (1 << 63) - 1, 1 << 62])
        return max(1, self._mid - away if side is Side.BUY else self._mid + away)

    def _lots(self) -> int:
        return self.random.randrange(1, 30)

    def _amount(self, asset_no: int) -> int:  # noqa: ARG002
        return self.random.choice([0, 1, 1 << 50, 1 << 60])

    def opening(self) -> Iterator[c.Command]:
        """Make everybody rich enough for far prices."""
        yield from super().opening()
        for customer_no in self.customers:
            yield self._funded(c.Credit, customer_no, 2, 1 << 60)


class TightLimits(Rough):
    """Few orders may be open at few prices, and few are remembered."""

    limits = Limits(
        open_orders=12, open_orders_per_customer=3, remembered_orders=60, levels_per_side=2
    )


class FewLevels(FarPrices):
    """Orders wait at far prices, and a side of a market may have few of them."""

    limits = Limits(levels_per_side=8)


class Enormous(Rough):
    """Ticks, lots and balances near the edges of what is allowed; many sums would overflow."""

    def opening(self) -> Iterator[c.Command]:
        """Open markets with enormous ticks and lots, and bring the supply near its limit."""
        for asset_no in ASSETS:
            yield c.AddAsset(asset_no=asset_no)
        yield from self._opened(
            replace(MARKETS[1], tick_minor=1 << 89, lot_minor=EDGE),
            replace(MARKETS[2], tick_minor=(1 << 64) - 1, lot_minor=1 << 64),
        )
        for customer_no in self.customers:
            for asset_no in ASSETS:
                for _ in range(3):
                    yield self._funded(c.Credit, customer_no, asset_no, EDGE)

    def _price(self, side: Side) -> int:  # noqa: ARG002
        draw = self.random
        return draw.choice(
            [1, 1, 2, 3, 5, 100, 1 << 31, 1 << 32, (1 << 63) - 1, draw.randrange(150)]
        )

    def _lots(self) -> int:
        return self.random.choice([1, 1, 2, 3, 64, 127, 128, 1 << 31, (1 << 32) - 1, (1 << 63) - 1])

    def _amount(self, asset_no: int) -> int:  # noqa: ARG002
        return self.random.choice([0, 1, EDGE - 1, EDGE - 1, 1 << 95])

    def _debit(self) -> c.Command:
        asset_no = self.random.choice(ASSETS)
        return self._funded(c.Debit, self._customer(), asset_no, self._amount(asset_no))


class DeepQueues(Rough):
    """Two prices and small fills: long queues, many sweeps, many own orders met."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, customers=3, jumps=False)

    def _price(self, side: Side) -> int:
        return self.random.choice([99, 100]) if side is Side.BUY else self.random.choice([101, 102])

    def _lots(self) -> int:
        return self.random.randrange(1, 4) if self.random.random() < 0.97 else 400

    def _place(self) -> c.Command:
        order = super()._place()
        assert isinstance(order, c.PlaceOrder)
        if self.random.random() < 0.02:
            order = replace(order, price_ticks=102 if order.side is Side.BUY else 99)
            self.placed[-1] = order
        return order


class Fine(Rough):
    """The weather of the other tests."""


WEATHER: tuple[type[Rough], ...] = (
    Fine,
    FarPrices,
    TightLimits,
    FewLevels,
    Enormous,
    DeepQueues,
)
