"""I3, I11 and I12 after every command; hypothesis looks for the few commands that break them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from engine import commands as c
from engine import events as e
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce
from engine.invariants import check_invariants
from engine.market import fill_amounts
from engine.records import pack_command, pack_event, unpack_command, unpack_event
from engine.reference import ReferenceEngine
from tests.unit.engine.world import BASE, MARKET, QUOTE, START_NS, market

CUSTOMERS = st.sampled_from([1, 2, 3])
ASSETS = st.sampled_from([BASE, QUOTE])
AMOUNTS = st.integers(0, 2_000) | st.just((1 << 96) - 1)
PRICES = st.integers(1, 12)
LOTS = st.integers(1, 12)


@dataclass
class Tally:
    """What events say about one order."""

    quantity: int
    filled: int = 0
    reduced: int = 0
    cancelled: int = 0
    closings: int = 0

    @property
    def open_lots(self) -> int:
        """Return what must remain."""
        return self.quantity - self.filled - self.reduced - self.cancelled


class Exchange(RuleBasedStateMachine):
    """An engine, the sums its events imply, and a twin that lives from dumps and records only."""

    orders = Bundle("orders")
    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.engine = ReferenceEngine()
        self.twin = ReferenceEngine()
        self.client = self.number = 0
        self.time_ns = START_NS
        self.money: dict[tuple[int, int], int] = defaultdict(int)
        self.fees: dict[int, int] = defaultdict(int)
        self.net_entered: dict[int, int] = defaultdict(int)
        self.tallies: dict[int, Tally] = {}
        for command in (c.AddAsset(asset_no=BASE), c.AddAsset(asset_no=QUOTE)):
            self.do(command)
        self.do(market(tick_minor=3, lot_minor=2, maker_ppm=50_000, taker_ppm=100_000))
        for customer_no in (1, 2, 3):
            self.credit(customer_no, BASE, 100)
            self.credit(customer_no, QUOTE, 700)

    def do(self, command: c.Command) -> list[e.Event]:
        """Apply to both; the twin sees only records and may have been loaded from a dump."""
        sequence = self.engine.sequence + 1
        events = self.engine.apply(command, sequence=sequence, time_ns=self.time_ns)
        copied = unpack_command(pack_command(command))
        assert self.twin.apply(copied, sequence=sequence, time_ns=self.time_ns) == events
        for event in events:
            assert unpack_event(pack_event(event)) == event
            self.follow(event)
        return events

    def follow(self, event: e.Event) -> None:
        """Keep books from events alone, as settlement does."""
        match event:
            case e.Credited():
                self.money[event.customer_no, event.asset_no] += event.amount
                self.net_entered[event.asset_no] += event.amount
            case e.Debited():
                self.money[event.customer_no, event.asset_no] -= event.amount_taken
                self.net_entered[event.asset_no] -= event.amount_taken
            case e.Captured():
                self.money[event.customer_no, event.asset_no] -= event.amount
                self.net_entered[event.asset_no] -= event.amount
            case e.OrderAccepted():
                self.tallies[event.order_id] = Tally(event.quantity_lots)
            case e.Trade():
                self.trade(event)
            case e.OrderReduced():
                self.tallies[event.order_id].reduced += event.reduced_lots
            case e.OrderReplaced():
                self.tallies[event.order_id].quantity = event.quantity_lots
            case e.OrderCancelled():
                self.tallies[event.order_id].cancelled += event.cancelled_lots
                self.tallies[event.order_id].closings += 1
            case e.OrderFilled():
                self.tallies[event.order_id].closings += 1

    def trade(self, event: e.Trade) -> None:
        """Move both legs and both fees."""
        fill = fill_amounts(event, self.engine.markets()[event.market_no])
        for order_id in (event.taker_order_id, event.maker_order_id):
            self.tallies[order_id].filled += event.quantity_lots
        buyer, seller = fill.buyer_customer_no, fill.seller_customer_no
        assert buyer != seller
        self.money[buyer, fill.quote_asset_no] -= fill.quote_minor
        self.money[seller, fill.quote_asset_no] += fill.quote_minor - fill.seller_fee_quote
        self.money[seller, fill.base_asset_no] -= fill.base_minor
        self.money[buyer, fill.base_asset_no] += fill.base_minor - fill.buyer_fee_base
        self.fees[fill.base_asset_no] += fill.buyer_fee_base
        self.fees[fill.quote_asset_no] += fill.seller_fee_quote

    # ---- what may happen

    @rule(
        target=orders,
        customer_no=CUSTOMERS,
        side=st.sampled_from(Side),
        price=PRICES,
        lots=LOTS,
        tif=st.sampled_from(TimeInForce),
        how=st.sampled_from(SelfTrade),
        post_only=st.booleans(),
        kind=st.sampled_from(OrderKind),
    )
    def place(
        self,
        customer_no: int,
        side: Side,
        price: int,
        lots: int,
        tif: TimeInForce,
        how: SelfTrade,
        post_only: bool,
        kind: OrderKind,
    ) -> tuple[int, int]:
        self.client += 1
        command = c.PlaceOrder(
            customer_no=customer_no,
            client_order_id=self.client,
            market_no=MARKET,
            side=side,
            price_ticks=price,
            quantity_lots=lots,
            issued_ns=self.time_ns,
            kind=kind,
            tif=tif,
            post_only=post_only,
            stp=how,
        )
        [first, *_] = self.do(command)
        again = self.do(command)
        if isinstance(first, e.OrderAccepted):
            assert [type(event) for event in again] == [e.OrderDuplicate]
            return customer_no, first.order_id
        return customer_no, 0

    @rule(order=orders)
    def cancel(self, order: tuple[int, int]) -> None:
        self.do(c.CancelOrder(customer_no=order[0], order_id=order[1]))

    @rule(order=orders, price=PRICES, lots=LOTS)
    def replace(self, order: tuple[int, int], price: int, lots: int) -> None:
        command = c.ReplaceOrder(
            customer_no=order[0], order_id=order[1], price_ticks=price, quantity_lots=lots
        )
        self.do(command)

    @rule(customer_no=CUSTOMERS)
    def cancel_all(self, customer_no: int) -> None:
        self.do(c.CancelAll(customer_no=customer_no))
        assert self.engine.open_orders(customer_no) == []

    @rule(customer_no=CUSTOMERS, asset_no=ASSETS, amount=AMOUNTS)
    def credit(self, customer_no: int, asset_no: int, amount: int) -> None:
        self.number += 1
        command = c.Credit(
            number=self.number, customer_no=customer_no, asset_no=asset_no, amount=amount
        )
        self.do(command)
        before = self.engine.balances(customer_no)
        assert [type(event) for event in self.do(command)] == [e.FundingRepeated]
        assert self.engine.balances(customer_no) == before

    @rule(customer_no=CUSTOMERS, asset_no=ASSETS, amount=AMOUNTS)
    def debit(self, customer_no: int, asset_no: int, amount: int) -> None:
        self.number += 1
        self.do(
            c.Debit(number=self.number, customer_no=customer_no, asset_no=asset_no, amount=amount)
        )

    @rule(target=holds, customer_no=CUSTOMERS, asset_no=ASSETS, amount=AMOUNTS)
    def hold(self, customer_no: int, asset_no: int, amount: int) -> c.Hold:
        self.number += 1
        command = c.Hold(
            number=self.number, customer_no=customer_no, asset_no=asset_no, amount=amount
        )
        self.do(command)
        return command

    @rule(hold=consumes(holds), verb=st.sampled_from([c.Capture, c.Release]))
    def end_hold(self, hold: c.Hold, verb: type[c.Capture | c.Release]) -> None:
        is_live = any(live.number == hold.number for live in self.engine.live_holds())
        self.number += 1
        command = verb(
            number=self.number,
            hold_number=hold.number,
            customer_no=hold.customer_no,
            asset_no=hold.asset_no,
            amount=hold.amount,
        )
        [event] = self.do(command)
        assert isinstance(event, e.FundingRefused) != is_live

    @rule(hours=st.integers(0, 30))
    def wait(self, hours: int) -> None:
        self.time_ns += hours * 3600 * 10**9

    @rule()
    def restart_the_twin(self) -> None:
        self.twin = ReferenceEngine.load(self.twin.dump())

    # ---- what must hold

    @invariant()
    def nothing_is_broken(self) -> None:
        check_invariants(self.engine)
        check_invariants(self.twin)

    @invariant()
    def the_twin_is_equal(self) -> None:
        assert self.twin.dump() == self.engine.dump()

    @invariant()
    def balances_are_what_the_events_moved(self) -> None:
        for customer_no in (1, 2, 3):
            balances = self.engine.balances(customer_no)
            for asset_no in (BASE, QUOTE):
                assert sum(balances.get(asset_no, (0,))) == self.money[customer_no, asset_no]

    @invariant()
    def what_entered_is_with_customers_or_fees(self) -> None:
        for asset_no in (BASE, QUOTE):
            total = self.engine.totals(asset_no)
            inside = total.available + total.locked + total.held
            assert inside + self.fees[asset_no] == self.net_entered[asset_no] == total.supply
            assert total.fees == self.fees[asset_no]

    @invariant()
    def every_order_adds_up(self) -> None:
        open_orders = {order.order_id: order for order in self.engine.all_open_orders()}
        for order_id, tally in self.tallies.items():
            order = open_orders.get(order_id)
            assert tally.closings == (order is None)
            assert tally.open_lots == (order.remaining_lots if order else 0)
            assert tally.filled == (order.filled_lots if order else tally.filled)


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
