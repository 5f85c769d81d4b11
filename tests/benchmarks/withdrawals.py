"""Withdrawals from request to signature: policy, velocity, hold, two approvals, plan, guard.

Everything is durable: the database, the engine's journal and the signer's log. The chain is the
scripted one, so no node is waited for; what a node takes comes on top.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from core.ids import CustomerNo, WithdrawalId
from custody.db import Int64, Text, table
from custody.keys.desk import KeyDesk
from custody.keys.signers.base import KeyRef
from custody.withdrawals import states
from custody.withdrawals.states import WithdrawalState
from engine.files import DiskStorage
from tests.benchmarks.measure import Contest, Fact, Row, Run
from tests.support.house import House, open_house
from tests.support.postgres import postgres_server
from tests.unit.custody.verbs.conftest import priced

T = TypeVar("T")

AT_ONCE = 20
WAITING = (WithdrawalState.APPROVED, WithdrawalState.PLANNED)
ROUNDS_MAX = 50

plain_withdrawals = table(
    "plain_withdrawals_probe",
    sa.Column("id", Text, primary_key=True),
    sa.Column("amount", Int64, nullable=False),
)


@dataclass(slots=True)
class Bench:
    """One platform, and where the time went."""

    house: House
    world: FakeWorld
    customer_no: CustomerNo
    numbers: Iterator[int] = field(default_factory=count)
    spent_ns: Counter[str] = field(default_factory=Counter)
    done: int = 0

    def run(self) -> int:
        """Take twenty withdrawals from request to signature."""
        house = self.house
        asked = [self._timed("request", self._request) for _ in range(AT_ONCE)]
        self._timed("hold", self._hold)
        for withdrawal_id in asked:
            self._timed("approvals", partial(house.approve, withdrawal_id))
        for _ in range(ROUNDS_MAX):
            self._timed("plan", partial(house.step, "withdrawals.plan"))
            self._timed("sign and send", partial(house.step, "spending.move"))
            if not self._waiting():
                break
        assert not self._waiting()
        self.done += AT_ONCE
        self.world.mine(3)
        return AT_ONCE

    def facts(self, name: str) -> Fact:
        """Say where the time of one withdrawal goes."""
        each = {what: ns / self.done / 1e6 for what, ns in self.spent_ns.items()}
        return Fact(
            f"withdrawals, {name}",
            "milliseconds of one withdrawal",
            ", ".join(f"{what} {ms:.1f}" for what, ms in each.items()),
            f"{sum(each.values()):.1f} ms from request to signed; {os.cpu_count()} cores",
            "shown",
            is_met=True,
        )

    def _request(self) -> WithdrawalId:
        number = next(self.numbers)
        row = self.house.withdraw(
            self.customer_no, NATIVE, 1_000 + number,
            self.world.outsider(f"payee {number}"), client_id=f"w{number}",
        )  # fmt: skip
        assert row.state is WithdrawalState.REQUESTED
        return row.withdrawal_id

    def _hold(self) -> None:
        for _ in range(4):
            self.house.step("funding")
            self.house.step("settlement")

    def _waiting(self) -> bool:
        with self.house.platform.db.read() as conn:
            return bool(states.in_states(conn, list(WAITING), limit=1))

    def _timed(self, what: str, work: Callable[[], T]) -> T:
        before = time.perf_counter_ns()
        try:
            return work()
        finally:
            self.spent_ns[what] += time.perf_counter_ns() - before


def contests(stack: contextlib.ExitStack) -> Iterator[Contest | Row | Fact]:
    """Yield a contest and where its time went, for each database."""
    Path("var").mkdir(exist_ok=True)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="var")))
    server = stack.enter_context(postgres_server(durable=True))
    urls = {
        "SQLite": f"sqlite:///{folder}/withdrawals.db",
        "PostgreSQL": stack.enter_context(server.database()),
    }
    for name, url in urls.items():
        bench = _opened(stack, url, folder / name)
        yield Contest(
            f"withdrawals, {name}", "from request to signed, two approvals each", bench.run,
            floor=_floor(bench.house), floor_name="bare signature, bare INSERT and commit",
            goal="named beside its floor", wall=True,
        )  # fmt: skip
        yield bench.facts(name)


def _opened(stack: contextlib.ExitStack, url: str, folder: Path) -> Bench:
    world = FakeWorld(finality_depth=2)
    assets = tuple(priced(spec) for spec in world.listed_assets())
    house = stack.enter_context(
        open_house(url, FakeChain(world), assets, storage=DiskStorage(folder))
    )
    customer_no = house.customer("alice")
    for account in ("hot", "gas"):
        world.fund(house.own_address(account), 10**12)
    world.pay(house.address(customer_no), NATIVE, 10**9)
    world.mine(3)
    house.run(3)
    assert house.balance(customer_no, NATIVE)
    return Bench(house, world, customer_no)


def _floor(house: House) -> Run:
    """Return as many bare signatures and bare rows as a run of ours makes."""
    numbers = count()
    desk = house.platform.signer
    assert isinstance(desk, KeyDesk)
    signer = desk.guards[house.home.chain.traits.chain].signer

    def run() -> int:
        for _ in range(AT_ONCE):
            signer.sign(KeyRef("hot", 0), os.urandom(32))
            house.platform.db.run(partial(_insert, number=next(numbers)))
        return AT_ONCE

    return run


def _insert(conn: sa.Connection, number: int) -> None:
    conn.execute(plain_withdrawals.insert().values(id=f"wd_{number}", amount=number))
