"""W03 and the race between cancelling and paying, in many interleavings on both databases.

STRONGROOM_TEST_ROUNDS says in how many: `make campaign ARGS=withdrawal-races` has 500, the default
fits `make test`.

The transactions of both sides are shaken: every statement may be held up for a moment, by a seeded
chance, so that they overlap in another way each time. On SQLite writers queue, on PostgreSQL they
collide and run again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, SpendKind
from chains.fake import FakeChain, FakeWorld
from core.errors import Reason, Refused, Unavailable
from core.ids import WithdrawalId
from custody import funding, velocity
from custody.keys.roster import sign_approval
from custody.policy.decision import Charge
from custody.spending import rows as spending_rows
from custody.withdrawals import approvals, states, workflow
from custody.withdrawals.states import WithdrawalState
from tests.support.house import HOT, House, officer_key, open_house
from tests.support.policies import bucket, document, required

ROUNDS = int(os.environ.get("STRONGROOM_TEST_ROUNDS", "50"))
TIMES = {"sqlite": ROUNDS * 3 // 5, "postgresql": ROUNDS * 2 // 5}
PAUSE_S = 0.002
PATIENCE_S = 60
AMOUNT = 1_000
WINDOW_NS = 86_400 * 10**9
POLICY = document(
    required(), bucket("day", "global", "1000", unit="coins", assets=[NATIVE], chains=["fake"])
)


@pytest.fixture
def house(database_url: str) -> Iterator[House]:
    """Return a house in which a customer asked for as many withdrawals as there are rounds."""
    world = FakeWorld(finality_depth=2)
    assets = world.listed_assets()
    with open_house(database_url, FakeChain(world), assets, policy=POLICY) as opened:
        world.fund(opened.own_address(HOT), 10**11)
        alice = opened.customer("alice")
        world.pay(opened.address(alice), NATIVE, 10**9)
        world.mine(3)
        opened.run(2)
        for number in range(times_of(opened)):
            to = world.outsider(f"to {number}")
            opened.withdraw(alice, NATIVE, AMOUNT, to, client_id=f"w{number}")
        while opened.step("funding") + opened.step("settlement"):
            pass
        yield opened


def times_of(house: House) -> int:
    return TIMES[house.platform.db.dialect]


def asked(house: House) -> list[WithdrawalId]:
    with house.platform.db.read() as conn:
        rows = states.in_states(conn, [WithdrawalState.HELD], limit=1_000)
    assert len(rows) == times_of(house)
    return [row.withdrawal_id for row in rows]


@contextmanager
def shaken(seed: int) -> Iterator[None]:
    """Hold up every statement of every thread for a moment, now and then."""
    chance = random.Random(seed)

    def hold_up(*_: object) -> None:
        if chance.random() < 0.1:
            time.sleep(chance.random() * PAUSE_S)

    sa.event.listen(sa.Engine, "before_cursor_execute", hold_up)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hold_up)


def at_once(*works: Callable[[], str]) -> list[str]:
    """Do things in threads that begin together; return what each of them says."""
    answers = [""] * len(works)
    gate = threading.Barrier(len(works))

    def work(number: int) -> None:
        gate.wait()
        try:
            answers[number] = works[number]()
        except Refused as refused:
            answers[number] = refused.reason.value

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def again(work: Callable[[], str]) -> str:
    """Do something until the database lets it, as a client or a loop does."""
    for _ in range(50):
        try:
            return work()
        except Unavailable:
            continue
    raise AssertionError("the database never let it")


def approved(house: House, withdrawal_id: WithdrawalId, person: str) -> str:
    intent = approvals.intent_of(house.withdrawal(withdrawal_id))
    add = partial(
        approvals.add,
        withdrawal_id=withdrawal_id,
        approval=sign_approval(officer_key(person), intent),
        roster=house.platform.roster,
        now_ns=house.clock.now_ns(),
    )
    return again(lambda: house.platform.db.run(add).state.value)


def cancelled(house: House, withdrawal_id: WithdrawalId, late_s: float) -> str:
    time.sleep(late_s)
    cancel = partial(
        workflow.cancel, withdrawal_id=withdrawal_id, by="alice", now_ns=house.clock.now_ns()
    )
    return again(lambda: house.platform.db.run(cancel).state.value)


def planned(house: House) -> str:
    return again(lambda: str(house.step("withdrawals.plan")))


def pays(house: House, withdrawal_id: WithdrawalId) -> str:
    """Plan as the worker's loop does, until it is decided who won."""
    over = (WithdrawalState.PLANNED, WithdrawalState.CANCELLED)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        planned(house)
        if house.withdrawal(withdrawal_id).state in over:
            return "over"
    raise AssertionError("nobody ever won")


def counted(house: House) -> int:
    charge = Charge("day", "day/global", 0, 10**12, WINDOW_NS)
    with house.platform.db.read() as conn:
        return velocity.used(conn, [charge], house.clock.now_ns())["day/global"]


def test_of_officers_payers_and_a_customer_in_the_same_instant_one_wins(house: House) -> None:
    """Two officers approve and two workers plan; every second time the customer cancels, too."""
    ids, ends = asked(house), Counter[str]()
    chance, span_s = random.Random(0), 0.05
    for number, withdrawal_id in enumerate(ids):
        works = [partial(approved, house, withdrawal_id, person) for person in ("ben", "cleo")]
        works += [partial(pays, house, withdrawal_id)] * 2
        with_cancel = number % 2 == 0
        if with_cancel:
            late_s = 1.5 * chance.random() * span_s
            works.append(partial(cancelled, house, withdrawal_id, late_s))
        began = time.monotonic()
        with shaken(number):
            answers = at_once(*works)
        if not with_cancel:
            span_s = time.monotonic() - began
        row, told = house.withdrawal(withdrawal_id), _told(house, withdrawal_id)
        ends[row.state.value] += 1
        assert len(set(told)) == len(told), "each happened at most once"
        if row.state is WithdrawalState.PLANNED:
            assert told == ["requested", "held", "approved", "planned"]
            assert not with_cancel or answers[-1] == Reason.ILLEGAL_TRANSITION.value
        else:
            assert (with_cancel, row.state, answers[-1]) == (
                True, WithdrawalState.CANCELLED, "cancelled",
            )  # fmt: skip
    few = len(ids) // 40
    assert ends["cancelled"] > few, "both must win now and then"
    assert ends["planned"] > len(ids) // 2 + few
    with house.platform.db.read() as conn:
        spends = spending_rows.all_of(conn, house.home.chain.traits.chain)
        paid = Counter(one.cause_id for one in spends if one.kind is SpendKind.WITHDRAWAL)
        released = funding.causes_of(conn, funding.FundingKind.RELEASE)
    assert set(paid.values()) == {1}, "exactly one spend"
    assert not set(paid) & set(released), "nothing is both paid and given back"
    assert set(paid) | set(released) == set(ids)
    assert counted(house) == ends["planned"] * AMOUNT, "what was cancelled counts no more"


def test_W03_control_one_officer_alone_makes_none(house: House) -> None:
    withdrawal_id = asked(house)[0]
    house.approve(withdrawal_id, "ben", "ben")
    assert planned(house) == "0"
    assert house.withdrawal(withdrawal_id).state is WithdrawalState.HELD


def _told(house: House, withdrawal_id: WithdrawalId) -> list[str]:
    with house.platform.db.read() as conn:
        return [entry.state.value for entry in states.timeline(conn, withdrawal_id)]
