"""A small exchange for tests: one engine, counters for sequence, time and funding, short verbs."""

from __future__ import annotations

import struct

import pytest

from core.clock import SECOND_NS
from engine.base import Balance, Engine, Limits
from engine.commands import (
    AddAsset,
    AddMarket,
    CancelAll,
    CancelOrder,
    Capture,
    Command,
    Credit,
    Debit,
    Hold,
    PlaceOrder,
    Release,
    ReplaceOrder,
)
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce
from engine.events import Event, OrderAccepted, OrderCancelled, Trade
from engine.factory import EngineKind, engine_factory
from engine.invariants import check_invariants
from engine.reference import DEFAULT_LIMITS

BASE, QUOTE = 1, 2
MARKET = 1
ALICE, BOB, CAROL, DAVE = 11, 12, 13, 14
START_NS = 1_700_000_000 * SECOND_NS


def market(**changes: int) -> AddMarket:
    """Return a market of one minor unit per tick and lot, without fees."""
    content = {
        "market_no": MARKET,
        "base_asset_no": BASE,
        "quote_asset_no": QUOTE,
        "tick_minor": 1,
        "lot_minor": 1,
        "maker_ppm": 0,
        "taker_ppm": 0,
    }
    return AddMarket(**(content | changes))


class World:
    """Applies commands in order and checks the invariants after each."""

    kind = EngineKind.REFERENCE
    """Changed by the fixture `each_engine` for the tests that ask for it."""

    def __init__(
        self, *, limits: Limits = DEFAULT_LIMITS, opened: AddMarket | None = None, rich: int = 10**6
    ) -> None:
        self.engine = engine_factory(World.kind, limits).new()
        self.time_ns = START_NS
        self.number = 0
        self.client_order_id = 0
        self.do(AddAsset(asset_no=BASE))
        self.do(AddAsset(asset_no=QUOTE))
        self.do(opened or market())
        if rich:
            for customer_no in (ALICE, BOB, CAROL, DAVE):
                self.credit(customer_no, BASE, rich)
                self.credit(customer_no, QUOTE, rich)

    def do(self, command: Command) -> list[Event]:
        """Apply one command."""
        events = self.engine.apply(command, sequence=self.engine.sequence + 1, time_ns=self.time_ns)
        check_invariants(self.engine)
        return events

    # ---- money

    def next_number(self) -> int:
        """Return the next funding number."""
        self.number += 1
        return self.number

    def credit(self, customer_no: int, asset_no: int, amount: int) -> Event:
        """Credit and return the answer."""
        command = Credit(
            number=self.next_number(), customer_no=customer_no, asset_no=asset_no, amount=amount
        )
        return self.do(command)[-1]

    def debit(self, customer_no: int, asset_no: int, amount: int) -> list[Event]:
        """Debit and return all events."""
        command = Debit(
            number=self.next_number(), customer_no=customer_no, asset_no=asset_no, amount=amount
        )
        return self.do(command)

    def hold(self, customer_no: int, asset_no: int, amount: int) -> Event:
        """Hold and return the answer."""
        command = Hold(
            number=self.next_number(), customer_no=customer_no, asset_no=asset_no, amount=amount
        )
        return self.do(command)[-1]

    def end_hold(
        self,
        verb: type[Capture] | type[Release],
        hold_number: int,
        customer_no: int,
        asset_no: int,
        amount: int,
    ) -> Event:
        """Capture or release and return the answer."""
        command = verb(
            number=self.next_number(),
            hold_number=hold_number,
            customer_no=customer_no,
            asset_no=asset_no,
            amount=amount,
        )
        return self.do(command)[-1]

    def balance(self, customer_no: int, asset_no: int) -> tuple[int, int, int]:
        """Return (available, locked, held)."""
        return self.engine.balances(customer_no).get(asset_no, Balance(0, 0, 0))

    # ---- orders

    def order(
        self, customer_no: int, side: Side, price_ticks: int, quantity_lots: int, **options: object
    ) -> PlaceOrder:
        """Return an order with a fresh client id and issue time."""
        self.client_order_id += 1
        content: dict[str, object] = {
            "customer_no": customer_no,
            "client_order_id": self.client_order_id,
            "market_no": MARKET,
            "side": side,
            "price_ticks": price_ticks,
            "quantity_lots": quantity_lots,
            "issued_ns": self.time_ns,
        }
        return PlaceOrder(**(content | options))  # type: ignore[arg-type]

    def buy(self, customer_no: int, price: int, lots: int, **options: object) -> list[Event]:
        """Place a buy."""
        return self.do(self.order(customer_no, Side.BUY, price, lots, **options))

    def sell(self, customer_no: int, price: int, lots: int, **options: object) -> list[Event]:
        """Place a sell."""
        return self.do(self.order(customer_no, Side.SELL, price, lots, **options))

    def cancel(self, customer_no: int, order_id: int) -> list[Event]:
        """Cancel one order."""
        return self.do(CancelOrder(customer_no=customer_no, order_id=order_id))

    def cancel_all(self, customer_no: int, market_no: int = 0) -> list[Event]:
        """Cancel all orders."""
        return self.do(CancelAll(customer_no=customer_no, market_no=market_no))

    def replace(self, customer_no: int, order_id: int, price: int, lots: int) -> list[Event]:
        """Replace an order."""
        return self.do(
            ReplaceOrder(
                customer_no=customer_no, order_id=order_id, price_ticks=price, quantity_lots=lots
            )
        )

    def bids(self) -> list[tuple[int, int]]:
        """Return (price, lots) of the bids, best first."""
        return [(level[0], level[1]) for level in self.engine.depth(MARKET, 100).bids]

    def asks(self) -> list[tuple[int, int]]:
        """Return (price, lots) of the asks, best first."""
        return [(level[0], level[1]) for level in self.engine.depth(MARKET, 100).asks]


def remembered_orders(engine: Engine) -> int:
    """Return how many client ids the engine remembers, as its dump counts them."""
    closed_clients, open_clients = struct.unpack_from("<2Q", engine.dump(), 112)
    return int(closed_clients + open_clients)


ONLY_REFERENCE = pytest.mark.parametrize("each_engine", [EngineKind.REFERENCE], indirect=True)
"""For commands that fit no record: they never reach an engine behind the journal."""


def accepted(events: list[Event]) -> int:
    """Return the id of the order these events begin with."""
    assert isinstance(events[0], OrderAccepted), events
    return events[0].order_id


def trades(events: list[Event]) -> list[tuple[int, int, int]]:
    """Return (maker's customer, price, lots) of every trade."""
    return [
        (event.maker_customer_no, event.price_ticks, event.quantity_lots)
        for event in events
        if isinstance(event, Trade)
    ]


def cancelled(events: list[Event]) -> list[tuple[int, int, str]]:
    """Return (customer, lots, reason) of every order cancelled."""
    return [
        (event.customer_no, event.cancelled_lots, event.reason.name)
        for event in events
        if isinstance(event, OrderCancelled)
    ]


def why(events: list[Event]) -> str:
    """Return the reason of a refusal, which is the only event."""
    assert len(events) == 1, events
    reason = getattr(events[0], "reason", None)
    assert reason is not None, events
    return str(reason.name.lower())


IOC: dict[str, object] = {"tif": TimeInForce.IOC}
FOK: dict[str, object] = {"tif": TimeInForce.FOK}
POST_ONLY: dict[str, object] = {"post_only": True}
AT_MARKET: dict[str, object] = {"kind": OrderKind.MARKET, "tif": TimeInForce.IOC}


def stp(how: SelfTrade) -> dict[str, object]:
    """Return the option."""
    return {"stp": how}
