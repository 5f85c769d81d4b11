"""What must not stop other payments, and what must not be paid, on both databases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chains.base import NATIVE, SpendIntent, SpendKind
from chains.fake import FakeWorld
from core.clock import DAY_NS, SECOND_NS
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId, CustomerNo
from custody import deposit_rows
from custody.deposit_rows import DepositState
from custody.keys.mandate import Mandate, covers
from custody.keys.roster import Verdict
from custody.spending import drive, rows
from custody.spending.drive import Problem
from custody.spending.rows import Spend, SpendState
from custody.wallets import addresses
from custody.withdrawals import execute
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.support.house import House

DEPOSIT = 1_000_000


@pytest.fixture
def alice(house: House, world: FakeWorld) -> CustomerNo:
    """Return a customer with money."""
    customer_no = house.customer("alice")
    world.pay(house.address(customer_no), NATIVE, DEPOSIT)
    world.mine(3)
    house.run(2)
    return customer_no


def approved(house: House, world: FakeWorld, alice: CustomerNo, name: str) -> Withdrawal:
    return all_approved(house, world, alice, [name])[0]


def all_approved(
    house: House, world: FakeWorld, alice: CustomerNo, names: Sequence[str]
) -> list[Withdrawal]:
    asked = [
        house.withdraw(alice, NATIVE, 10_000, world.outsider(name), client_id=name)
        for name in names
    ]
    for step in ("funding", "settlement"):
        house.step(step)
    return [house.approve(row.withdrawal_id) for row in asked]


def spend_of(house: House, row: Withdrawal) -> Spend | None:
    with house.platform.db.read() as conn:
        return rows.find_by_cause(conn, row.withdrawal_id, SpendKind.WITHDRAWAL)


def settled(house: House, world: FakeWorld, rounds: int = 5) -> None:
    for _ in range(rounds):
        house.run(1)
        world.mine(2)
    house.run(1)


def test_an_officer_may_still_reject_what_waits_for_the_wallet(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = approved(house, world, alice, "bob")
    assert row.state is WithdrawalState.APPROVED
    done = house.approve(row.withdrawal_id, "cleo", verdict=Verdict.REJECT)
    assert done.state is WithdrawalState.REJECTED
    house.run(1)
    assert house.balance(alice, NATIVE) == DEPOSIT


def test_a_rejection_after_the_plan_is_too_late(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = approved(house, world, alice, "bob")
    assert house.step("withdrawals.plan") == 1
    with pytest.raises(Refused) as refused:
        house.approve(row.withdrawal_id, "cleo", verdict=Verdict.REJECT)
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION


def test_many_withdrawals_that_cannot_be_planned_stop_no_other(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"stuck-{n}" for n in range(execute.BATCH_MAX + 1)]
    stuck = all_approved(house, world, alice, names)
    good = approved(house, world, alice, "good")
    chain = house.home.chain
    real, poisoned = chain.fee_units, {row.destination for row in stuck}

    def simulated(intent: object, coins: object = ()) -> int:
        if intent.destination in poisoned:  # type: ignore[attr-defined]
            raise Unavailable("would_revert")
        return real(intent)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "fee_units", simulated)
    assert house.step("withdrawals.plan") == 1
    assert house.withdrawal(good.withdrawal_id).state is WithdrawalState.PLANNED


def test_what_is_planned_is_sent_before_a_long_queue_is_planned_on(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    names = [f"queued-{n}" for n in range(execute.PLANNED_MAX + 2)]
    queue = all_approved(house, world, alice, names)
    assert house.step("withdrawals.plan") == execute.PLANNED_MAX
    house.step("spending.move")
    states_now = [house.withdrawal(row.withdrawal_id).state for row in queue]
    assert states_now[: execute.PLANNED_MAX] == [WithdrawalState.BROADCAST] * execute.PLANNED_MAX
    assert house.step("withdrawals.plan") == 2


def test_fees_above_the_cap_take_no_nonce(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    cap = house.home.terms.network_fee_max
    row = approved(house, world, alice, "bob")
    monkeypatch.setattr(house.home.chain, "_rate_cap", cap)
    world.set_base_rate(cap)
    assert house.step("withdrawals.plan") == 0
    assert spend_of(house, row) is None
    world.set_base_rate(1)
    assert house.step("withdrawals.plan") == 1


def test_an_expired_withdrawal_is_not_planned(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    row = approved(house, world, alice, "bob")
    house.clock.advance(2 * DAY_NS)
    assert house.step("withdrawals.plan") == 0
    house.run(1)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.EXPIRED
    assert spend_of(house, row) is None


def test_two_planners_do_not_spend_one_purse_twice(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [approved(house, world, alice, name) for name in ("bob", "carol")]
    real = execute.decide_payable

    def overtaken(*args: object, **kwargs: object) -> str | None:
        monkeypatch.setattr(execute, "decide_payable", real)
        monkeypatch.setattr(execute, "approved", lambda *_, **__: iter([both[1]]))
        execute.step(
            house.platform.db, house.home.chain, roster=house.platform.roster,
            terms=house.home.terms, clock=house.clock, note=house.problems.append,
        )  # fmt: skip
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "decide_payable", overtaken)
    house.step("withdrawals.plan")
    planned = [house.withdrawal(row.withdrawal_id).state for row in both]
    assert planned == [WithdrawalState.APPROVED, WithdrawalState.PLANNED]


def test_a_destination_that_became_ours_is_not_paid(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = approved(house, world, alice, "bob")
    house.platform.db.run(
        lambda conn: addresses.reserve(
            conn, row.chain, alice, public_key_of=lambda _a, _i: b"",
            address_of=lambda _key: row.destination, now_ns=1,
        )
    )  # fmt: skip
    assert house.step("withdrawals.plan") == 0
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.APPROVED


def test_a_payment_to_an_address_that_became_ours_is_that_customers_deposit(
    house: House, world: FakeWorld, alice: CustomerNo
) -> None:
    bob = house.customer("bob")
    row = approved(house, world, alice, "later")
    assert house.step("withdrawals.plan") == 1
    house.platform.db.run(
        lambda conn: addresses.reserve(
            conn, row.chain, bob, public_key_of=lambda _a, _i: b"",
            address_of=lambda _key: row.destination, now_ns=1,
        )
    )  # fmt: skip
    settled(house, world)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert house.balance(bob, NATIVE) == 10_000
    with house.platform.db.read() as conn:
        (deposit,) = deposit_rows.list_deposits(conn, customer_no=bob)
    assert deposit.state is DepositState.CREDITED


def test_a_payment_whose_destination_refuses_after_the_plan_frees_the_lane(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = approved(house, world, alice, "bad")
    assert house.step("withdrawals.plan") == 1
    chain = house.home.chain
    real = chain.fee_units

    def simulated(intent: object, coins: object = ()) -> int:
        if intent.destination == bad.destination:  # type: ignore[attr-defined]
            raise Unavailable("would_revert")
        return real(intent)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "fee_units", simulated)
    good = approved(house, world, alice, "good")
    settled(house, world, 2)
    assert house.withdrawal(good.withdrawal_id).state is WithdrawalState.BROADCAST
    house.clock.advance(600 * SECOND_NS)
    settled(house, world)
    assert house.withdrawal(bad.withdrawal_id).state is WithdrawalState.FAILED
    assert house.withdrawal(good.withdrawal_id).state is WithdrawalState.CONFIRMED
    assert house.balance(alice, NATIVE) == DEPOSIT - 10_050


def test_while_the_node_is_silent_nothing_planned_is_given_up(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = approved(house, world, alice, "bob")
    assert house.step("withdrawals.plan") == 1
    house.clock.advance(600 * SECOND_NS)
    chain = house.home.chain

    def silent(_intent: object, _coins: object = ()) -> int:
        raise Unavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(chain, "fee_units", silent)
        house.step("spending.move")
    settled(house, world)
    assert house.withdrawal(row.withdrawal_id).state is WithdrawalState.CONFIRMED


def test_spends_that_wait_take_nobodys_turn(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = all_approved(house, world, alice, [f"w{n}" for n in range(drive.BATCH_MAX + 2)])
    while house.step("withdrawals.plan"):
        pass
    house.step("spending.move")
    with house.platform.db.read() as conn:
        left = rows.in_states(conn, waiting[0].chain, [SpendState.PLANNED])
    assert left == []


def test_an_own_transfer_above_its_mandate_waits_and_burns_no_fees(
    house: House, world: FakeWorld, alice: CustomerNo, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[Problem] = house.problems
    with house.platform.db.read() as conn:
        done = {spend.spend_id for spend in rows.all_of(conn, house.home.chain.traits.chain)}

    def blocked(found: Mandate, spend: SpendIntent, *, destination_account: str | None) -> None:
        if spend.kind is SpendKind.SWEEP:
            raise Refused(Reason.POLICY_BLOCKED, "above the cap")
        covers(found, spend, destination_account=destination_account)

    monkeypatch.setattr("custody.keys.authority.covers", blocked)
    world.pay(house.address(alice), NATIVE, DEPOSIT)
    world.mine(3)
    settled(house, world)
    house.clock.advance(2 * DAY_NS)
    settled(house, world)
    monkeypatch.undo()
    with house.platform.db.read() as conn:
        known = rows.all_of(conn, ChainId("fake"))
        found = [spend for spend in known if spend.spend_id not in done]
        tried = [a for spend in found for a in rows.attempts(conn, spend.spend_id)]
    assert tried == []
    assert [spend.state for spend in found] in ([], [SpendState.PLANNED])
    assert any("above the cap" in problem.why for problem in problems)
    settled(house, world, 8)
    with house.platform.db.read() as conn:
        known = rows.all_of(conn, ChainId("fake"))
        states_ = [spend.state for spend in known if spend.spend_id not in done]
    assert SpendState.CONFIRMED in states_
