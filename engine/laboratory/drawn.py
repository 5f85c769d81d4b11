"""Seeded random commands over all of the engine's verbs, good ones and bad ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from core.clock import DAY_NS, SECOND_NS
from core.entropy import SeededDice
from engine import commands as c
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce
from engine.events import (
    Event,
    Held,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
)

ASSETS = (1, 2, 3)
MARKETS = {
    1: c.AddMarket(
        market_no=1, base_asset_no=1, quote_asset_no=2, tick_minor=3, lot_minor=7,
        maker_ppm=1_000, taker_ppm=2_500,
    ),
    2: c.AddMarket(
        market_no=2, base_asset_no=3, quote_asset_no=2, tick_minor=1, lot_minor=10**9,
        maker_ppm=0, taker_ppm=333_333,
    ),
}  # fmt: skip


class Commands:
    """Draws the next command from what happened so far; `observe` every answer."""

    def __init__(self, seed: int, *, customers: int = 8, jumps: bool = True) -> None:
        self.random = SeededDice(seed)
        self.customers = range(1, customers + 1)
        self.time_ns = 1_700_000_000 * SECOND_NS
        self.number = 0
        self.client = 0
        self.jumps = jumps
        self.open: dict[int, int] = {}
        self.placed: list[c.PlaceOrder] = []
        self.holds: dict[int, c.Hold] = {}
        self.markets: dict[int, c.AddMarket] = {}
        """The two markets that trade; a retired one is followed by another of its kind."""
        self.halted: set[int] = set()
        self.retired: dict[int, c.AddMarket] = {}
        self._next: list[c.Command] = []
        self._asked: dict[int, c.Hold] = {}

    def opening(self) -> Iterator[c.Command]:
        """Yield the assets, the markets and some money; every third customer is poor."""
        for asset_no in ASSETS:
            yield c.AddAsset(asset_no=asset_no)
        yield from self._opened(*MARKETS.values())
        for customer_no in self.customers:
            for asset_no in ASSETS:
                amount = 5_000 if customer_no % 3 == 0 else 10**6
                amount *= 10**9 if asset_no == 3 else 1
                yield self._funded(c.Credit, customer_no, asset_no, amount)

    def _opened(self, *markets: c.AddMarket) -> Iterator[c.Command]:
        for market in markets:
            self.markets[market.market_no] = market
            yield market

    def next(self) -> c.Command:
        """Return one command; time moves on, seldom by hours."""
        if self._next:
            return self._next.pop()
        self.time_ns += self.random.randrange(SECOND_NS)
        if self.jumps and self.random.random() < 0.002:
            self.time_ns += self.random.randrange(DAY_NS)
        if self.halted and self.random.random() < 0.05:
            return c.ResumeMarket(market_no=self.halted.pop())
        verbs: list[tuple[Callable[[], c.Command], int]] = [
            (self._place, 600),
            (self._retry, 20),
            (self._cancel, 140),
            (self._replace, 90),
            (self._cancel_all, 5),
            (self._credit, 50),
            (self._hold, 40),
            (self._end_hold, 40),
            (self._debit, 4),
            (self._configure, 14),
        ]
        [verb] = self.random.choices([v for v, _ in verbs], [w for _, w in verbs])
        return verb()

    def observe(self, events: list[Event]) -> None:
        """Learn order ids and live holds from the answer."""
        for event in events:
            if isinstance(event, OrderAccepted):
                self.open[event.order_id] = event.customer_no
            elif isinstance(event, OrderFilled | OrderCancelled):
                del self.open[event.order_id]
            elif isinstance(event, Held):
                self.holds[event.number] = self._asked.pop(event.number)

    # ---- orders

    def _customer(self) -> int:
        return self.random.choice(self.customers)

    def _place(self) -> c.Command:
        draw = self.random
        self.client += 1
        side = draw.choice(list(Side))
        kind = draw.choices(list(OrderKind), [9, 1])[0]
        tif = draw.choices(list(TimeInForce), [7, 1, 2])[0]
        order = c.PlaceOrder(
            customer_no=self._customer(),
            client_order_id=self.client | draw.getrandbits(64) << 64,
            market_no=self._market(),
            side=side,
            price_ticks=self._price(side),
            quantity_lots=self._lots(),
            issued_ns=self._issued(),
            kind=kind,
            tif=TimeInForce.IOC if kind is OrderKind.MARKET and draw.random() < 0.9 else tif,
            post_only=draw.random() < (0.1 if tif is TimeInForce.GTC else 0.02),
            stp=draw.choice(list(SelfTrade)),
        )
        self.placed.append(order)
        return order

    def _market(self) -> int:
        gone = max(self.retired, default=999)
        [market_no] = self.random.choices([*self.markets, 999, gone], [60, 38, 1, 2])
        return market_no

    def _price(self, side: Side) -> int:
        draw = self.random
        if draw.random() < 0.01:
            return draw.choice([0, -1, (1 << 63) - 1, 1 << 60])
        return (98 if side is Side.BUY else 102) + round(draw.gauss(0, 3))

    def _lots(self) -> int:
        draw = self.random
        if draw.random() < 0.01:
            return draw.choice([0, -7, (1 << 63) - 1, 1 << 40])
        return draw.randrange(1, 40)

    def _issued(self) -> int:
        draw = self.random.random()
        if draw < 0.97:
            return self.time_ns - self.random.randrange(SECOND_NS)
        return self.time_ns + self.random.choice([-DAY_NS - 1, -DAY_NS, 60 * SECOND_NS, DAY_NS])

    def _retry(self) -> c.Command:
        if not self.placed:
            return self._place()
        order = self.random.choice(self.placed[-300:])
        if self.random.random() < 0.3:
            return replace(order, quantity_lots=order.quantity_lots - 1)
        return order

    def _order(self) -> tuple[int, int]:
        if not self.open or self.random.random() < 0.03:
            return self._customer(), self.random.getrandbits(40)
        order_id = self.random.choice(list(self.open))
        owner = self.open[order_id]
        return (owner if self.random.random() < 0.97 else self._customer()), order_id

    def _cancel(self) -> c.Command:
        customer_no, order_id = self._order()
        return c.CancelOrder(customer_no=customer_no, order_id=order_id)

    def _replace(self) -> c.Command:
        customer_no, order_id = self._order()
        return c.ReplaceOrder(
            customer_no=customer_no,
            order_id=order_id,
            price_ticks=self._price(self.random.choice(list(Side))),
            quantity_lots=self._lots(),
        )

    def _cancel_all(self) -> c.Command:
        return c.CancelAll(
            customer_no=self._customer(), market_no=self.random.choice([0, *self.markets])
        )

    # ---- money

    def _amount(self, asset_no: int) -> int:
        scale = 10**9 if asset_no == 3 else 1
        return self.random.choice([0, 1, 100, 5_000, 20_000]) * scale

    def _funded(
        self, verb: type[c.Credit | c.Debit | c.Hold], customer_no: int, asset_no: int, amount: int
    ) -> c.Credit | c.Debit | c.Hold:
        number = self.number + 1
        if self.number and self.random.random() < 0.03:
            number = self.random.randrange(1, number)  # sent twice
        self.number = max(self.number, number)
        return verb(number=number, customer_no=customer_no, asset_no=asset_no, amount=amount)

    def _credit(self) -> c.Command:
        asset_no = self.random.choice((*ASSETS, *ASSETS, 9))
        return self._funded(c.Credit, self._customer(), asset_no, self._amount(asset_no))

    def _debit(self) -> c.Command:
        asset_no = self.random.choice(ASSETS)
        return self._funded(c.Debit, self._customer(), asset_no, self._amount(asset_no) * 20)

    def _hold(self) -> c.Command:
        asset_no = self.random.choice(ASSETS)
        hold = self._funded(c.Hold, self._customer(), asset_no, self._amount(asset_no))
        assert isinstance(hold, c.Hold)
        self._asked.setdefault(hold.number, hold)
        return hold

    def _end_hold(self) -> c.Command:
        verb: type[c.Capture | c.Release] = c.Capture if self.random.random() < 0.5 else c.Release
        self.number += 1
        if not self.holds or self.random.random() < 0.05:
            return verb(number=self.number, hold_number=1, customer_no=1, asset_no=1, amount=1)
        hold_number = self.random.choice(list(self.holds))
        hold = self.holds[hold_number]
        wrong = self.random.random() < 0.05
        if not wrong:
            del self.holds[hold_number]
        return verb(
            number=self.number,
            hold_number=hold_number,
            customer_no=hold.customer_no,
            asset_no=hold.asset_no,
            amount=hold.amount + wrong,
        )

    # ---- configuration

    def _configure(self) -> c.Command:
        draw = self.random
        market_no = draw.choice([*self.markets, *self.markets, max(self.retired, default=999), 999])
        verbs = [self._fees, self._collar, self._halt, self._add_again, self._retire]
        [verb] = draw.choices(verbs, [25, 45, 15, 8, 18])
        return verb(market_no)

    def _fees(self, market_no: int) -> c.Command:
        maker_ppm = self.random.choice([0, 1, 1_000, 10**6, 10**6 + 1])
        taker_ppm = self.random.choice([0, 1, 2_500, 10**6])
        if market_no in self.markets and maker_ppm <= 10**6:
            changed = replace(self.markets[market_no], maker_ppm=maker_ppm, taker_ppm=taker_ppm)
            self.markets[market_no] = changed
        return c.SetMarketFees(market_no=market_no, maker_ppm=maker_ppm, taker_ppm=taker_ppm)

    def _collar(self, market_no: int) -> c.Command:
        draw = self.random
        return c.SetMarketCollar(
            market_no=market_no,
            collar_ppm=draw.choice([0, 0, 1, 10_000, 20_000, 40_000, 60_000, 10**8, 10**8 + 1]),
            reference_ticks=draw.choice([0, 0, 0, self._price(draw.choice(list(Side)))]),
        )

    def _halt(self, market_no: int) -> c.Command:
        if market_no in self.markets:
            self.halted.add(market_no)
        return c.HaltMarket(market_no=market_no)

    def _add_again(self, market_no: int) -> c.Command:
        known = self.markets | self.retired
        market = known.get(market_no) or self.random.choice(list(known.values()))
        return replace(market, taker_ppm=market.taker_ppm + self.random.randrange(2))

    def _retire(self, market_no: int) -> c.Command:
        if market_no in self.markets:
            self.retired[market_no] = self.markets.pop(market_no)
            after = replace(self.retired[market_no], market_no=2 + len(self.retired))
            self.markets[after.market_no] = after
            self.halted.discard(market_no)
            self._next.append(after)
        return c.RetireMarket(market_no=market_no)
