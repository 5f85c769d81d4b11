"""O04 at the signer: keys are declared compromised, and the wallet moves to others by quorum."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, SpendKind
from core.errors import Reason, Refused
from custody.keys.audit import Auditor, audit
from custody.keys.authority import check_authority, read_evidence
from custody.keys.guard import SignRequest, sign_once
from custody.keys.intent import WithdrawalIntent
from custody.keys.roster import Roster, Rotation
from custody.keys.roster_files import RosterChain
from custody.keys.rotation import Move, plan_rotation, spend_of
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.guardroom import CHAIN, HOT, Guardroom
from tests.unit.custody.keys.officers import ADA, HOUR_NS

NEW = KeyRef("hot.2", 0)
FEE = 10_000


def rotated(room: Guardroom) -> Guardroom:
    """Return the room under the roster that retires the hot wallet's first keys."""
    return room.with_roster(rotations=(Rotation(CHAIN, "hot", 2),))


def balances(room: Guardroom, address: str) -> dict[str, int]:
    head = room.chain.head()
    return {key: room.chain.balance_of(address, key, head) for key in (NATIVE, room.token)}


def moves(room: Guardroom, name: str = "rot_1") -> list[WithdrawalIntent]:
    """Return what officers are asked to approve."""
    return plan_rotation(
        Move(
            rotation_id=name,
            initiator="olga",
            chain=CHAIN,
            network=room.chain.traits.network,
            wallet="hot",
            destination=room.guard.address_of(NEW),
            balances=balances(room, room.address("hot")),
            fee_max=FEE,
            policy_version=1,
            expires_ns=room.clock.now_ns() + HOUR_NS,
        )
    )


def request(room: Guardroom, approved: WithdrawalIntent, *, nonce: int) -> SignRequest:
    what = spend_of(approved, source=room.address("hot"))
    return SignRequest(what, room.approved(approved), room.unsigned(what, nonce=nonce), HOT)


def drain(room: Guardroom, name: str = "rot_1") -> int:
    """Carry a rotation out and return what its fees were."""
    fees = 0
    nonce = room.chain.used_nonces(room.address("hot"), room.chain.head())
    for number, approved in enumerate(moves(room, name)):
        signed = room.sign(request(room, approved, nonce=nonce + number))
        assert room.chain.broadcast(signed.raw).outcome.value == "accepted"
        room.world.mine(1)
        status = room.chain.tx_status(signed.tx_id)
        assert status.succeeded
        fees += status.fee
    return fees


def reason(room: Guardroom, what: SignRequest) -> Reason:
    with pytest.raises(Refused) as caught:
        sign_once(room.guard, what)
    return caught.value.reason


def test_O04_everything_moves_to_the_new_keys_and_only_fees_are_lost(room: Guardroom) -> None:
    room.world.fund(room.address("hot"), 7_777, room.token)
    before = balances(room, room.address("hot"))
    after_roster = rotated(room)
    fees = drain(after_roster)
    new, old = (balances(room, room.guard.address_of(key)) for key in (NEW, HOT))
    assert new[room.token] == before[room.token] == 7_777
    assert new[NATIVE] + old[NATIVE] + fees == before[NATIVE]
    assert old[NATIVE] < 2 * FEE, "what the fees did not take"
    assert old[room.token] == 0


def test_O04_retired_keys_pay_nobody_else(room: Guardroom) -> None:
    signed_before = room.request("wd_0")
    sign_once(room.guard, signed_before)
    room = rotated(room)
    assert reason(room, room.request("wd_1", nonce=1)) is Reason.UNKNOWN_KEY
    own = room.request("wd_2", nonce=1)
    assert reason(room, replace(own, key=NEW)) is Reason.INTENT_MISMATCH
    (approved,) = moves(room)
    for destination in (room.world.outsider("thief"), room.address("cold"), room.address("gas")):
        elsewhere = replace(approved, destination=destination)
        assert reason(room, request(room, elsewhere, nonce=1)) is Reason.FORBIDDEN_DESTINATION
    one = request(room, approved, nonce=1)
    assert reason(room, replace(one, authority=room.approved(approved, ADA))) is (
        Reason.QUORUM_NOT_MET
    )
    sign_once(room.guard, one)


def test_what_was_signed_before_is_given_again_and_excluded_by_its_cancellation(
    room: Guardroom,
) -> None:
    """A payment in flight when the keys are declared compromised: repeated, or cancelled."""
    first = room.request("wd_0")
    signature = sign_once(room.guard, first)
    room = rotated(room)
    assert sign_once(room.guard, first) == signature
    higher = replace(room.request("wd_0"), unsigned=first.unsigned)
    assert sign_once(room.guard, higher) == signature
    cancel = room.cancellation(first.intent, rate=room.chain.bump(room.chain.fee_rate(),
                               current=room.chain.rate_of(first.unsigned.payload)))  # fmt: skip
    sign_once(room.guard, cancel)


def test_the_new_keys_pay_customers_once_the_roster_says_so(room: Guardroom) -> None:
    def payment(where: Guardroom) -> SignRequest:
        intent = where.withdrawal("wd_9")
        spend = where.spend_of(intent, source=where.guard.address_of(NEW))
        return SignRequest(spend, where.approved(intent), where.unsigned(spend), NEW)

    room.world.fund(room.guard.address_of(NEW), 10**8)
    assert reason(room, payment(room)) is Reason.UNKNOWN_KEY
    after = rotated(room)
    drain(after)
    signed = after.sign(payment(after))
    assert room.chain.broadcast(signed.raw).outcome.value == "accepted"


def test_money_that_arrives_at_the_old_address_follows(room: Guardroom) -> None:
    after = rotated(room)
    drain(after)
    room.world.fund(after.address("hot"), 5_000_000)
    block = room.chain.block_at(room.world.head.ref.height)
    assert block is not None
    seen = room.chain.payments_in(block, {after.address("hot")})
    assert [one.amount for one in seen] == [5_000_000], "it can still be watched"
    before = [balances(after, after.guard.address_of(key))[NATIVE] for key in (HOT, NEW)]
    fees = drain(after, "rot_2")
    old, new = (balances(after, after.guard.address_of(key))[NATIVE] for key in (HOT, NEW))
    assert old < FEE
    assert old + new + fees == sum(before)


def test_sweeps_go_to_the_present_keys(room: Guardroom) -> None:
    room.world.fund(room.address("deposits", 3), 10**6)
    old = rotated(room)
    sweep = old.sweep("sw_1", 1_000, index=3)
    assert reason(old, sweep) is Reason.FORBIDDEN_DESTINATION, "the mandate still names the old"
    roster = old.guard.roster
    mandates = tuple(
        replace(one, destinations=(), destination_accounts=("hot",))
        if one.kind is SpendKind.SWEEP
        else one
        for one in roster.mandates
    )
    new = old.with_roster(mandates=mandates)
    what = replace(sweep.intent, destination=new.guard.address_of(NEW))
    to_new = SignRequest(
        what, new.standing(SpendKind.SWEEP, NEW), new.unsigned(what), KeyRef("deposits", 3)
    )
    sign_once(new.guard, to_new)
    hidden = replace(sweep, authority=new.standing(SpendKind.SWEEP, HOT))
    assert reason(new, hidden) is Reason.FORBIDDEN_DESTINATION


def test_an_auditor_finds_nothing_wrong_and_would_find_a_payment_by_retired_keys(
    room: Guardroom,
) -> None:
    sign_once(room.guard, room.request("wd_0"))
    first = room.guard.roster
    after = rotated(room)
    for number, approved in enumerate(moves(after), 1):
        sign_once(after.guard, request(after, approved, nonce=number))

    def found(*rosters: Roster) -> list[str]:
        auditor = Auditor(
            rosters=RosterChain(rosters),
            chains={CHAIN: after.chain},
            public_key_of=lambda _chain, key: after.guard.signer.public_key(key),
            law=after.guard.law,
        )
        return [finding.what for finding in audit(after.entries(), auditor)]

    assert found(first, after.guard.roster) == []
    # The same log, had the payment been signed under the roster that retired its keys.
    entry = after.entries()[0]
    authority, _ = read_evidence(entry.record.evidence)
    with pytest.raises(Refused) as caught:
        check_authority(
            authority, entry.record.spend, key=HOT, roster=after.guard.roster,
            law=after.guard.law, now_ns=entry.record.signed_at_ns,
            address_of_key=after.guard.address_of,
        )  # fmt: skip
    assert caught.value.reason is Reason.UNKNOWN_KEY
