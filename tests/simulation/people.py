"""What customers do: they deposit, trade and withdraw, all of it through the platform's verbs.

Everything a person decided is remembered here before it is sent, as a client would: after a crash
or a lost answer the same request is repeated with the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from app.bootstrap import issue_address
from chains.base import NATIVE
from chains.fake import Output
from core.errors import Reason
from core.ids import CustomerNo, WithdrawalId
from custody import catalogue
from custody.db import Database
from custody.wallets import addresses
from custody.withdrawals import workflow
from custody.withdrawals.workflow import WithdrawalRequest
from engine.types import (
    CancelAll,
    CancelOrder,
    Command,
    OrderAccepted,
    OrderKind,
    PlaceOrder,
    ReplaceOrder,
    SelfTrade,
    Side,
    TimeInForce,
)
from tests.simulation import cast
from tests.simulation.machine import CHAIN, Broken, Machine, Process
from tests.simulation.manners import politely

CUSTOMERS = ("anna", "bela", "carl", "dora")
ADDRESSES_MAX = 3


@dataclass(slots=True)
class Asked:
    """One withdrawal as its customer remembers it."""

    request: WithdrawalRequest
    withdrawal_id: str | None = None


@dataclass(slots=True)
class Ordered:
    """One order as its customer remembers it."""

    order: PlaceOrder
    order_id: int | None = None


@dataclass(slots=True)
class People:
    """The customers of one run, and what they remember."""

    machine: Machine
    numbers: dict[str, CustomerNo] = field(default_factory=dict)
    addresses: dict[str, CustomerNo] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ordered: list[Ordered] = field(default_factory=list)
    destinations: int = 0

    # ---- arriving

    def arrive(self) -> None:
        """Open every customer with one address; repeated until it is done."""
        for name in CUSTOMERS:
            while name not in self.numbers:
                self._do("customer.open", partial(self._open, name=name))
            while self.numbers[name] not in self.addresses.values():
                self._do("customer.address", partial(self._address, name=name))

    def _open(self, process: Process, name: str) -> int:
        db = process.platform.db
        now_ns = self.machine.clock.now_ns()
        self.numbers[name] = db.run(
            lambda conn: catalogue.add_customer(conn, name, now_ns=now_ns)
        ).customer_no
        return 1

    def _address(self, process: Process, name: str) -> int:
        issued = issue_address(process.platform, CHAIN, self.numbers[name])
        self.addresses[issued.address] = self.numbers[name]
        return 1

    def begin(self) -> None:
        """Pay everybody something, so that the story does not begin with waiting."""
        world, who = self.machine.world, self.machine.cast
        for address in sorted(self.addresses):
            world.pay(address, NATIVE, 3_000_000)
            world.pay(address, who.token, 2_000_000)
        world.mine(7)

    def another_address(self) -> None:
        """Let a customer ask for one more address."""
        name = self.machine.dice.pick("address/who", CUSTOMERS)
        if len([a for a, n in self.addresses.items() if n == self.numbers[name]]) < ADDRESSES_MAX:
            self._do("customer.address", lambda process: self._address(process, name))

    def refresh_addresses_from(self, db: Database) -> None:
        """Learn of addresses whose answer was lost: they are the customers' all the same."""
        with db.read() as conn:
            for own in addresses.all_of(conn, CHAIN):
                if own.customer_no is not None:
                    self.addresses.setdefault(own.address, own.customer_no)

    # ---- paying in

    def deposit(self) -> None:
        """Pay something from outside to an address of ours."""
        dice, world = self.machine.dice, self.machine.world
        who = self.machine.cast
        kind = dice.weighted(
            "deposit/kind",
            {"native": 30, "token": 30, "odd": 10, "dust": 8, "many": 6, "unlisted": 4,
             "own": 4, "fails": 3, "silent": 2, "nothing": 2},
        )  # fmt: skip
        to = dice.pick("deposit/to", sorted(self.addresses))
        amount = dice.between("deposit/amount", 50_000, 3_000_000)
        if kind == "many":
            targets = [dice.pick("deposit/to", sorted(self.addresses)) for _ in range(3)]
            keys = (NATIVE, who.token, who.odd)
            world.pay_many(
                Output(target, key, amount + n, amount + n)
                for n, (target, key) in enumerate(zip(targets, keys, strict=True))
            )
        elif kind == "dust":
            key = dice.pick("deposit/dust", (NATIVE, who.token))
            world.pay(to, key, dice.between("deposit/little", 1, 99))
        elif kind == "odd":
            world.pay(to, who.odd, amount - amount // 100, claimed=amount)
        elif kind == "own":
            wallet = dice.pick("deposit/wallet", (who.hot, who.gas))
            world.pay(wallet, dice.pick("deposit/own", (NATIVE, who.token)), amount)
        elif kind == "silent":
            world.pay_many([Output(to, NATIVE, amount, amount, silent=True)])
        elif kind == "nothing":
            world.pay(to, who.odd, 0, claimed=amount)
        else:
            key = {"token": who.token, "unlisted": who.unlisted}.get(kind, NATIVE)
            world.pay(to, key, amount, fails=kind == "fails")
        self.machine.counts[f"paid.{kind}"] += 1

    # ---- trading

    def trade(self) -> None:
        """Send one order, or something about an earlier one, or the same one again."""
        dice = self.machine.dice
        kind = dice.weighted(
            "order/kind",
            {"new": 60, "again": 8, "cancel": 12, "replace": 12, "all": 3, "other": 4},
        )
        open_orders = [ordered for ordered in self.ordered if ordered.order_id is not None]
        if kind == "new" or not self.ordered or (kind in ("cancel", "replace") and not open_orders):
            ordered = Ordered(self._order(len(self.ordered) + 1))
            self.ordered.append(ordered)
            self._send(ordered.order, ordered)
        elif kind == "again":
            ordered = dice.pick("order/which", self.ordered)
            self._send(ordered.order, ordered)
        elif kind == "other":
            # The same client id for something else is refused, never executed.
            ordered = dice.pick("order/which", self.ordered)
            self._send(self._order(ordered.order.client_order_id), None)
        elif kind == "all":
            self._send(CancelAll(customer_no=self._somebody("order/who")), None)
        else:
            target = dice.pick("order/which", open_orders)
            assert target.order_id is not None
            owner = target.order.customer_no
            if dice.chance("order/foreign", 100_000):
                owner = self._somebody("order/who")
            self._send(self._change(kind, owner, target.order_id), None)

    def _change(self, kind: str, owner: int, order_id: int) -> Command:
        dice = self.machine.dice
        if kind == "cancel":
            return CancelOrder(customer_no=owner, order_id=order_id)
        return ReplaceOrder(
            customer_no=owner,
            order_id=order_id,
            price_ticks=dice.between("order/price", 90, 110),
            quantity_lots=dice.between("order/lots", 1, 120),
        )

    def _order(self, client_order_id: int) -> PlaceOrder:
        dice = self.machine.dice
        kind = dice.weighted("order/type", {OrderKind.LIMIT: 80, OrderKind.MARKET: 20})
        tif = TimeInForce.IOC
        if kind is OrderKind.LIMIT:
            tif = dice.weighted(
                "order/tif", {TimeInForce.GTC: 75, TimeInForce.IOC: 15, TimeInForce.FOK: 10}
            )
        return PlaceOrder(
            customer_no=self._somebody("order/who"),
            client_order_id=client_order_id,
            market_no=cast.MARKET_NO,
            side=dice.pick("order/side", (Side.BUY, Side.SELL)),
            price_ticks=dice.between("order/price", 90, 110),
            quantity_lots=dice.between("order/lots", 1, 120),
            issued_ns=self.machine.clock.now_ns(),
            kind=kind,
            tif=tif,
            post_only=tif is TimeInForce.GTC and dice.chance("order/post", 150_000),
            stp=dice.pick("order/stp", list(SelfTrade)),
        )

    def _send(self, command: Command, ordered: Ordered | None) -> None:
        def work(process: Process) -> int:
            assert process.sequencer is not None
            (events,) = process.sequencer.execute([command])
            self.machine.counts["orders"] += 1
            for event in events:
                self.machine.counts[f"answer.{type(event).__name__}"] += 1
                if ordered is not None and isinstance(event, OrderAccepted):
                    if ordered.order_id is not None:
                        raise Broken(f"I13: order {ordered.order} was accepted twice")
                    ordered.order_id = event.order_id
            self.machine.acknowledged = max(self.machine.acknowledged, events[0].sequence)
            return len(events)

        self._do("order", work)

    # ---- withdrawing

    def withdraw(self) -> None:
        """Ask for a withdrawal, most of them sound, to a destination used once only."""
        dice = self.machine.dice
        who = self.machine.cast
        customer_no = self._somebody("withdraw/who")
        asset_no, key = dice.pick(
            "withdraw/asset",
            (
                (cast.NATIVE_NO, NATIVE), (cast.NATIVE_NO, NATIVE), (cast.TOKEN_NO, who.token),
                (cast.TOKEN_NO, who.token), (cast.ODD_NO, who.odd),
            ),
        )  # fmt: skip
        if self.machine.world.laws.spends_coins:
            asset_no, key = cast.NATIVE_NO, NATIVE  # tokens only arrive there
        amount = dice.between("withdraw/amount", 1_000, 400_000)
        self.destinations += 1
        destination = self.machine.world.outsider(f"destination-{self.destinations}")
        kind = dice.weighted(
            "withdraw/kind",
            {"sound": 80, "all": 6, "much": 5, "own": 6, "small": 2, "zero": 1, "bad": 2,
             "contract": 1},
        )  # fmt: skip
        if kind == "much":
            amount = 10**15
        elif kind == "all":
            amount = max(1_000, self.available(customer_no, asset_no) - 50)
        elif kind == "own":
            mine = [one for one, owner in self.addresses.items() if owner == customer_no]
            destination = dice.pick("deposit/to", sorted(mine))
        elif kind in ("small", "zero"):
            amount = 99 if kind == "small" else 0
        elif kind == "bad":
            destination = destination[:-1] + ("0" if destination[-1] != "0" else "1")
        elif kind == "contract":
            destination = who.token if key == who.token else who.odd
        initiator = "ada" if dice.chance("withdraw/officer", 60_000) else f"customer:{customer_no}"
        request = WithdrawalRequest(
            client_withdrawal_id=f"w-{len(self.asked) + 1}",
            customer_no=customer_no,
            initiator=initiator,
            asset_no=asset_no,
            destination=destination,
            amount=amount,
        )
        asked = Asked(request)
        self.asked.append(asked)
        # Another customer's address is paid inside; nobody pays himself.
        to_himself = self.addresses.get(destination) == customer_no
        self._ask(asked, must_refuse=to_himself or kind in ("small", "zero", "bad", "contract"))

    def withdraw_again(self) -> None:
        """Repeat a request, or ask for something else under its id."""
        if not self.asked:
            return
        dice = self.machine.dice
        asked = dice.pick("again/which", self.asked)
        if dice.chance("again/other", 250_000):
            request = asked.request
            other = WithdrawalRequest(
                request.client_withdrawal_id, request.customer_no, request.initiator,
                request.asset_no, request.destination, request.amount + 1,
            )  # fmt: skip
            if asked.withdrawal_id is not None:
                self._ask(Asked(other), must_refuse=True)
            return
        self._ask(asked, must_refuse=False)

    def _ask(self, asked: Asked, *, must_refuse: bool) -> None:
        def work(process: Process) -> int:
            home = process.platform.home(CHAIN)
            row = process.platform.db.run(
                lambda conn: workflow.request(
                    conn, asked.request, chain=home.chain, terms=home.terms,
                    now_ns=self.machine.clock.now_ns(),
                )
            )  # fmt: skip
            if must_refuse:
                raise Broken(f"{asked.request} was accepted as {row.withdrawal_id}")
            if asked.withdrawal_id not in (None, row.withdrawal_id):
                raise Broken(f"I13: {asked.request} became {row.withdrawal_id}")
            asked.withdrawal_id = row.withdrawal_id
            self.machine.counts["withdrawals.requested"] += 1
            return 1

        self._do("withdrawal.request", work, also=(Reason.EXISTS_WITH_OTHER_CONTENT,))

    def cancel(self) -> None:
        """Cancel a withdrawal, whatever state it is in."""
        known = [asked for asked in self.asked if asked.withdrawal_id is not None]
        if not known:
            return
        chosen = WithdrawalId(str(self.machine.dice.pick("cancel/which", known[-8:]).withdrawal_id))
        now_ns = self.machine.clock.now_ns()

        def work(process: Process) -> int:
            process.platform.db.run(
                lambda conn: workflow.cancel(conn, chosen, by="customer", now_ns=now_ns)
            )
            return 1

        self._do("withdrawal.cancel", work)

    def available(self, customer_no: int, asset_no: int) -> int:
        """Return what a customer may spend now."""
        with self.machine.sequencer().reading() as engine:
            balance = engine.balances(customer_no).get(asset_no)
        return 0 if balance is None else balance.available

    # ---- inside

    def _somebody(self, label: str) -> CustomerNo:
        return self.numbers[self.machine.dice.pick(label, CUSTOMERS)]

    def _do(self, what: str, work: Callable[[Process], int], also: tuple[Reason, ...] = ()) -> None:
        politely(self.machine, what, work, also)
