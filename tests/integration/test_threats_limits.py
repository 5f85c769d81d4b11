"""W13: nobody gets past a limit in small pieces, over midnight, by a clock or by a stale price."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from core.clock import DAY_NS, SECOND_NS
from core.ids import CustomerNo
from core.money import format_amount
from custody.withdrawals import security, workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.support.house import House, open_house
from tests.support.policies import bucket, document, required

SCALE = 9
LIMIT = 50_000
PIECE = LIMIT // 50
PIECES = 100
HOUR_NS = 3_600 * SECOND_NS


def coins(minor: int) -> str:
    """Return minor units as whole coins."""
    return format_amount(minor, SCALE)


def per(name: str, limit: int = LIMIT) -> str:
    """Return a limit of a day for each of something, in minor units."""
    scope = {"assets": [NATIVE], "chains": ["fake"]}
    return bucket(f"day-{name}", name, coins(limit), unit="coins", **scope)


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(finality_depth=2)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    with open_house(database_url, FakeChain(world), world.listed_assets()) as opened:
        yield opened


class Robber:
    """Asks again and again, each time for a piece that no rule minds."""

    def __init__(self, house: House, world: FakeWorld) -> None:
        self._house, self._world, self._asked = house, world, 0
        self.customers: list[CustomerNo] = []

    def ask(self, who: int = 0, to: str | None = None, amount: int = PIECE) -> Withdrawal:
        """Ask for one payment in the name of a customer, to a fresh destination if none is said."""
        while len(self.customers) <= who:
            self.customers.append(self._house.customer(f"customer {len(self.customers)}"))
        self._asked += 1
        return self._house.withdraw(
            self.customers[who],
            NATIVE,
            amount,
            to or self._world.outsider(f"destination {self._asked}"),
            client_id=f"piece {self._asked}",
        )

    def accepted(self, rows: Sequence[Withdrawal]) -> int:
        """Return what was accepted; all others are blocked by the limit and by nothing else."""
        for row in rows:
            if row.state is WithdrawalState.REFUSED:
                (decided,) = self._house.decisions(row.withdrawal_id)
                assert (row.reason, decided.code) == ("policy_blocked", "velocity")
        return sum(row.amount for row in rows if row.state is not WithdrawalState.REFUSED)


@pytest.fixture
def robber(house: House, world: FakeWorld) -> Robber:
    return Robber(house, world)


SPREADS: dict[str, Callable[[Robber, int, str], Withdrawal]] = {
    "initiator": lambda robber, _n, _to: robber.ask(),
    "customer": lambda robber, _n, _to: robber.ask(),
    "wallet": lambda robber, n, _to: robber.ask(n % 20),
    "destination": lambda robber, n, to: robber.ask(n % 20, to),
    "asset": lambda robber, n, _to: robber.ask(n % 20),
    "global": lambda robber, n, _to: robber.ask(n % 20),
}


@pytest.mark.parametrize("kind", SPREADS)
def test_W13_a_hundred_pieces_of_a_fiftieth_reach_the_limit_and_not_more(
    house: House, world: FakeWorld, robber: Robber, kind: str
) -> None:
    house.adopt(required(max_coins=coins(PIECE + 1), assets=[NATIVE], chains=["fake"]), per(kind))
    to = world.outsider("one for all")
    rows = [SPREADS[kind](robber, number, to) for number in range(PIECES)]
    assert robber.accepted(rows) == LIMIT
    assert [row.state for row in rows[:50]] == [WithdrawalState.REQUESTED] * 50
    # Control: one end frees exactly one piece.
    end = partial(workflow.on_refused, withdrawal_id=rows[0].withdrawal_id,
                  reason="exceeds_available", now_ns=house.clock.now_ns())  # fmt: skip
    house.platform.db.run(end)
    last = [SPREADS[kind](robber, PIECES + number, to) for number in range(2)]
    assert robber.accepted(last) == PIECE


@pytest.mark.parametrize("kind", ["customer", "destination", "initiator"])
def test_W13_control_a_limit_of_each_leaves_the_next_one_alone(
    house: House, world: FakeWorld, robber: Robber, kind: str
) -> None:
    house.adopt(required(), per(kind))
    to = world.outsider("one for all")
    rows = [SPREADS[kind](robber, number, to) for number in range(51)]
    assert robber.accepted(rows) == LIMIT
    assert robber.accepted([robber.ask(21, world.outsider("another"))]) == PIECE


def test_W13_midnight_opens_nothing(house: House, robber: Robber) -> None:
    house.adopt(required(), per("customer"))
    house.clock.advance(DAY_NS - house.clock.now_ns() % DAY_NS - SECOND_NS)
    before = [robber.ask() for _ in range(50)]
    house.clock.advance(2 * SECOND_NS)
    assert house.clock.now_ns() % DAY_NS == SECOND_NS, "another day of the calendar"
    after = [robber.ask() for _ in range(10)]
    assert (robber.accepted(before), robber.accepted(after)) == (LIMIT, 0)


@pytest.mark.parametrize("step_ns", [-2 * DAY_NS, -HOUR_NS, HOUR_NS, 2 * DAY_NS])
def test_W13_a_step_of_the_clock_opens_nothing_that_is_not_paid(
    house: House, robber: Robber, step_ns: int
) -> None:
    house.adopt(required(), per("customer"))
    assert robber.accepted([robber.ask() for _ in range(50)]) == LIMIT
    house.clock.step(step_ns)
    assert robber.accepted([robber.ask() for _ in range(10)]) == 0
    house.clock.step(-step_ns)
    assert robber.accepted([robber.ask() for _ in range(10)]) == 0


def test_W13_without_a_fresh_price_nothing_passes_a_limit_in_usd(
    house: House, robber: Robber
) -> None:
    house.adopt(required(), bucket("day", "customer", "50"), stale_after_s=60)
    house.price(NATIVE, 10**SCALE // PIECE)
    assert robber.ask().state is WithdrawalState.REQUESTED, "the control: a piece is a dollar"
    house.clock.advance(60 * SECOND_NS)
    for _ in range(3):
        row = robber.ask(amount=100)
        (decided,) = house.decisions(row.withdrawal_id)
        assert (row.state, decided.code) == (WithdrawalState.REFUSED, "stale_price")
    house.price(NATIVE, 10**SCALE // PIECE)
    rows = [robber.ask() for _ in range(PIECES)]
    assert robber.accepted(rows) == 49 * PIECE, "fifty dollars with the one before"


def test_W13_after_a_security_change_nothing_is_asked_for_a_day(
    house: House, robber: Robber
) -> None:
    assert robber.ask().state is WithdrawalState.REQUESTED
    house.platform.db.run(
        lambda conn: security.record_change(
            conn, robber.customers[0], security.SecurityChange.PASSWORD, house.clock.now_ns()
        )
    )
    row = robber.ask()
    assert (row.state, row.reason) == (WithdrawalState.REFUSED, "security_hold")
    assert robber.ask(1).state is WithdrawalState.REQUESTED, "the control: somebody else may"
    house.clock.advance(DAY_NS)
    assert robber.ask().state is WithdrawalState.REQUESTED


def test_W13_a_drill_of_2000_wallets_is_cut_off_at_the_global_limit(
    tmp_path: Path, world: FakeWorld
) -> None:
    """The pattern of Bitfinex, 2016: many accounts, each a little, within three hours."""
    policy = document(required(), per("customer"), per("global", 10**6))
    url = f"sqlite:///{tmp_path}/drill.db"
    with open_house(url, FakeChain(world), world.listed_assets(), policy=policy) as house:
        robber, taken, blocked = Robber(house, world), 0, 0
        destinations = cycle([world.outsider(f"hole {number}") for number in range(40)])
        for number in range(2_000):
            row = robber.ask(number, next(destinations), amount=2_000)
            house.clock.advance(3 * HOUR_NS // 2_000)
            if row.state is WithdrawalState.REFUSED:
                blocked += 1
            else:
                assert blocked == 0, "once it is cut off, nothing more gets through"
                taken += row.amount
        assert (taken, blocked) == (10**6, 1_500)
