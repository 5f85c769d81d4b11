"""Withdrawals from a Safe on a real node: approved, signed by its owners, relayed, booked.

Officers approve with a passkey, a wallet and a file key; owners sign EIP-712 data on their devices.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, Effect, SpendKind
from chains.evm.safe_state import GUARD_SLOT
from chains.multisig import OWNERS
from core.clock import DAY_NS
from core.errors import Reason, Refused
from custody.keys.roster import Verdict
from custody.keys.signers.base import KeyRef
from custody.multisig import cosign, owners, rows
from custody.multisig.rows import ProposalState
from custody.withdrawals import approvals
from custody.withdrawals.states import WithdrawalState
from tests.support.evm import ETHER, GWEI, watched_address
from tests.support.rails import give
from tests.support.safes import DEVICES, OnNode
from tests.support.threats import Customer, Stage
from tests.support.treasury import PERSONS, SPARE, Treasury, rail_of, treasury_on

ALICE = watched_address(1)
_S = WithdrawalState


@pytest.fixture(params=[(2, 3, "sqlite"), (3, 5, "postgresql")], ids=["2-of-3", "3-of-5"])
def safe(request: pytest.FixtureRequest, stage: Stage) -> tuple[Treasury, Customer]:
    threshold, count, database = request.param
    return treasury_on(stage, threshold=threshold, owners=count, database=database)


@pytest.fixture
def small(stage: Stage) -> tuple[Treasury, Customer]:
    return treasury_on(stage, threshold=2, owners=3)


def quorum_of(treasury: Treasury) -> tuple[str, ...]:
    """Return as many persons as have to sign."""
    return PERSONS[: treasury.desk.row.threshold]


def chain_has(treasury: Treasury, address: str) -> int:
    chain = treasury.scene.chain
    return chain.balance_of(address, NATIVE, chain.head())


def on_node(treasury: Treasury) -> OnNode:
    """Return the wallet as a thief sees it, who sends from an account of his own."""
    return OnNode(
        treasury.scene.chain, treasury.contracts, treasury.wallet, tuple(treasury.devices.values())
    )


def replayed(treasury: Treasury, row: rows.Proposal, *persons: str) -> bool:
    """Return whether what somebody kept still moves the wallet, relayed by himself."""
    signatures = [treasury.signature(row, person) for person in persons]
    wallets, thief = treasury.scene.chain.wallets, on_node(treasury)
    state = replace(treasury.desk.state(), nonce=row.nonce)
    relay = wallets.join(row.unsigned, signatures, state)
    return thief.send(thief.relayed(relay, wallet_nonce=row.nonce, units=400_000)).succeeded


def test_a_withdrawal_is_approved_signed_by_owners_relayed_and_booked(
    safe: tuple[Treasury, Customer],
) -> None:
    treasury, customer = safe
    before = treasury.books()
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    row = treasury.proposed(wanted)
    treasury.cosign(row, *quorum_of(treasury)[:-1])
    treasury.scene.run(2)
    assert treasury.proposal(wanted).state is ProposalState.OPEN
    assert treasury.scene.spends(SpendKind.WITHDRAWAL) == []
    treasury.cosign(row, quorum_of(treasury)[-1])
    treasury.until(row, ProposalState.DONE)
    assert treasury.scene.withdrawal(wanted).state is _S.CONFIRMED
    assert chain_has(treasury, ALICE) == ETHER
    assert treasury.books() == before - ETHER
    (spend,) = treasury.scene.spends(SpendKind.WITHDRAWAL)
    assert (spend.payer, spend.account, spend.wallet_nonce) == ("treasury", "gas", 0)
    assert spend.fee_paid
    treasury.scene.go()
    treasury.scene.assert_equations_hold()
    assert not replayed(treasury, row, *quorum_of(treasury))
    assert treasury.scene.incidents() == []


def test_owners_who_did_not_sign_what_was_approved_pay_nothing(
    small: tuple[Treasury, Customer],
) -> None:
    treasury, customer = small
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    row = treasury.proposed(wanted)
    ada, ben = (treasury.signature(row, person) for person in ("ada", "ben"))
    owner = {person: device.address for person, device in treasury.devices.items()}
    (stranger,) = treasury.desk.wallets.requests(row.unsigned, [DEVICES[6].address])
    for signature, address, reason in (
        (ada, owner["ben"], Reason.BAD_SIGNATURE),
        (ada[:64] + bytes((ada[64] + 4,)), owner["ada"], Reason.BAD_SIGNATURE),
        (ada[:64] + b"\0", owner["ada"], Reason.BAD_SIGNATURE),
        (ada[:-1], owner["ada"], Reason.BAD_SIGNATURE),
        (DEVICES[6].sign(stranger), DEVICES[6].address, Reason.NOT_AN_OWNER),
    ):
        with pytest.raises(Refused) as refused:
            cosign.add(treasury.desk, row.proposal_id, signature, owner=address, person="ada")
        assert refused.value.reason is reason
    treasury.cosign(row, "ada", "ada")
    with treasury.scene.house.platform.db.read() as conn:
        assert len(rows.signatures(conn, row.proposal_id)) == 1
    treasury.scene.run(2)
    assert treasury.proposal(wanted).state is ProposalState.OPEN
    assert ben


@pytest.mark.parametrize("how", ["reject", "cancel", "expire"])
@pytest.mark.parametrize("signed", [1, 2])
def test_W07_what_ended_is_never_executed_and_its_nonce_is_used_up_first(
    small: tuple[Treasury, Customer], how: str, signed: int
) -> None:
    treasury, customer = small
    scene, house = treasury.scene, treasury.scene.house
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    row = treasury.proposed(wanted)
    treasury.cosign(row, *PERSONS[:signed])
    if how == "reject":
        intent = approvals.intent_of(scene.withdrawal(wanted))
        verdict = give(rail_of("cleo"), intent, Verdict.REJECT)
        house.platform.db.run(
            lambda conn: approvals.add(
                conn, wanted, verdict, roster=house.platform.roster, now_ns=house.clock.now_ns()
            )
        )
    elif how == "cancel":
        scene.cancel(wanted)
    else:
        house.clock.advance(2 * DAY_NS)
        house.step("withdrawals.expire")
    assert scene.withdrawal(wanted).state in (_S.REJECTED, _S.CANCELLED, _S.EXPIRED)
    scene.run(2)
    assert scene.credited(customer) == 4 * ETHER  # while somebody could still use signatures
    scene.assert_equations_hold()
    burn = treasury.burn_of(row)
    assert treasury.proposal(wanted).state is ProposalState.ENDED
    with pytest.raises(Refused) as refused:
        treasury.cosign(row, "cleo")
    assert refused.value.reason is Reason.ILLEGAL_TRANSITION
    assert scene.spends(SpendKind.WITHDRAWAL) == []
    treasury.cosign(burn, *PERSONS[1:3])
    treasury.until(burn, ProposalState.DONE)
    assert treasury.proposal(wanted).state is ProposalState.DEAD
    scene.run(2)
    assert scene.credited(customer) == 5 * ETHER
    assert not replayed(treasury, row, *PERSONS[:2])
    assert chain_has(treasury, ALICE) == 0
    later = treasury.requested(customer, ETHER, ALICE, "w2")
    treasury.approve(later)
    following = treasury.proposed(later)
    assert following.nonce == row.nonce + 1
    treasury.cosign(following, *PERSONS[:2])
    treasury.until(following, ProposalState.DONE)
    assert chain_has(treasury, ALICE) == ETHER
    scene.go()
    scene.assert_equations_hold()
    assert scene.incidents() == []


def test_a_relay_that_reverts_fails_only_when_its_nonce_is_used_up(
    small: tuple[Treasury, Customer],
) -> None:
    """The nonce stayed free, so the same signatures could still pay: a burn comes first."""
    treasury, customer = small
    scene = treasury.scene
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    row = treasury.proposed(wanted)
    treasury.cosign(row, *PERSONS[:2])
    _reverted(treasury, "wallets.relay")
    treasury.until(row, ProposalState.ENDED)
    assert scene.withdrawal(wanted).state is _S.BROADCAST
    assert (scene.credited(customer), treasury.desk.state().nonce) == (4 * ETHER, 0)
    scene.house.step("wallets.propose")
    burn = treasury.burn_of(row)
    treasury.cosign(burn, *PERSONS[1:3])
    _reverted(treasury, "wallets.relay")
    treasury.until(burn, ProposalState.ENDED)
    scene.house.step("wallets.propose")
    second = treasury.burn_of(burn)
    treasury.cosign(second, *PERSONS[:2])
    treasury.until(second, ProposalState.DONE)
    assert {treasury.proposal(wanted).state, treasury.burn_of(row).state} == {ProposalState.DEAD}
    assert scene.withdrawal(wanted).state is _S.FAILED
    scene.go()
    assert scene.credited(customer) == 5 * ETHER
    assert not replayed(treasury, row, *PERSONS[:2])
    assert chain_has(treasury, ALICE) == 0
    scene.assert_equations_hold()


def _reverted(treasury: Treasury, step: str) -> None:
    """Let a relay be signed and sent, and the wallet refuse it when it is executed."""
    scene, node = treasury.scene, treasury.scene.node
    threshold = f"0x{4:064x}"
    before = node.call("eth_getStorageAt", treasury.address, threshold, "latest")
    scene.house.step(step)
    node.call("anvil_setAutomine", False)
    scene.house.step("spending.move")
    node.call("anvil_setStorageAt", treasury.address, threshold, f"0x{9:064x}")
    node.call("anvil_setAutomine", True)
    node.mine()
    node.call("anvil_setStorageAt", treasury.address, threshold, before)
    node.mine(4)  # the watch looks at final blocks, and would see that one


def test_an_inner_failure_fails_the_withdrawal_and_gives_the_money_back(
    small: tuple[Treasury, Customer],
) -> None:
    treasury, customer = small
    scene = treasury.scene
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    row = treasury.proposed(wanted)
    treasury.cosign(row, *PERSONS[:2])
    scene.house.step("wallets.relay")
    (spend,) = scene.spends(SpendKind.WITHDRAWAL)
    scene.node.call("anvil_setAutomine", False)
    scene.house.step("spending.move")
    scene.node.set_balance(treasury.address, 1)
    scene.node.call("anvil_setAutomine", True)
    scene.node.mine()
    treasury.until(row, ProposalState.DONE)
    assert scene.withdrawal(wanted).state is _S.FAILED
    assert scene.withdrawal(wanted).reason == "inner_failed"
    assert spend.wallet_nonce == 0
    assert treasury.desk.state().nonce == 1
    scene.node.set_balance(treasury.address, 20 * ETHER)
    assert not replayed(treasury, row, *PERSONS[:2])


def test_an_owner_is_replaced_by_an_approved_request_and_by_nothing_else(
    safe: tuple[Treasury, Customer],
) -> None:
    treasury, customer = safe
    scene, house = treasury.scene, treasury.scene.house
    old = treasury.desk.row
    gone = treasury.devices["cleo"].address
    after = tuple(sorted({*old.members, SPARE.address} - {gone}))
    scene.go()
    house.step("wallets.watch")
    house.pin(wallets=(replace(old, members=after),))
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    house.step("wallets.propose")
    assert any("owner_change" in one.why for one in house.problems)
    intent = owners.ask(
        treasury.desk, change_id="own_1", initiator="eve", fee_max=ETHER // 10,
        expires_ns=house.clock.now_ns() + DAY_NS,
    )  # fmt: skip
    assert (intent.asset_key, intent.destination) == (f"{OWNERS}-{gone}", SPARE.address)
    given = [give(rail_of(person), intent) for person in PERSONS[:2]]
    with pytest.raises(Refused) as refused:
        owners.carry_out(treasury.desk, intent, given[:1], roster=house.platform.roster)
    assert refused.value.reason is Reason.QUORUM_NOT_MET
    row = owners.carry_out(treasury.desk, intent, given, roster=house.platform.roster)
    treasury.cosign(row, *quorum_of(treasury))
    treasury.until(row, ProposalState.DONE)
    assert set(treasury.desk.state().owners) == set(after)
    treasury.devices["cleo"] = SPARE
    payment = treasury.proposed(wanted)
    treasury.cosign(payment, *quorum_of(treasury))
    treasury.until(payment, ProposalState.DONE)
    assert chain_has(treasury, ALICE) == ETHER
    scene.go()
    scene.assert_equations_hold()
    assert scene.incidents() == []
    with pytest.raises(Refused):
        owners.ask(treasury.desk, change_id="own_2", initiator="eve", fee_max=1, expires_ns=1 << 62)


def test_a_key_of_the_signer_may_be_one_owner_beside_persons(stage: Stage) -> None:
    treasury, customer = treasury_on(stage, threshold=2, owners=2, own_keys=(KeyRef("hot", 0),))
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.scene.run(2)
    assert treasury.scene.digests(wanted) == []
    treasury.approve(wanted)
    treasury.scene.run(3)
    row = treasury.proposal(wanted)
    with treasury.scene.house.platform.db.read() as conn:
        (own,) = rows.signatures(conn, row.proposal_id)
    assert (own.owner, own.person) == (treasury.scene.house.own_address("hot"), "signer")
    assert row.state is ProposalState.OPEN
    treasury.cosign(row, "ada")
    treasury.until(row, ProposalState.DONE)
    assert chain_has(treasury, ALICE) == ETHER
    treasury.scene.go()
    treasury.scene.assert_equations_hold()


def test_W07_the_last_signature_is_never_the_signer_s(stage: Stage) -> None:
    treasury, customer = treasury_on(stage, threshold=2, owners=2, own_keys=(KeyRef("hot", 0),))
    wanted = treasury.requested(customer, ETHER, ALICE)
    treasury.approve(wanted)
    row = treasury.proposed(wanted)
    treasury.cosign(row, "ada")
    treasury.scene.run(3)
    assert treasury.proposal(wanted).state is ProposalState.OPEN
    treasury.cosign(row, "ben")
    treasury.until(row, ProposalState.DONE)


@pytest.mark.parametrize("what", ["guard", "code", "owner", "foreign nonce"])
def test_what_changes_outside_of_an_approved_request_stops_the_chain(
    small: tuple[Treasury, Customer], what: str
) -> None:
    treasury, _ = small
    scene, thieves = treasury.scene, list(treasury.devices.values())[:2]
    scene.house.step("wallets.watch")
    assert not scene.state().frozen
    word = "0x" + ALICE[2:].rjust(64, "0")
    if what == "guard":
        slot = f"0x{GUARD_SLOT:064x}"
        scene.node.call("anvil_setStorageAt", treasury.address, slot, word)
    elif what == "code":
        other = treasury.contracts.multisend.address[2:].rjust(64, "0")
        scene.node.call("anvil_setStorageAt", treasury.address, f"0x{0:064x}", f"0x{other}")
    elif what == "owner":
        on_node(treasury).execute(Effect(OWNERS, ALICE, 2), devices=thieves)
    else:
        on_node(treasury).execute(Effect(NATIVE, ALICE, GWEI), devices=thieves)
    scene.node.mine(4)
    scene.run(3)
    assert scene.state().frozen
    assert "wallet_changed" in scene.incidents()
