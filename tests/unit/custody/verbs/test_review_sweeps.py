"""What waits, is worth little or may not be signed never stops a sweep and burns no fees."""

from __future__ import annotations

import dataclasses

import pytest

from chains.base import NATIVE, SpendIntent, SpendKind
from chains.fake import FakeWorld
from core.errors import Reason, Refused
from core.ids import CustomerNo
from custody.spending import rows
from custody.spending.rows import Spend, SpendState
from sweeper import run as sweeps
from tests.support.house import House


def spends(house: House, *kinds: SpendKind) -> list[Spend]:
    with house.platform.db.read() as conn:
        found = rows.all_of(conn, house.home.chain.traits.chain)
    return [spend for spend in found if not kinds or spend.kind in kinds]


def paid(house: House, world: FakeWorld, name: str, key: str, amount: int) -> CustomerNo:
    customer_no = house.customer(name)
    world.pay(house.address(customer_no), key, amount)
    return customer_no


def plan(house: House, *, actions_max: int) -> int:
    return sweeps.step(
        house.platform.db, house.home.chain, rules=house.home.sweeps, clock=house.clock,
        note=house.problems.append, actions_max=actions_max,
    )  # fmt: skip


def test_addresses_that_wait_take_nobodys_turn(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "DEPOSITS_MAX", 4)
    monkeypatch.setattr(sweeps, "ADDRESSES_PER_LOOK", 3)
    for number in range(6):  # worth less than five times their sweep
        paid(house, world, f"small-{number}", NATIVE, 1_100)
    rich = [paid(house, world, f"rich-{number}", NATIVE, 10**6) for number in range(3)]
    world.mine(3)
    for name in ("follow", "finality", "funding", "settlement"):
        house.step(name)
    assert [house.balance(no, NATIVE) for no in rich] == [10**6] * 3
    assert [plan(house, actions_max=2) for _ in range(3)] == [2, 1, 0]
    assert {spend.asset_no for spend in spends(house, SpendKind.SWEEP)} == {house.asset_no(NATIVE)}
    assert len({spend.source for spend in spends(house, SpendKind.SWEEP)}) == 3


def test_a_heap_is_swept_with_its_largest_deposits(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "DEPOSITS_MAX", 2)
    alice = house.customer("alice")
    address = house.address(alice)
    for amount in (1_000, 1_000, 1_000, 10**6):
        world.pay(address, NATIVE, amount)
    world.mine(3)
    for name in ("follow", "finality", "funding", "settlement"):
        house.step(name)
    assert plan(house, actions_max=9) == 1
    (sweep,) = spends(house, SpendKind.SWEEP)
    assert sweep.amount == 10**6 + 1_000
    assert sweep.state is SpendState.PLANNED


def test_a_renewed_mandate_counts_although_the_old_one_is_still_there(
    house: House, world: FakeWorld
) -> None:
    roster = house.platform.roster
    sweeping = next(mandate for mandate in roster.mandates if mandate.kind is SpendKind.SWEEP)
    expired = dataclasses.replace(sweeping, mandate_id="old", valid_until_ns=1)
    house.pin(mandates=(expired, *roster.mandates))
    paid(house, world, "alice", NATIVE, 10**6)
    world.mine(3)
    for _ in range(5):
        house.run(1)
        world.mine(2)
    (sweep,) = spends(house, SpendKind.SWEEP)
    assert sweep.state is SpendState.CONFIRMED


def test_a_sweep_that_may_not_pay_more_yet_is_not_cancelled_for_it(
    house: House, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid(house, world, "alice", NATIVE, 10**6)
    world.mine(3)
    house.run(3)
    (sweep,) = spends(house, SpendKind.SWEEP)
    assert sweep.state is SpendState.BROADCAST

    def blocked(_mandate: object, spend: SpendIntent, _used: object) -> None:
        if spend.kind is SpendKind.SWEEP:
            raise Refused(Reason.POLICY_BLOCKED, "fees of 24 h")

    monkeypatch.setattr("custody.keys.guard.fits", blocked)
    for _ in range(15):
        house.run(1)
    assert any("fees of 24 h" in problem.why for problem in house.problems)
    with house.platform.db.read() as conn:
        assert [each.cancels for each in rows.attempts(conn, sweep.spend_id)] == [False]
