"""W02, W07, C02: what was said of one payment is worth nothing for another one."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from chains.base import NATIVE
from chains.fake import FakeChain, FakeWorld
from core.clock import DAY_NS
from core.errors import Reason, Refused, Unavailable
from core.ids import CustomerNo
from custody import velocity
from custody.keys.roster import Approval, Verdict, sign_approval
from custody.keys.service import ENTRIES_MAX
from custody.policy.decision import Charge
from custody.withdrawals import approvals, states, workflow
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.support.house import HOT, House, officer_key, open_house
from tests.support.policies import bucket, document, required

AMOUNT = 10_000
DEPOSIT = 1_000_000
POLICY = document(
    required(), bucket("day", "global", "1", unit="coins", assets=[NATIVE], chains=["fake"])
)


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld(finality_depth=2)


@pytest.fixture
def house(database_url: str, world: FakeWorld) -> Iterator[House]:
    assets = world.listed_assets()
    with open_house(database_url, FakeChain(world), assets, policy=POLICY) as opened:
        world.fund(opened.own_address(HOT), 10**9)
        yield opened


@pytest.fixture
def alice(house: House, world: FakeWorld) -> CustomerNo:
    customer_no = house.customer("alice")
    world.pay(house.address(customer_no), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    return customer_no


def asked(house: House, world: FakeWorld, alice: CustomerNo, name: str) -> Withdrawal:
    """Return a held withdrawal, always of the same amount to the same destination."""
    row = house.withdraw(alice, NATIVE, AMOUNT, world.outsider("bob"), client_id=name)
    house.step("funding")
    house.step("settlement")
    return house.withdrawal(row.withdrawal_id)


def signed_for(house: House, row: Withdrawal) -> int:
    """Return how many digests the signer's own log has for a withdrawal."""
    entries = house.platform.signer.entries(0, ENTRIES_MAX)
    return sum(entry.record.cause_id == row.withdrawal_id for entry in entries)


def finish(house: House, world: FakeWorld) -> None:
    for _ in range(5):
        house.run(1)
        world.mine(2)
    house.run(1)


def harvested(house: House, world: FakeWorld, alice: CustomerNo) -> list[Approval]:
    """Return what officers signed of three attempts that came to nothing."""
    found = []
    rejected, cancelled, expired = (asked(house, world, alice, f"failed {n}") for n in range(3))
    for row, person in ((rejected, "ada"), (cancelled, "ben"), (expired, "cleo")):
        house.approve(row.withdrawal_id, person)
        found += _of(house, row)
    house.approve(rejected.withdrawal_id, "ben", verdict=Verdict.REJECT)
    house.platform.db.run(
        partial(
            workflow.cancel, withdrawal_id=cancelled.withdrawal_id, by="alice",
            now_ns=house.clock.now_ns(),
        )
    )  # fmt: skip
    house.clock.advance(DAY_NS)
    house.run(1)
    ends = [house.withdrawal(row.withdrawal_id).state for row in (rejected, cancelled, expired)]
    assert ends == [WithdrawalState.REJECTED, WithdrawalState.CANCELLED, WithdrawalState.EXPIRED]
    return found


def _of(house: House, row: Withdrawal) -> list[Approval]:
    with house.platform.db.read() as conn:
        return approvals.of(conn, row.withdrawal_id)


def test_W07_approvals_of_failed_attempts_pay_no_twin(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    collected = harvested(house, world, alice)
    twin = asked(house, world, alice, "twin")
    for approval in collected:
        add = partial(
            approvals.add, withdrawal_id=twin.withdrawal_id, approval=approval,
            roster=house.platform.roster, now_ns=house.clock.now_ns(),
        )  # fmt: skip
        with pytest.raises(Refused) as refused:
            house.platform.db.run(add)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    # Whoever writes in the database can put them there all the same.
    columns = ", ".join(column.name for column in approvals.approvals.c)
    forge = sa.text(
        f"INSERT INTO approvals SELECT approval_no + 900, :twin, "
        f"{columns.partition('withdrawal_id, ')[2]} FROM approvals WHERE verdict = 'approve'"
    )
    house.platform.db.run(lambda conn: conn.execute(forge, {"twin": twin.withdrawal_id}))
    assert len(_of(house, twin)) == len(collected)
    _force(house, twin, WithdrawalState.APPROVED)
    finish(house, world)
    row = house.withdrawal(twin.withdrawal_id)
    assert (row.state, row.reason) == (WithdrawalState.HELD, "quorum_not_met")
    assert signed_for(house, twin) == 0
    # Control: two officers who sign this one have it paid.
    house.approve(twin.withdrawal_id)
    finish(house, world)
    assert house.withdrawal(twin.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert signed_for(house, twin) == 1
    assert world.balance(world.outsider("bob"), NATIVE) == AMOUNT


def _force(house: House, row: Withdrawal, state: WithdrawalState) -> None:
    table = states.withdrawals
    change = table.update().where(table.c.withdrawal_id == row.withdrawal_id)
    house.platform.db.run(lambda conn: conn.execute(change.values(state=state.value)))


@pytest.mark.parametrize("what", ["destination", "amount", "wallet", "network_fee_max"])
def test_C02_a_screen_that_shows_another_payment_collects_nothing(
    house: House, world: FakeWorld, alice: CustomerNo, what: str
) -> None:
    """The platform posts D2 and shows D1: the officer's own tool signs what it decodes, D1."""
    posted = asked(house, world, alice, "posted")
    changes: dict[str, dict[str, Any]] = {
        "destination": {"destination": world.outsider("a friend")},
        "amount": {"amount": 1},
        "wallet": {"wallet": "cold"},
        "network_fee_max": {"network_fee_max": 1},
    }
    shown = dataclasses.replace(approvals.intent_of(posted), **changes[what])
    for person in ("ada", "ben"):
        signed = sign_approval(officer_key(person), shown)
        add = partial(
            approvals.add, withdrawal_id=posted.withdrawal_id, approval=signed,
            roster=house.platform.roster, now_ns=house.clock.now_ns(),
        )  # fmt: skip
        with pytest.raises(Refused) as refused:
            house.platform.db.run(add)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    finish(house, world)
    assert house.withdrawal(posted.withdrawal_id).state is WithdrawalState.HELD
    assert signed_for(house, posted) == 0


def test_W02_fifty_times_the_same_id_is_one_decision_and_one_charge(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    gate, ids = threading.Barrier(50), []

    def ask() -> None:
        gate.wait()
        for _ in range(50):
            try:
                row = house.withdraw(alice, NATIVE, AMOUNT, world.outsider("bob"), client_id="w")
            except Unavailable:
                continue
            ids.append(row.withdrawal_id)
            return

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 50
    assert len(set(ids)) == 1
    assert len(house.decisions(ids[0])) == 1
    charge = Charge("day", "day/global", 0, 10**9, DAY_NS)
    with house.platform.db.read() as conn:
        assert velocity.used(conn, [charge], house.clock.now_ns()) == {"day/global": AMOUNT}
        count = conn.execute(sa.select(sa.func.count()).select_from(states.withdrawals)).scalar()
    assert count == 1
    with pytest.raises(Refused) as refused:
        house.withdraw(alice, NATIVE, AMOUNT + 1, world.outsider("bob"), client_id="w")
    assert refused.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT
