"""Approvals of withdrawals: W04 separation of duties, W05 a payload that was swapped."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Corrupt
from custody.keys.roster import Officer
from custody.withdrawals.states import WithdrawalState
from tests.support.evm import ETHER, listed, minted
from tests.support.house import HOT, make_roster
from tests.support.threats import OUTSIDE, Stage, held_by_chain

ATTACKER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
SECOND_NS = 10**9


def without(person: str) -> tuple[Officer, ...]:
    """Return the officers after one was removed."""
    return tuple(one for one in make_roster().officers if one.person != person)


def until(person: str, at_ns: int) -> tuple[Officer, ...]:
    """Return the officers when the time of one ends."""
    return tuple(
        dataclasses.replace(officer, active_until_ns=at_ns) if officer.person == person else officer
        for officer in make_roster().officers
    )


@pytest.mark.parametrize("way", ["removed from the file", "his time ended"])
def test_W04_approvals_are_counted_again_when_the_payment_is_signed(stage: Stage, way: str) -> None:
    scene = stage()
    if way == "his time ended":
        scene.house.pin(officers=until("cleo", scene.house.clock.now_ns() + 600 * SECOND_NS))
    alice = scene.funded()
    before = held_by_chain(scene)
    withdrawal_id = scene.approved(alice, ETHER, by=("ada", "cleo"))
    assert scene.house.step("withdrawals.plan") == 1, "the platform itself has looked already"
    if way == "his time ended":
        scene.house.clock.advance(601 * SECOND_NS)
    else:
        scene.house.pin(officers=without("cleo"))
    scene.go()
    row = scene.withdrawal(withdrawal_id)
    assert (row.state, row.reason) == (WithdrawalState.FAILED, "not_an_officer")
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    (attempt,) = scene.attempts(spend)
    assert attempt.cancels
    assert scene.chain.tx_status(attempt.tx_id).succeeded, "the nonce was spent on ourselves"
    assert scene.digests(withdrawal_id) == []
    assert (held_by_chain(scene) - before, scene.credited(alice)) == (0, 3 * ETHER)
    # Control: two officers who still are officers have the next one paid, on the next nonce.
    paid = scene.approved(alice, ETHER, by=("ada", "ben"), client_id="w2")
    scene.go()
    assert scene.withdrawal(paid).state is WithdrawalState.CONFIRMED
    assert held_by_chain(scene) - before == ETHER
    assert [spend.nonce for spend in scene.spends(SpendKind.WITHDRAWAL)] == [0, 1]
    scene.assert_equations_hold()


@pytest.mark.parametrize("way", ["removed from the file", "his time ended"])
def test_W04_approvals_of_a_removed_officer_are_void_and_another_may_take_his_place(
    stage: Stage, way: str
) -> None:
    scene = stage()
    if way == "his time ended":
        scene.house.pin(officers=until("cleo", scene.house.clock.now_ns() + 600 * SECOND_NS))
    alice = scene.funded()
    before = held_by_chain(scene)
    withdrawal_id = scene.approved(alice, ETHER, by=("ada", "cleo"))
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.APPROVED
    if way == "his time ended":
        scene.house.clock.advance(601 * SECOND_NS)
    else:
        scene.house.pin(officers=without("cleo"))
    scene.go()
    row = scene.withdrawal(withdrawal_id)
    assert (row.state, row.reason) == (WithdrawalState.HELD, "quorum_not_met")
    assert row.releasable_at_ns is None
    assert scene.spends(SpendKind.WITHDRAWAL) == [], "not even a nonce was taken"
    # Control: with one who still is an officer the same withdrawal is paid.
    scene.house.approve(withdrawal_id, "ben")
    scene.go()
    assert scene.withdrawal(withdrawal_id).state is WithdrawalState.CONFIRMED
    assert held_by_chain(scene) - before == ETHER
    scene.assert_equations_hold()


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "destination": ("destination = :value", {"value": ATTACKER}),
    "amount": ("amount = :value", {"value": (2 * ETHER).to_bytes(32, "big")}),
    "fee": ("fee = :value", {"value": (1).to_bytes(32, "big")}),
    "asset": ("asset_no = :value", {"value": 2}),
    "customer": ("customer_no = :value", {"value": 2}),
    "initiator": ("initiator = :value", {"value": "ada"}),
    "expiry": ("expires_at_ns = :value", {"value": 1 << 61}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_W05_a_row_changed_after_its_approval_is_never_signed(stage: Stage, what: str) -> None:
    token = minted(stage.contracts, "DemoToken", "Demo", "DEMO", 6)
    scene = stage(listed(token.address))
    alice = scene.funded()
    bob = scene.customer("bob")
    token.send("transfer", scene.house.own_address(HOT), 1_000_000)
    stage.contracts.pay(bob.address, ETHER)
    scene.go()
    withdrawal_id = scene.approved(alice, 1_000)
    change, values = CHANGES[what]
    changed = scene.sql(
        f"UPDATE withdrawals SET {change} WHERE withdrawal_id = :id", id=withdrawal_id, **values
    )
    assert changed == 1, "the control: whoever has the database can change the row"
    before = held_by_chain(scene), held_by_chain(scene, ATTACKER)
    try:
        scene.run(4)
        stage.node.mine(3)
        scene.run(4)
        stopped = False
    except Corrupt:
        stopped = True
    assert scene.digests(withdrawal_id) == []
    assert (held_by_chain(scene), held_by_chain(scene, ATTACKER)) == before
    assert token.ask("balanceOf", OUTSIDE) == 0
    state = scene.withdrawal(withdrawal_id).state
    assert stopped or state not in (WithdrawalState.BROADCAST, WithdrawalState.CONFIRMED)


def test_W05_control_the_row_that_nobody_changed_is_paid(stage: Stage) -> None:
    scene = stage()
    alice = scene.funded()
    before = held_by_chain(scene)
    withdrawal_id = scene.approved(alice, 1_000)
    scene.go()
    assert len(scene.digests(withdrawal_id)) == 1
    assert held_by_chain(scene) - before == 1_000
    scene.assert_equations_hold()


def test_W05_a_whole_other_intent_under_the_old_approvals_is_never_planned(stage: Stage) -> None:
    scene = stage()
    alice = scene.funded()
    good = scene.approved(alice, 1_000)
    twin = scene.house.withdraw(alice.number, NATIVE, 2 * ETHER, ATTACKER, client_id="twin")
    scene.house.step("funding")
    scene.house.step("settlement")
    # Row, intent and hash agree with each other; only the officers never signed this.
    scene.sql(
        "INSERT INTO approvals SELECT approval_no + 100, :twin, person, public_key, verdict,"
        " signature, evidence, at_ns FROM approvals WHERE withdrawal_id = :good",
        twin=twin.withdrawal_id,
        good=good,
    )
    scene.sql("UPDATE withdrawals SET state = 'approved' WHERE withdrawal_id = :t",
              t=twin.withdrawal_id)  # fmt: skip
    before = held_by_chain(scene), held_by_chain(scene, ATTACKER)
    scene.go()
    assert scene.withdrawal(good).state is WithdrawalState.CONFIRMED, "the control"
    row = scene.withdrawal(twin.withdrawal_id)
    assert (row.state, row.reason) == (WithdrawalState.HELD, "quorum_not_met")
    assert scene.digests(twin.withdrawal_id) == []
    after = held_by_chain(scene), held_by_chain(scene, ATTACKER)
    assert after == (before[0] + 1_000, before[1])
    scene.assert_equations_hold()
