"""Who sets what a withdrawal must pass: what coins are worth, and whom the policy denies today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from core.ids import AssetNo
from custody import policies, prices
from custody.db import Database
from custody.policy.request import PRICE_SCALE, Price
from custody.withdrawals import states
from tests.simulation import cast
from tests.simulation.machine import Machine, Process
from tests.simulation.manners import politely

ASSETS = (cast.NATIVE_NO, cast.TOKEN_NO, cast.ODD_NO)
MILLI_USD = 10 ** (PRICE_SCALE - 3)
"""In the unit of prices: what a minor unit is worth at first."""


@dataclass(slots=True)
class Rulers:
    """What they said, remembered before it is sent."""

    machine: Machine
    told: set[tuple[int, int, int]] = field(default_factory=set)
    """(asset number, value, time) of every price that somebody said."""
    denied: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Serial of a policy -> the customers that it denies."""
    after: dict[int, int] = field(default_factory=dict)
    """Serial of a policy -> the last event of a withdrawal that came before it."""

    def begin(self, db: Database) -> None:
        """Put the first policy in force, and say the first prices."""
        now_ns = self.machine.clock.now_ns()
        db.run(lambda conn: self._publish(conn, (), now_ns))
        for asset_no in ASSETS:
            said = self._said(asset_no, percent=100)
            db.run(partial(prices.record, asset_no=asset_no, price=said, by="olga", now_ns=now_ns))

    def price_everything(self) -> None:
        """Say what every coin is worth."""
        self.teach()
        for asset_no in ASSETS:
            self._price(asset_no, percent=100)

    def price(self) -> None:
        """Say what one coin is worth now."""
        dice = self.machine.dice
        asset_no = dice.pick("price/asset", ASSETS)
        self._price(asset_no, percent=dice.between("price/percent", 60, 170))

    def deny(self) -> None:
        """Publish the next version: it denies one or two customers, or nobody any more."""
        dice = self.machine.dice
        several = {dice.between("deny/who", 1, 4) for _ in range(dice.between("deny/many", 0, 2))}
        self.publish(tuple(sorted(several)))

    def publish(self, denied: tuple[int, ...]) -> None:
        """Publish the next version of the policy."""
        self._do("policy", lambda conn, now_ns: self._publish(conn, denied, now_ns))
        self.teach()

    def teach(self) -> None:
        """Take to the signer what was published; it signs nothing under a version it never saw."""
        who = self.machine.cast
        known = {one.policy.serial for one in who.book.versions}

        def read(process: Process) -> int:
            with process.platform.db.read() as conn:
                rows = conn.execute(sa.select(policies.policies).order_by(sa.text("serial"))).all()
            now_ns = self.machine.clock.now_ns()
            for row in rows:
                if row.serial not in known:
                    version = cast.published(who.officers, row.body)
                    who.book.learn(version, roster=who.roster, now_ns=now_ns)
            return len(rows)

        politely(self.machine, "policy.teach", read)

    def _publish(self, conn: sa.Connection, denied: tuple[int, ...], now_ns: int) -> int:
        before = policies.newest(conn)
        serial, previous = (0, b"") if before is None else (before.serial, before.hash)
        last = conn.execute(sa.select(sa.func.max(states.withdrawal_events.c.event_no))).scalar()
        self.denied[serial + 1], self.after[serial + 1] = denied, last or 0
        body = cast.policy(serial + 1, previous, denied)
        policies.add(conn, body, in_force_from_ns=now_ns, by="ada", now_ns=now_ns)
        return 1

    def _said(self, asset_no: AssetNo, *, percent: int) -> Price:
        scale = self.machine.cast.assets[asset_no - 1].scale
        value = MILLI_USD * 10**scale * percent // 100
        now_ns = self.machine.clock.now_ns()
        self.told.add((asset_no, value, now_ns))
        # A time may come again when the clock steps back, so every one has a source of its own.
        return Price(value, now_ns, f"feed-{len(self.told)}")

    def _price(self, asset_no: AssetNo, *, percent: int) -> None:
        said = self._said(asset_no, percent=percent)

        def say(conn: sa.Connection, now_ns: int) -> int:
            prices.record(conn, asset_no, said, by="olga", now_ns=now_ns)
            return 1

        self._do("price", say)

    def _do(self, what: str, work: Callable[[sa.Connection, int], int]) -> None:
        def run(process: Process) -> int:
            now_ns = self.machine.clock.now_ns()
            return process.platform.db.run(lambda conn: work(conn, now_ns))

        politely(self.machine, what, run)
