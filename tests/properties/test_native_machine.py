"""L09: every command to both engines, edges included; what differs shrinks to a few commands.

Commands go over one by one or gathered into a batch. After every step the events, the state hash
and the invariants (I3, I11) are compared; planted bugs prove that the machine finds what it should.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from core.clock import SECOND_NS
from core.errors import Corrupt
from engine import commands as c
from engine import events as e
from engine.base import ISSUE_AGE_LIMIT_NS, ISSUE_LEAD_LIMIT_NS, REMEMBER_NS, Engine, Limits
from engine.enums import OrderKind, SelfTrade, Side, TimeInForce
from engine.invariants import check_invariants
from engine.native.engine import NativeEngine
from engine.records import pack_command, unpack_events
from engine.reference import ReferenceEngine
from tests.unit.engine.world import START_NS

U16, U32, I64, U64, U128 = 1 << 16, 1 << 32, 1 << 63, 1 << 64, 1 << 128
LARGEST = (1 << 96) - 1
FEW_COMMANDS = 10
"""Three are needed; the shrinker rests where no single step can go: 3, 4, 5 and 8 were seen."""
LIMITS = Limits(open_orders=9, open_orders_per_customer=5, remembered_orders=24, levels_per_side=3)


def mostly(usual: Sequence[int], *edges: int) -> st.SearchStrategy[int]:
    """Return a strategy that seldom leaves the usual numbers."""
    return st.sampled_from([*usual] * (1 + 4 * len(edges) // len(usual)) + list(edges))


CUSTOMERS = mostly([1, 2, 3], 0, U32 - 1)
ASSETS = mostly([1, 2, 0], 3, U16 - 1)
MARKETS = mostly([1, 2, 3], 0, 9, U16 - 1)
PRICES = mostly([3, 2, 4, 1, 5], 0, -1, 300, U32, (1 << 48) + 1, I64 - 1, -I64)
LOTS = mostly([1, 2, 3, 7], 0, -1, 40, U32, (1 << 48) - 1, I64 - 1, -I64)
FEW = st.integers(1, 3)
HOW = st.sampled_from(SelfTrade)
AMOUNTS = mostly([5, 1, 40, 700], 0, LARGEST, LARGEST - 1, U64)
UNITS = mostly([1, 3], 0, 1 << 90, LARGEST, U64)
PPM = mostly([0, 1, 100_000], 10**6, 10**6 + 1, U32 - 1)
AGES = mostly(
    [0], ISSUE_AGE_LIMIT_NS, ISSUE_AGE_LIMIT_NS + 1, -ISSUE_LEAD_LIMIT_NS, -ISSUE_LEAD_LIMIT_NS - 1,
    I64 - 1, -I64,
)  # fmt: skip
WAITS = mostly([1, 60 * SECOND_NS], ISSUE_AGE_LIMIT_NS, REMEMBER_NS, REMEMBER_NS + 1, 1 << 62)
PICKS = mostly([0, 1, 2, 3], 12)
"""Which of the things known so far; beyond them, something that is not known."""


CONFIGURATION: st.SearchStrategy[c.ConfigCommand] = st.one_of(
    st.builds(c.AddAsset, asset_no=ASSETS),
    st.builds(
        c.AddMarket, market_no=MARKETS, base_asset_no=ASSETS, quote_asset_no=ASSETS,
        tick_minor=UNITS, lot_minor=UNITS, maker_ppm=PPM, taker_ppm=PPM,
    ),
    st.builds(c.SetMarketFees, market_no=MARKETS, maker_ppm=PPM, taker_ppm=PPM),
    st.builds(
        c.SetMarketCollar, market_no=MARKETS,
        collar_ppm=mostly([0, 400_000], 1, 10**6, 10**8, 10**8 + 1, U32 - 1),
        reference_ticks=mostly([0, 3], 4, -1, I64 - 1, -I64),
    ),
    st.builds(c.HaltMarket, market_no=MARKETS),
    st.builds(c.ResumeMarket, market_no=MARKETS),
    st.builds(c.RetireMarket, market_no=MARKETS),
)  # fmt: skip


class Pair(RuleBasedStateMachine):
    """Both engines, and what somebody who sees the answers would know."""

    other: ClassVar[type[NativeEngine | ReferenceEngine]] = NativeEngine
    look = staticmethod(check_invariants)
    commands: ClassVar[list[c.Command]] = []
    """Of the latest run, without the opening: in the end, of the shortest that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.reference, self.native = ReferenceEngine(LIMITS), self.other(LIMITS)
        self.time_ns, self.number, self.client = START_NS, 0, 100
        self.placed: list[c.PlaceOrder] = []
        self.accepted: list[e.OrderAccepted] = []
        self.holds: list[e.Held] = []
        self.records: list[bytes] = []
        self.expected: list[e.Event] = []
        self.is_gathering, self.is_equal = False, True

    @initialize()
    def open(self) -> None:
        """One market of small units, one where an order of one lot is the largest there is."""
        self.gather()
        for asset_no in (0, 1, 2):
            self.do(c.AddAsset(asset_no=asset_no))
        small = c.AddMarket(
            market_no=1, base_asset_no=1, quote_asset_no=2, tick_minor=3, lot_minor=2,
            maker_ppm=50_000, taker_ppm=100_000,
        )  # fmt: skip
        large = replace(small, market_no=2, tick_minor=LARGEST, lot_minor=LARGEST, taker_ppm=10**6)
        self.do(small)
        self.do(large)
        for customer_no in (1, 2):
            for asset_no in (0, 1, 2):
                self.fund(c.Credit, customer_no, asset_no, 700)
        self.apply_gathered()
        Pair.commands = []

    def do(self, command: c.Command) -> None:
        """Apply to the reference at once and to the native engine with its batch."""
        Pair.commands.append(command)
        sequence = self.reference.sequence + 1
        events = self.reference.apply(command, sequence=sequence, time_ns=self.time_ns)
        for event in events:
            if isinstance(event, e.OrderAccepted):
                self.accepted.append(event)
            elif isinstance(event, e.Held):
                self.holds.append(event)
        self.records.append(pack_command(command))
        self.expected += events
        if not self.is_gathering:
            self.compare()

    def compare(self) -> None:
        """Apply what was gathered; everything must be equal and whole."""
        records, expected = b"".join(self.records), self.expected
        self.records, self.expected = [], []
        self.is_equal = False
        first = self.native.sequence + 1
        answer = self.native.apply_records(records, first_sequence=first, time_ns=self.time_ns)
        assert unpack_events(answer) == expected
        assert self.native.state_hash() == self.reference.state_hash()
        self.look(self.native)
        self.is_equal = True

    # ---- batches, time, restarts

    @rule()
    def gather(self) -> None:
        """Let the next commands go over as one batch."""
        self.is_gathering = True

    @rule()
    def apply_gathered(self) -> None:
        """End the batch; an empty one changes nothing."""
        self.compare()
        self.is_gathering = False

    @rule(wait_ns=WAITS)
    def wait(self, wait_ns: int) -> None:
        """A batch has one time."""
        self.apply_gathered()
        self.time_ns = min(self.time_ns + wait_ns, I64 - 1)

    @rule()
    def restart(self) -> None:
        """Each goes on from the other's dump."""
        self.apply_gathered()
        dump = self.reference.dump()
        self.reference = ReferenceEngine.load(self.native.dump(), LIMITS)
        self.native = self.other.load(dump, LIMITS)

    @rule(command=CONFIGURATION)
    def configure(self, command: c.ConfigCommand) -> None:
        self.do(command)

    # ---- orders

    @rule(customer_no=FEW, price=FEW, lots=FEW, tif=st.sampled_from(TimeInForce), how=HOW)
    def buy(
        self, customer_no: int, price: int, lots: int, tif: TimeInForce, how: SelfTrade
    ) -> None:
        """Place an order that is mostly taken; `place` tries what is mostly refused."""
        self.trade(Side.BUY, customer_no, price, lots, tif, how)

    @rule(customer_no=FEW, price=FEW, lots=FEW, tif=st.sampled_from(TimeInForce), how=HOW)
    def sell(
        self, customer_no: int, price: int, lots: int, tif: TimeInForce, how: SelfTrade
    ) -> None:
        self.trade(Side.SELL, customer_no, price, lots, tif, how)

    def trade(
        self, side: Side, customer_no: int, price: int, lots: int, tif: TimeInForce, how: SelfTrade
    ) -> None:
        self.place(
            customer_no=customer_no, market_no=1, side=side, price=price, lots=lots, age_ns=0,
            kind=OrderKind.LIMIT, tif=tif, how=how, post_only=False, client=None,
        )  # fmt: skip

    @rule(
        customer_no=CUSTOMERS,
        market_no=MARKETS,
        side=st.sampled_from(Side),
        price=PRICES,
        lots=LOTS,
        age_ns=AGES,
        kind=st.sampled_from([OrderKind.LIMIT, OrderKind.LIMIT, OrderKind.MARKET]),
        tif=st.sampled_from([TimeInForce.GTC, TimeInForce.GTC, *TimeInForce]),
        how=HOW,
        post_only=st.sampled_from([False, False, False, True]),
        client=st.none() | st.sampled_from([0, 1, U64, U128 - 1]),
    )
    def place(
        self, customer_no: int, market_no: int, side: Side, price: int, lots: int, age_ns: int,
        kind: OrderKind, tif: TimeInForce, how: SelfTrade, post_only: bool, client: int | None,
    ) -> None:  # fmt: skip
        self.client += 1
        order = c.PlaceOrder(
            customer_no=customer_no,
            client_order_id=self.client if client is None else client,
            market_no=market_no,
            side=side,
            price_ticks=price,
            quantity_lots=lots,
            issued_ns=max(-I64, min(I64 - 1, self.time_ns - age_ns)),
            kind=kind,
            tif=tif,
            post_only=post_only,
            stp=how,
        )
        self.placed.append(order)
        self.do(order)

    @rule(pick=PICKS, is_other=st.booleans())
    def retry(self, pick: int, is_other: bool) -> None:
        """Send an order again, as it was or with other content under its id."""
        if pick < len(self.placed):
            order = self.placed[-1 - pick]
            self.do(replace(order, price_ticks=7) if is_other else order)

    def order(self, pick: int) -> tuple[int, int]:
        """Return the customer and id of one of the latest orders, or of none."""
        if pick >= len(self.accepted):
            return 1, pick - 12 & U64 - 1
        order = self.accepted[-1 - pick]
        return order.customer_no, order.order_id

    @rule(pick=PICKS, somebody=mostly([0], 1))
    def cancel(self, pick: int, somebody: int) -> None:
        customer_no, order_id = self.order(pick)
        self.do(c.CancelOrder(customer_no=(customer_no + somebody) % U32, order_id=order_id))

    @rule(pick=PICKS, price=PRICES, lots=LOTS)
    def replace(self, pick: int, price: int, lots: int) -> None:
        customer_no, order_id = self.order(pick)
        command = c.ReplaceOrder(
            customer_no=customer_no, order_id=order_id, price_ticks=price, quantity_lots=lots
        )
        self.do(command)

    @rule(pick=PICKS)
    def shrink(self, pick: int) -> None:
        """Take a lot off, which keeps the order's place if it is open."""
        if pick < len(self.accepted):
            order = self.accepted[-1 - pick]
            less = max(order.quantity_lots - 1, 1)
            command = c.ReplaceOrder(
                customer_no=order.customer_no, order_id=order.order_id,
                price_ticks=order.price_ticks, quantity_lots=less,
            )  # fmt: skip
            self.do(command)

    @rule(customer_no=CUSTOMERS, market_no=st.sampled_from([0, 1, 2, 9]))
    def cancel_all(self, customer_no: int, market_no: int) -> None:
        self.do(c.CancelAll(customer_no=customer_no, market_no=market_no))

    # ---- money

    @rule(
        verb=st.sampled_from([c.Credit, c.Hold, c.Debit]),
        customer_no=CUSTOMERS,
        asset_no=ASSETS,
        amount=AMOUNTS,
    )
    def fund(
        self, verb: type[c.Credit | c.Debit | c.Hold], customer_no: int, asset_no: int, amount: int
    ) -> None:
        """Use the next number."""
        self.number += 1
        command = verb(
            number=self.number, customer_no=customer_no, asset_no=asset_no, amount=amount
        )
        self.do(command)

    @rule(pick=PICKS, verb=st.sampled_from([c.Release, c.Capture]), more=mostly([0], 1))
    def end_hold(self, pick: int, verb: type[c.Capture | c.Release], more: int) -> None:
        """Name a hold exactly, with another amount, or none that is known."""
        self.number += 1
        command = verb(number=self.number, hold_number=U64 - 1, customer_no=1, asset_no=1, amount=1)
        if pick < len(self.holds):
            held = self.holds[-1 - pick]
            command = verb(
                number=self.number, hold_number=held.number, customer_no=held.customer_no,
                asset_no=held.asset_no, amount=min(held.amount + more, LARGEST),
            )  # fmt: skip
        self.do(command)

    @rule(number=mostly([1, 2], 0, 3))
    def fund_again(self, number: int) -> None:
        """A number that was used before changes nothing."""
        self.do(c.Credit(number=min(number, self.number), customer_no=1, asset_no=1, amount=5))

    @rule(gap=mostly([2], 3, U32))
    def leave_a_gap(self, gap: int) -> None:
        """Both refuse the whole batch as corrupt, and stay as they were."""
        self.apply_gathered()
        good = c.Credit(number=self.number + 1, customer_no=1, asset_no=1, amount=5)
        records = pack_command(good) + pack_command(replace(good, number=self.number + 1 + gap))
        before = self.reference.dump()
        for engine in (self.reference, self.native):
            first = engine.sequence + 1
            with pytest.raises(Corrupt):
                engine.apply_records(records, first_sequence=first, time_ns=self.time_ns)
            assert engine.dump() == before

    def teardown(self) -> None:
        """No batch is left without an answer; what has failed once says nothing more."""
        if self.is_equal:
            self.compare()


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)


# ------------------------------------------------------------------- planted bugs


class LeaksWhatIsReduced(ReferenceEngine):
    """Gives one unit too much back when self-trade prevention takes lots off an order."""

    def apply(self, command: c.Command, *, sequence: int, time_ns: int) -> list[e.Event]:
        events = super().apply(command, sequence=sequence, time_ns=time_ns)
        if any(isinstance(event, e.OrderReduced) for event in events):
            self._state.balances.account(1, 1).available += 1
        return events


class LosesThePlace(ReferenceEngine):
    """Sends an order that only shrinks to the back of its queue."""

    def apply(self, command: c.Command, *, sequence: int, time_ns: int) -> list[e.Event]:
        events = super().apply(command, sequence=sequence, time_ns=time_ns)
        for event in events:
            if isinstance(event, e.OrderReplaced) and event.kept_priority:
                order = self._state.orders[event.order_id]
                self._state.unrest(order)
                self._state.rest(order)
        return events


class ForgetsTooSoon(ReferenceEngine):
    """Forgets a closed order while a retry of it would still be young enough."""

    def apply(self, command: c.Command, *, sequence: int, time_ns: int) -> list[e.Event]:
        events = super().apply(command, sequence=sequence, time_ns=time_ns)
        self._state.client_ids.forget_before(time_ns + ISSUE_LEAD_LIMIT_NS)
        return events


def do_not_look(engine: Engine) -> None:
    """Stand where the invariants are checked."""


@pytest.mark.parametrize("planted", [LeaksWhatIsReduced, LosesThePlace, ForgetsTooSoon])
def test_a_planted_bug_is_found_and_shrinks_to_a_few_commands(
    planted: type[ReferenceEngine],
) -> None:
    class Planted(Pair):
        other = planted
        look = staticmethod(do_not_look)  # the invariants do not see these bugs and take time

    quietly = settings(
        max_examples=2_000,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Planted, settings=quietly)
    assert 0 < len(Pair.commands) <= FEW_COMMANDS, Pair.commands
