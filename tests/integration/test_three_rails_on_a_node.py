"""A passkey and a wallet pay out on a real node; what was signed for one payment pays no other.

W04, W05, W07: the guard judges every kind of credential again, whatever the database says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from core.errors import Reason, Refused
from core.ids import WithdrawalId
from custody.keys.authority import Approvals, read_evidence
from custody.keys.intent import encode, intent_hash
from custody.keys.roster import ContractWallet, Verdict
from custody.keys.service import ENTRIES_MAX
from custody.keys.signers import KeyRef
from custody.withdrawals import approvals
from custody.withdrawals.rehearsal import Finding, Rehearsal, rehearse
from custody.withdrawals.states import Withdrawal, WithdrawalState
from tests.support.evm import CHAIN, ETHER
from tests.support.house import HOT, make_roster
from tests.support.rails import PasskeyOf, Rail, WalletKey, give
from tests.support.threats import OUTSIDE, Customer, Scene, Stage, held_by_chain

ADA, BEN = PasskeyOf("ada's passkey"), WalletKey("ben's wallet")
ROWS = (*make_roster().officers, ADA.row("ada"), BEN.row("ben"))


def opened(stage: Stage) -> tuple[Scene, Customer]:
    """Open a platform whose officers hold three kinds of credentials, and a rich customer."""
    scene = stage()
    scene.house.pin(officers=ROWS)
    return scene, scene.funded()


def held(scene: Scene, customer: Customer, name: str) -> Withdrawal:
    """Return a withdrawal that waits for officers."""
    row = scene.house.withdraw(customer.number, "native", ETHER // 4, OUTSIDE, client_id=name)
    scene.house.step("funding")
    scene.house.step("settlement")
    assert scene.withdrawal(row.withdrawal_id).state is WithdrawalState.HELD
    return scene.withdrawal(row.withdrawal_id)


def hand_in(scene: Scene, row: Withdrawal, rail: Rail, *, of: Withdrawal | None = None) -> None:
    """Record a verdict on a withdrawal; `of` says for which one it was really signed."""
    given = give(rail, approvals.intent_of(of or row))
    add = partial(
        approvals.add, withdrawal_id=row.withdrawal_id, approval=given,
        roster=scene.house.platform.roster, now_ns=scene.house.clock.now_ns(),
    )  # fmt: skip
    scene.house.platform.db.run(add)


def rehearsed(scene: Scene, row: Withdrawal) -> Rehearsal:
    """Return what paying now would do."""
    platform = scene.house.platform
    return rehearse(
        platform.db, scene.chain, row, roster=platform.roster, now_ns=platform.clock.now_ns()
    )


def state_of(scene: Scene, withdrawal_id: WithdrawalId) -> WithdrawalState:
    return scene.withdrawal(withdrawal_id).state


def test_what_was_rehearsed_is_what_a_passkey_and_a_wallet_pay(stage: Stage) -> None:
    scene, alice = opened(stage)
    row, before = held(scene, alice, "w1"), held_by_chain(scene)
    house = scene.house
    shown = rehearsed(scene, row)
    assert (shown.finding, shown.differences) == (Finding.AS_APPROVED, ())
    moved = {one.address: one.after - one.before for one in shown.changes}
    assert moved == {house.own_address(HOT): -row.amount, OUTSIDE: row.amount}
    assert held_by_chain(scene) == before
    hand_in(scene, row, ADA)
    assert state_of(scene, row.withdrawal_id) is WithdrawalState.HELD
    hand_in(scene, row, BEN)
    scene.until(lambda: state_of(scene, row.withdrawal_id) is WithdrawalState.CONFIRMED)
    assert held_by_chain(scene) - before == row.amount
    (entry,) = [
        one for one in house.platform.signer.entries(0, ENTRIES_MAX)
        if one.record.cause_id == row.withdrawal_id
    ]  # fmt: skip
    authority, _ = read_evidence(entry.record.evidence)
    assert isinstance(authority, Approvals)
    assert {one.public_key for one in authority.approvals} == {
        ADA.row("ada").public_key, BEN.row("ben").public_key,
    }  # fmt: skip
    scene.assert_equations_hold()


def test_a_contract_wallets_payment_is_rehearsed_as_the_call_that_it_makes(stage: Stage) -> None:
    scene, alice = opened(stage)
    row = held(scene, alice, "w1")
    intent = replace(approvals.intent_of(row), wallet="treasury")
    from_treasury = replace(
        row, wallet="treasury", intent=encode(intent), intent_hash=intent_hash(intent)
    )
    assert rehearsed(scene, from_treasury).finding is Finding.NOT_POSSIBLE
    contract = scene.contracts.deploy("Receiver", 0).address
    scene.node.set_balance(contract, ETHER)
    wallet = ContractWallet(CHAIN, contract, (KeyRef("hot", 0),))
    scene.house.pin(wallets=(wallet,))
    shown = rehearsed(scene, from_treasury)
    assert (shown.finding, shown.differences, shown.digest) == (Finding.AS_APPROVED, (), b"")
    assert {one.address for one in shown.changes} == {contract, OUTSIDE}
    scene.node.set_balance(contract, row.amount - 1)
    assert rehearsed(scene, from_treasury).finding is Finding.WOULD_FAIL


def test_approvals_of_one_payment_pay_no_other_even_out_of_the_database(stage: Stage) -> None:
    scene, alice = opened(stage)
    first, twin = held(scene, alice, "w1"), held(scene, alice, "w2")
    for rail in (ADA, BEN):
        with pytest.raises(Refused) as refused:
            hand_in(scene, twin, rail, of=first)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    hand_in(scene, first, ADA)
    hand_in(scene, first, BEN)
    # Whoever has the database copies the rows and sets the state.
    scene.sql(
        "INSERT INTO approvals SELECT approval_no + 1000, :twin, person, public_key, verdict,"
        " signature, evidence, at_ns FROM approvals WHERE withdrawal_id = :first",
        twin=twin.withdrawal_id, first=first.withdrawal_id,
    )  # fmt: skip
    scene.sql(
        "UPDATE withdrawals SET state = 'approved', releasable_at_ns = 0 WHERE withdrawal_id = :id",
        id=twin.withdrawal_id,
    )
    before = held_by_chain(scene)
    scene.until(lambda: state_of(scene, first.withdrawal_id) is WithdrawalState.CONFIRMED)
    for _ in range(5):
        scene.run(bear=True)
        scene.node.mine()
    assert held_by_chain(scene) - before == first.amount
    assert scene.digests(first.withdrawal_id) != [] == scene.digests(twin.withdrawal_id)


def test_an_officers_lost_passkey_no_longer_counts_and_his_next_one_does(stage: Stage) -> None:
    """W04: between approval and signing the roster takes the passkey out."""
    scene, alice = opened(stage)
    row = held(scene, alice, "w1")
    hand_in(scene, row, ADA)
    fresh = PasskeyOf("ada's second passkey")
    others = tuple(one for one in ROWS if one.public_key != ADA.row("ada").public_key)
    scene.house.pin(officers=(*others, fresh.row("ada")))
    hand_in(scene, row, BEN)
    assert state_of(scene, row.withdrawal_id) is WithdrawalState.HELD
    hand_in(scene, row, fresh)
    scene.until(lambda: state_of(scene, row.withdrawal_id) is WithdrawalState.CONFIRMED)
    assert len(scene.digests(row.withdrawal_id)) == 1


def test_a_rejection_by_a_passkey_gives_the_money_back(stage: Stage) -> None:
    scene, alice = opened(stage)
    row = held(scene, alice, "w1")
    free = scene.credited(alice)
    given = give(ADA, approvals.intent_of(row), Verdict.REJECT)
    add = partial(
        approvals.add, withdrawal_id=row.withdrawal_id, approval=given,
        roster=scene.house.platform.roster, now_ns=scene.house.clock.now_ns(),
    )  # fmt: skip
    assert scene.house.platform.db.run(add).state is WithdrawalState.REJECTED
    scene.go()
    assert scene.credited(alice) == free + row.amount + row.fee
    assert scene.digests(row.withdrawal_id) == []
