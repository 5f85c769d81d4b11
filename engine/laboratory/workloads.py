"""Seeded workloads as command records: what the engine is asked while it is measured.

Four of them. All trade in markets against asset 1, with 10 000 customers who are rich in
everything, and orders that never meet one of the same customer by more than chance.

    w1      one market, 50 000 orders before the clock starts. 57 % orders that wait, most within
            40 ticks of a mid price that walks; 3 % that cross; 5 % immediate-or-cancel; 2.5 %
            market; 30 % cancels of any open order; 2.5 % replaces, half of which only shrink
    w100    the same over a hundred markets, the n-th asked about 1/n as often as the first;
            200 000 orders before the clock starts
    adv     made to hurt: 10 000 levels a side seven ticks apart, six of ten orders in one queue,
            far levels that come and go, 48 % cancels (most from the middle of that queue), sweeps;
            500 000 orders before the clock starts
    crash   w1, but once in a thousand commands the mid price jumps to between 2 000 and 38 000

An engine runs along while they are drawn, so what is cancelled or replaced is open. The numbers are
drawn as tests/benchmarks/native/workload.hpp draws them: same seed, same bytes.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.enums import CommandKind, EventKind, OrderKind, SelfTrade, Side, TimeInForce
from engine.laboratory.draws import Draws
from engine.records import RECORD_BYTES, RECORD_VERSION

NOW_NS = 1_700_000_000_000_000_000
CUSTOMERS = 10_000
MID_TICKS, ADVERSARIAL_MID_TICKS = 20_000, 500_000
RICH = 1 << 80
_WALL = 70_007 - 7

_CONFIG = struct.Struct("<BBHI56x")
_MARKET = struct.Struct("<BBHIHHII4x16s16s8x")
_FUND = struct.Struct("<BBHIQ16s32x")
_PLACE = struct.Struct("<BBHIQQqqqBBBBB11x")
_OF_ORDER = struct.Struct("<BBHIQ8xqq24x")
_EVENT = struct.Struct("<BBHIQQ")
_ACCEPTED = struct.Struct("<qq")
_SLOT_MASK = 0xFFFFFF
_CLOSING = (EventKind.ORDER_FILLED, EventKind.ORDER_CANCELLED)


class Applies(Protocol):
    """What a workload needs of the engine that runs along."""

    def apply_records(self, records: bytes, *, first_sequence: int, time_ns: int) -> bytes:
        """Apply command records, return event records."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a workload is called, what it is, and what waits before the clock starts."""

    name: str
    about: str
    markets: int
    waiting: int


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(name="w1", about="one market", markets=1, waiting=50_000),
        Shape(name="w100", about="a hundred markets", markets=100, waiting=200_000),
        Shape(name="adv", about="deep book, one long queue", markets=1, waiting=500_000),
        Shape(name="crash", about="one market, the price jumps", markets=1, waiting=50_000),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Records that open the markets, make people rich and fill the books; then what is timed."""

    name: str
    seed: int
    opening: bytes
    timed: bytes

    @property
    def opening_count(self) -> int:
        """Return how many commands come before those that are timed."""
        return len(self.opening) // RECORD_BYTES

    @property
    def count(self) -> int:
        """Return how many commands are timed."""
        return len(self.timed) // RECORD_BYTES


@dataclass(slots=True)
class _Live:
    order_id: int
    customer_no: int
    price_ticks: int
    lots: int


def make(
    name: str,
    *,
    seed: int,
    commands: int,
    engine: Applies,
    waiting: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Workload:
    """Draw a workload; `engine` is a new one and ends where the workload does.

    `waiting` is how many orders come before the clock starts, instead of the workload's own number.
    `told` hears now and then how many commands there are. KeyError: no workload of this name.
    """
    maker = _Maker(SHAPES[name], seed, engine, told)
    return maker.make(commands, SHAPES[name].waiting if waiting is None else waiting)


def size_of(name: str, *, commands: int, waiting: int | None = None) -> int:
    """Return how many commands make() will draw in all."""
    shape = SHAPES[name]
    opening = 1 + 2 * shape.markets + CUSTOMERS * (shape.markets + 1)
    return opening + (shape.waiting if waiting is None else waiting) + commands


class _Maker:
    def __init__(
        self, shape: Shape, seed: int, engine: Applies, told: Callable[[int], None]
    ) -> None:
        self._name, self._seed, self._markets = shape.name, seed, shape.markets
        self._draws = Draws(seed)
        self._engine = engine
        self._told = told
        self._sequence = 0
        self._number = 0
        self._client = 0
        self._target = 0
        mid = ADVERSARIAL_MID_TICKS if self._name == "adv" else MID_TICKS
        self._mids = [mid] * shape.markets
        self._ends = _zipf_ends(shape.markets)
        self._live: list[_Live] = []
        self._places: dict[int, int] = {}
        self._made: list[bytes] = []

    def make(self, commands: int, waiting: int) -> Workload:
        self._open()
        for _ in range(waiting):
            if self._name == "adv":
                self._place_adversarial()
            else:
                self._place(0)
        opening = b"".join(self._made)
        self._target = len(self._live)
        self._made = []
        draw = self._draw_adversarial if self._name == "adv" else self._draw
        for _ in range(commands):
            draw()
        self._told(self._sequence)
        return Workload(
            name=self._name, seed=self._seed, opening=opening, timed=b"".join(self._made)
        )

    def _open(self) -> None:
        records = [_CONFIG.pack(CommandKind.ADD_ASSET, RECORD_VERSION, 1, 0)]
        tick, lot = (1_000).to_bytes(16, "little"), (100_000).to_bytes(16, "little")
        for no in range(1, self._markets + 1):
            records.append(_CONFIG.pack(CommandKind.ADD_ASSET, RECORD_VERSION, no + 1, 0))
            records.append(
                _MARKET.pack(
                    CommandKind.ADD_MARKET, RECORD_VERSION, no, 0, no + 1, 1, 200, 500, tick, lot
                )
            )
        amount = RICH.to_bytes(16, "little")
        for customer_no in range(1, CUSTOMERS + 1):
            for asset_no in range(1, self._markets + 2):
                self._number += 1
                records.append(
                    _FUND.pack(
                        CommandKind.CREDIT, RECORD_VERSION, asset_no, customer_no, self._number,
                        amount,
                    )
                )  # fmt: skip
        self._made = records
        for at in range(0, len(records), 1024):
            batch = b"".join(records[at : at + 1024])
            first = self._sequence + 1
            self._engine.apply_records(batch, first_sequence=first, time_ns=NOW_NS)
            self._sequence += len(batch) // RECORD_BYTES
            self._told(self._sequence)

    def _say(self, record: bytes) -> None:
        self._made.append(record)
        self._sequence += 1
        events = self._engine.apply_records(record, first_sequence=self._sequence, time_ns=NOW_NS)
        for at in range(0, len(events), RECORD_BYTES):
            self._follow(events, at)
        if not self._sequence & 4095:
            self._told(self._sequence)

    def _follow(self, events: bytes, at: int) -> None:
        """Know which orders are open, in an order that every language keeps in the same way."""
        kind = events[at]
        if kind == EventKind.ORDER_ACCEPTED:
            _, _, _, customer_no, _, order_id = _EVENT.unpack_from(events, at)
            price_ticks, lots = _ACCEPTED.unpack_from(events, at + 40)
            self._places[order_id & _SLOT_MASK] = len(self._live)
            self._live.append(_Live(order_id, customer_no, price_ticks, lots))
        elif kind in _CLOSING:
            order_id = _EVENT.unpack_from(events, at)[5]
            place, last = self._places[order_id & _SLOT_MASK], self._live[-1]
            self._live[place] = last
            self._places[last.order_id & _SLOT_MASK] = place
            self._live.pop()

    # ---- w1, w100 and crash

    def _draw(self) -> None:
        if self._name == "crash" and self._draws.chance(1):
            self._mids[0] = 2_000 + self._draws.below(36_000)
        dice = self._draws.below(1000)
        if dice < 570:
            self._place(0)
        elif dice < 600:
            self._place(1)
        elif dice < 650:
            self._place(2)
        elif dice < 675:
            self._place(3)
        elif dice < 975:
            self._cancel()
        else:
            self._replace()

    def _market(self) -> int:
        if self._markets == 1:
            return 1
        return min(bisect_right(self._ends, self._draws.below(1 << 20)), self._markets - 1) + 1

    def _place(self, how: int) -> None:
        """Place an order. how: 0 waits, 1 crosses, 2 immediate-or-cancel, 3 market."""
        draws, no = self._draws, self._market()
        if draws.chance(20):
            self._mids[no - 1] += 1 if draws.chance(500) else -1
        sells = draws.chance(500)
        away = 1 + draws.below(150 if draws.chance(300) else 40)
        lots = 1 + draws.below(100)
        if how:
            away = -(10 + draws.below(30))
            too_many = self._target and len(self._live) > self._target
            lots = draws.below(550 if too_many else 80) + 1
        mid = self._mids[no - 1]
        self._order(
            no, sells, mid + away if sells else mid - away, lots,
            OrderKind.MARKET if how == 3 else OrderKind.LIMIT,
            TimeInForce.IOC if how >= 2 else TimeInForce.GTC,
        )  # fmt: skip

    def _order(
        self, no: int, sells: bool, price_ticks: int, lots: int, kind: OrderKind, tif: TimeInForce
    ) -> None:
        self._client += 1
        customer_no = 1 + self._draws.below(CUSTOMERS)
        self._say(
            _PLACE.pack(
                CommandKind.PLACE_ORDER, RECORD_VERSION, no, customer_no, self._client,
                self._draws.next(), max(price_ticks, 1), lots, NOW_NS,
                Side.SELL if sells else Side.BUY, kind, tif, 0, SelfTrade.CANCEL_NEWEST,
            )
        )  # fmt: skip

    def _cancel(self) -> None:
        order = self._live[self._draws.below(len(self._live))]
        self._say(
            _OF_ORDER.pack(
                CommandKind.CANCEL_ORDER, RECORD_VERSION, 0, order.customer_no, order.order_id, 0, 0
            )
        )

    def _replace(self) -> None:
        order = self._live[self._draws.below(len(self._live))]
        shrinks = self._draws.chance(500)
        price_ticks = order.price_ticks + (0 if shrinks else self._draws.below(5) - 2)
        self._say(
            _OF_ORDER.pack(
                CommandKind.REPLACE_ORDER, RECORD_VERSION, 0, order.customer_no, order.order_id,
                price_ticks, max(1, order.lots - 1),
            )
        )  # fmt: skip

    # ---- adv

    def _place_adversarial(self) -> None:
        draws, mid = self._draws, self._mids[0]
        sells = draws.chance(500)
        away = 7 * (1 + draws.below(10_000))
        dice = draws.below(10)
        if dice < 6:
            away, sells = _WALL, True
        elif dice < 8:
            away = draws.below(ADVERSARIAL_MID_TICKS - 2) + 1
        lots = 1 + draws.below(20)
        price_ticks = mid + away if sells else mid - away
        self._order(1, sells, price_ticks, lots, OrderKind.LIMIT, TimeInForce.GTC)

    def _draw_adversarial(self) -> None:
        dice = self._draws.below(1000)
        if dice < 480:
            self._place_adversarial()
        elif dice < 960:
            self._cancel()
        else:
            sells = self._draws.chance(500)
            away, mid = 7 * self._draws.below(300), self._mids[0]
            lots = 1 + self._draws.below(200)
            price_ticks = mid - away if sells else mid + away
            self._order(1, sells, price_ticks, lots, OrderKind.LIMIT, TimeInForce.IOC)


def _zipf_ends(markets: int) -> list[int]:
    total, so_far, ends = sum(1 / n for n in range(1, markets + 1)), 0.0, []
    for n in range(1, markets + 1):
        so_far += 1 / n
        ends.append(int(so_far / total * (1 << 20)))
    return ends
