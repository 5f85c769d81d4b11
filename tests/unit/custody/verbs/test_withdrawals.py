"""Every way a withdrawal can go, on both databases."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import sqlalchemy as sa

from chains.base import NATIVE, SpendKind
from chains.fake import FakeWorld
from core.clock import DAY_NS
from core.errors import Reason, Refused
from core.ids import CustomerNo
from custody.keys.roster import Verdict, sign_approval
from custody.spending import rows as spending_rows
from custody.withdrawals import approvals, states, workflow
from custody.withdrawals.states import (
    RELEASING,
    TERMINAL,
    TRANSITIONS,
    Withdrawal,
    WithdrawalState,
    WithdrawalVerb,
)
from tests.support.house import House, officer_key
from tests.unit.custody.verbs.conftest import FEE

DEPOSIT = 1_000_000


@pytest.fixture
def alice(house: House, world: FakeWorld) -> CustomerNo:
    """Return a customer with money."""
    customer_no = house.customer("alice")
    world.pay(house.address(customer_no), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    assert house.balance(customer_no, NATIVE) == DEPOSIT
    return customer_no


def held(house: House, world: FakeWorld, alice: CustomerNo, *, client_id: str = "w1") -> Withdrawal:
    row = house.withdraw(alice, NATIVE, 10_000, world.outsider("bob"), client_id=client_id)
    house.run(1)
    return house.withdrawal(row.withdrawal_id)


def test_a_request_holds_amount_and_fee_before_anybody_approves(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    assert row.state is WithdrawalState.HELD
    assert house.balance(alice, NATIVE) == DEPOSIT - 10_000 - FEE


def test_a_request_above_the_balance_is_refused_and_holds_nothing(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = house.withdraw(alice, NATIVE, DEPOSIT, world.outsider("bob"))
    house.run(1)
    done = house.withdrawal(row.withdrawal_id)
    assert (done.state, done.reason) == (WithdrawalState.REFUSED, "exceeds_available")
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_two_officers_approve_and_the_payment_lands(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    assert house.approve(row.withdrawal_id, "ada").state is WithdrawalState.HELD
    assert house.approve(row.withdrawal_id, "ben").state is WithdrawalState.APPROVED
    for _ in range(4):
        house.run(1)
        world.mine(2)
    house.run(1)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert world.balance(world.outsider("bob"), NATIVE) == 10_000
    with house.platform.db.read() as conn:
        told = [entry.state for entry in states.timeline(conn, row.withdrawal_id)]
    assert told == [
        WithdrawalState.REQUESTED, WithdrawalState.HELD, WithdrawalState.APPROVED,
        WithdrawalState.PLANNED, WithdrawalState.SIGNED, WithdrawalState.BROADCAST,
        WithdrawalState.CONFIRMED,
    ]  # fmt: skip


def test_one_rejection_ends_it_and_gives_the_money_back(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    house.approve(row.withdrawal_id, "ada")
    house.approve(row.withdrawal_id, "cleo", verdict=Verdict.REJECT)
    house.run(1)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.REJECTED
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_the_same_person_counts_once(house: House, world: FakeWorld, alice: CustomerNo) -> None:
    row = held(house, world, alice)
    assert house.approve(row.withdrawal_id, "ada", "ada").state is WithdrawalState.HELD


def test_an_approval_of_another_withdrawal_is_refused(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    first, second = (held(house, world, alice, client_id=name) for name in ("w1", "w2"))
    harvested = sign_approval(officer_key("ada"), approvals.intent_of(first))
    with pytest.raises(Refused) as refused:
        house.platform.db.run(
            partial(
                approvals.add, withdrawal_id=second.withdrawal_id, approval=harvested,
                roster=house.platform.roster, now_ns=house.clock.now_ns(),
            )
        )  # fmt: skip
    assert refused.value.reason is Reason.BAD_SIGNATURE


def test_a_cancelled_request_gives_the_money_back(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    cancel = partial(workflow.cancel, withdrawal_id=row.withdrawal_id, by="customer:1", now_ns=1)
    house.platform.db.run(cancel)
    house.platform.db.run(cancel)
    house.run(1)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CANCELLED
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_a_planned_withdrawal_can_no_longer_be_cancelled(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    house.approve(row.withdrawal_id)
    assert house.step("withdrawals.plan") == 1
    with pytest.raises(Refused) as refused:
        house.platform.db.run(
            partial(workflow.cancel, withdrawal_id=row.withdrawal_id, by="x", now_ns=1)
        )
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION


def test_approvals_that_come_too_late_expire_the_request(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    house.clock.advance(DAY_NS + 1)
    with pytest.raises(Refused) as refused:
        house.approve(row.withdrawal_id, "ada")
    assert refused.value.reason is Reason.APPROVAL_EXPIRED
    house.run(2)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.EXPIRED
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_the_same_client_id_is_one_withdrawal_for_ever(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    house.clock.advance(2 * DAY_NS)
    again = house.withdraw(alice, NATIVE, 10_000, world.outsider("bob"))
    assert again.withdrawal_id == row.withdrawal_id
    with pytest.raises(Refused) as refused:
        house.withdraw(alice, NATIVE, 10_001, world.outsider("bob"))
    assert refused.value.reason is Reason.EXISTS_WITH_OTHER_CONTENT
    bob = house.customer("bob")
    other = house.withdraw(bob, NATIVE, 10_000, world.outsider("bob"))
    assert other.withdrawal_id != row.withdrawal_id


@pytest.mark.parametrize(
    ("amount", "reason"),
    [(0, Reason.ZERO_AMOUNT), (9, Reason.BELOW_MINIMUM), (1 << 96, Reason.AMOUNT_OUT_OF_RANGE)],
)
def test_bad_amounts_are_refused_before_anything_is_held(
    house: House, world: FakeWorld, alice: CustomerNo, amount: int, reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        house.withdraw(alice, NATIVE, amount, world.outsider("bob"))
    assert refused.value.reason is reason
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_our_own_addresses_are_refused_as_destinations(house: House, alice: CustomerNo) -> None:
    for to in (house.own_address("hot"), house.address(alice)):
        with pytest.raises(Refused) as refused:
            house.withdraw(alice, NATIVE, 10_000, to)
        assert refused.value.reason is Reason.OWN_ADDRESS


def test_a_failed_execution_gives_the_money_back_and_books_the_fee(
    house: House, world: FakeWorld, token: str, alice: CustomerNo
) -> None:
    world.fund(house.own_address("hot"), 10**6, token)
    world.pay(house.address(alice), token, 50_000)
    world.mine(3)
    house.run(2)
    bob = world.outsider("bob")
    row = house.withdraw(alice, token, 10_000, bob)
    house.run(1)
    house.approve(row.withdrawal_id)
    world.refuse_transfers_to(bob)
    for _ in range(4):
        house.run(1)
        world.mine(2)
    house.run(1)
    done = house.withdrawal(row.withdrawal_id)
    assert (done.state, done.reason) == (WithdrawalState.FAILED, "execution_failed")
    assert house.balance(alice, token) == 50_000
    with house.platform.db.read() as conn:
        spend = spending_rows.find_by_cause(conn, row.withdrawal_id, SpendKind.WITHDRAWAL)
    assert spend is not None
    assert spend.fee_paid


def test_a_stuck_payment_is_replaced_and_only_one_lands(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    house.approve(row.withdrawal_id)
    house.run(2)
    world.set_base_rate(40)
    world.mine()
    for _ in range(30):
        house.run(1)
        world.mine()
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert world.balance(world.outsider("bob"), NATIVE) == 10_000
    with house.platform.db.read() as conn:
        spend = spending_rows.find_by_cause(conn, row.withdrawal_id, SpendKind.WITHDRAWAL)
        assert spend is not None
        attempts = spending_rows.attempts(conn, spend.spend_id)
    assert len(attempts) >= 2
    assert len(world.paid_out([attempt.tx_id for attempt in attempts])) == 1


def put(conn: sa.Connection, state: WithdrawalState) -> None:
    conn.execute(states.withdrawals.update().values(state=state.value))


def test_only_declared_transitions_happen(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = held(house, world, alice)
    db = house.platform.db
    for state, verb in itertools.product(WithdrawalState, WithdrawalVerb):
        db.run(partial(put, state=state))
        move = partial(states.advance, row=house.withdrawal(row.withdrawal_id), verb=verb, now_ns=1)
        if (state, verb) in TRANSITIONS:
            assert db.run(move).state is TRANSITIONS[(state, verb)]
            continue
        with pytest.raises(Refused) as refused:
            db.run(move)
        assert refused.value.reason is Reason.ILLEGAL_TRANSITION


def test_terminal_states_absorb_and_what_releases_is_terminal() -> None:
    assert not {state for state, _ in TRANSITIONS} & TERMINAL
    assert RELEASING < TERMINAL
