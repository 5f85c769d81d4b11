"""A batch is signed when each withdrawal in it might be signed alone, and then none is alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import NATIVE, FeeRate, SpendItem, SpendKind
from core.clock import DAY_NS
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.audit import Auditor, Finding, audit
from custody.keys.authority import Approvals, Together, evidence_of, read_evidence
from custody.keys.batch import shares, singles
from custody.keys.guard import SignRequest, sign_batch, sign_once
from custody.keys.intent import WithdrawalIntent
from custody.keys.limits import Sums, besides
from custody.keys.roster import Approval, SpendLimit, Verdict, sign_approval
from custody.keys.signers import KeyRef
from custody.keys.signing_record import decode
from tests.unit.custody.keys.guardroom import CHAIN, HOT, Guardroom
from tests.unit.custody.keys.officers import CAI

DEARER = FeeRate(26, 3)


def people(room: Guardroom, *names: str, amount: int = 1_000) -> list[WithdrawalIntent]:
    """Return approved withdrawals to different customers."""
    return [
        room.withdrawal(name, destination=room.world.outsider(name), amount=amount + n)
        for n, name in enumerate(names)
    ]


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    before = len(room.entries())
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert len(room.entries()) == before
    return refused.value.reason


def findings(room: Guardroom) -> list[Finding]:
    def public_key_of(_chain: ChainId, key: KeyRef) -> bytes:
        return room.guard.signer.public_key(key)

    return audit(
        room.entries(), Auditor(room.rosters, {CHAIN: room.chain}, public_key_of, room.guard.law)
    )


def test_a_batch_of_approved_withdrawals_is_signed_and_pays_each(any_room: Guardroom) -> None:
    room = any_room
    intents = people(room, "wd_1", "wd_2", "wd_3")
    signed = room.sign(room.batch(*intents))
    assert room.sign(room.batch(*intents)) == signed, "the same digest gives the same bytes"
    room.chain.broadcast(signed.raw)
    room.world.mine()
    paid = [room.chain.balance_of(i.destination, NATIVE, room.chain.head()) for i in intents]
    assert paid == [1_000, 1_001, 1_002]
    (entry,) = room.entries()
    assert decode(entry.message) == entry
    assert entry.record.authority == "approvals,approvals,approvals"
    assert entry.record.causes == ("wd_1", "wd_2", "wd_3")
    assert sum(part.spend.fee_max for part in entry.record.parts) == entry.record.fee_max
    authority, _ = read_evidence(entry.record.evidence)
    assert isinstance(authority, Together)
    assert evidence_of(authority, room.guard.roster) == entry.record.evidence
    assert findings(room) == []


def rights(request: SignRequest) -> tuple[Approvals, ...]:
    assert isinstance(request.authority, Together)
    found = tuple(one for one in request.authority.parts if isinstance(one, Approvals))
    assert len(found) == len(request.authority.parts)
    return found


def last_changed(room: Guardroom, request: SignRequest, *more: Approval, by: int = 2) -> Together:
    """Return the rights with the last one by so many officers, and with more verdicts."""
    *others, last = rights(request)
    return Together((*others, replace(last, approvals=(*last.approvals[:by], *more))))


TAMPERED: dict[str, tuple[Callable[[Guardroom, SignRequest], object], Reason]] = {
    "one right too few": (lambda _, r: Together(rights(r)[:-1]), Reason.INTENT_MISMATCH),
    "rights in another order": (lambda _, r: Together(rights(r)[::-1]), Reason.INTENT_MISMATCH),
    "the right of one for all": (lambda _, r: rights(r)[0], Reason.INTENT_MISMATCH),
    "a batch inside a batch": (
        lambda _, r: Together((r.authority,) * 3),  # type: ignore[arg-type]
        Reason.INTENT_MISMATCH,
    ),
    "a mandate for sweeps among them": (
        lambda room, r: Together((*rights(r)[:2], room.standing(SpendKind.SWEEP))),
        Reason.POLICY_BLOCKED,
    ),
    "one approved by one officer": (
        lambda room, r: last_changed(room, r, by=1),
        Reason.QUORUM_NOT_MET,
    ),
    "one rejected": (
        lambda room, r: last_changed(
            room, r, sign_approval(CAI, rights(r)[2].withdrawal, Verdict.REJECT)
        ),
        Reason.REJECTED_BY_OFFICER,
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_batch_is_refused_when_one_withdrawal_alone_would_be(name: str, room: Guardroom) -> None:
    change, reason = TAMPERED[name]
    honest = room.batch(*people(room, "wd_1", "wd_2", "wd_3"))
    changed = replace(honest, authority=change(room, honest))  # type: ignore[arg-type]
    assert refusal(room, changed) is reason
    room.sign(honest)


def test_one_expired_approval_refuses_the_batch(room: Guardroom) -> None:
    one, other = people(room, "wd_1", "wd_2")
    other = replace(other, expires_ns=room.clock.now_ns() + 1)
    honest = room.batch(one, other)
    room.clock.advance(1)
    assert refusal(room, honest) is Reason.APPROVAL_EXPIRED


@pytest.mark.parametrize("which", ["amount", "destination", "added", "removed", "swapped", "twice"])
def test_every_effect_is_one_items_and_every_item_an_effect(which: str, room: Guardroom) -> None:
    honest = room.batch(*people(room, "wd_1", "wd_2", "wd_3"))
    one, two, three = honest.intent.items
    thief = SpendItem("wd_9", room.world.outsider("thief"), 1)
    items = {
        "amount": (one, replace(two, amount=two.amount + 1), three),
        "destination": (one, replace(two, destination=thief.destination), three),
        "added": (one, two, three, thief),
        "removed": (one, two),
        "swapped": (two, one, three),
        "twice": (one, two, replace(two, cause_id="wd_3")),
    }[which]
    other = replace(honest.intent, items=items, amount=sum(item.amount for item in items))
    mismatch = {Reason.INTENT_MISMATCH, Reason.EXTRA_EFFECT}
    assert refusal(room, replace(honest, unsigned=room.unsigned(other))) in mismatch
    assert refusal(room, replace(honest, intent=other)) in mismatch
    both = replace(honest, intent=other, unsigned=room.unsigned(other))
    assert refusal(room, both) is Reason.INTENT_MISMATCH, "no approval is for it"
    room.sign(honest)


def test_one_withdrawal_stands_in_a_batch_once(room: Guardroom) -> None:
    (one,) = people(room, "wd_1")
    honest = room.batch(*people(room, "wd_1", "wd_2"))
    items = (honest.intent.items[0],) * 2
    twice = replace(honest.intent, items=items, amount=2_000)
    forged = room.batch(*people(room, "wd_1", "wd_2"))
    unsigned = room.unsigned(replace(twice, items=(items[0], replace(items[1], cause_id="wd_2"))))
    right = room.approved(one)
    request = replace(forged, intent=twice, authority=Together((right, right)), unsigned=unsigned)
    assert refusal(room, request) is Reason.INTENT_MISMATCH


def test_a_batch_of_one_is_no_plain_payment_nor_the_reverse(room: Guardroom) -> None:
    (one,) = people(room, "wd_1")
    batch = room.batch(one)
    alone = SignRequest(
        room.spend_of(one), room.approved(one), room.unsigned(room.spend_of(one)), HOT
    )
    for request, payload in ((batch, alone.unsigned), (alone, batch.unsigned)):
        assert refusal(room, replace(request, unsigned=payload)) is Reason.INTENT_MISMATCH
    room.sign(batch)


# ---- exclusion ----------------------------------------------------------------------------------


def test_what_is_in_a_batch_is_signed_nowhere_else_before_the_batch_is_dead(
    room: Guardroom,
) -> None:
    one, two, three = people(room, "wd_1", "wd_2", "wd_3")
    batch = room.batch(one, two)
    room.sign(batch)

    def alone(nonce: int) -> SignRequest:
        spend = room.spend_of(two, "sp_alone")
        return SignRequest(spend, room.approved(two), room.unsigned(spend, nonce=nonce), HOT)

    def again(nonce: int) -> SignRequest:
        return room.batch(two, three, nonce=nonce, name="sp_other")

    assert refusal(room, alone(1)) is Reason.EQUIVOCATION
    assert refusal(room, alone(0)) is Reason.EQUIVOCATION, "the nonce is the batch's"
    assert refusal(room, again(1)) is Reason.EQUIVOCATION
    dearer = FeeRate(60, 6)
    cancel = room.sign(room.cancellation(replace(batch.intent, fee_max=10_000), rate=dearer))
    room.chain.broadcast(cancel.raw)
    room.world.mine()
    assert refusal(room, alone(1)) is Reason.EQUIVOCATION, "the cancellation is not final"
    room.world.mine(7)
    room.sign(alone(1))
    assert refusal(room, again(2)) is Reason.EQUIVOCATION
    assert findings(room) == []


def test_a_withdrawal_of_a_batch_that_landed_is_never_signed_again(room: Guardroom) -> None:
    """Not even one that failed in it: who saw it fail pays by another withdrawal."""
    one, two = people(room, "wd_1", "wd_2")
    room.world.refuse_transfers_to(two.destination)
    signed = room.sign(room.batch(one, two))
    room.chain.broadcast(signed.raw)
    room.world.mine(8)
    assert [item.paid for item in room.chain.tx_status(signed.tx_id).items] == [True, False]
    spend = room.spend_of(two, "sp_alone")
    again = SignRequest(spend, room.approved(two), room.unsigned(spend, nonce=1), HOT)
    assert refusal(room, again) is Reason.EQUIVOCATION


def test_what_was_signed_alone_enters_no_batch(room: Guardroom) -> None:
    one, two = people(room, "wd_1", "wd_2")
    spend = room.spend_of(one, "sp_alone")
    room.sign(SignRequest(spend, room.approved(one), room.unsigned(spend), HOT))
    assert refusal(room, room.batch(one, two, nonce=1)) is Reason.EQUIVOCATION
    both = [room.batch(two, nonce=1, name="sp_a"), room.batch(two, nonce=2, name="sp_b")]
    answers = sign_batch(room.guard, both)
    assert [isinstance(answer, bytes) for answer in answers] == [True, False]


def test_a_replacement_has_the_same_items_in_the_same_order(room: Guardroom) -> None:
    one, two, three = people(room, "wd_1", "wd_2", "wd_3")
    room.sign(room.batch(one, two))
    for others in ((two, one), (one,), (one, two, three), (one, three)):
        assert refusal(room, room.batch(*others, rate=DEARER)) is Reason.EQUIVOCATION
    room.sign(room.batch(one, two, rate=DEARER))
    assert findings(room) == []


# ---- limits -------------------------------------------------------------------------------------


def limited(room: Guardroom, amount: int, window: int, fee: int = 10**6) -> Guardroom:
    limit = SpendLimit(CHAIN, NATIVE, amount, window, fee, 10**9)
    return room.with_roster(limits=(limit,))


def test_limits_count_every_withdrawal_of_a_batch_for_itself(room: Guardroom) -> None:
    intents = people(room, "wd_1", "wd_2", "wd_3", amount=1_000)  # 1000, 1001, 1002
    assert refusal(limited(room, 1_001, 10**6), room.batch(*intents)) is Reason.SIGNER_LIMIT
    assert refusal(limited(room, 1_002, 3_002), room.batch(*intents)) is Reason.SIGNER_LIMIT
    tight = limited(room, 1_002, 3_003)
    tight.sign(tight.batch(*intents))
    tight.sign(tight.batch(*intents, rate=DEARER))  # a replacement counts once
    (four,) = people(room, "wd_4", amount=1)
    spend = room.spend_of(four)
    more = SignRequest(spend, room.approved(four), room.unsigned(spend, nonce=1), HOT)
    assert refusal(tight, more) is Reason.SIGNER_LIMIT
    assert refusal(tight, room.batch(four, nonce=1, name="sp_2")) is Reason.SIGNER_LIMIT
    room.clock.advance(DAY_NS)
    fresh = [replace(four, expires_ns=room.clock.now_ns() + DAY_NS)]
    tight.sign(tight.batch(*fresh, nonce=1, name="sp_2"))
    assert findings(tight) == []


def test_what_moves_from_a_dead_batch_to_a_payment_of_its_own_counts_once(
    room: Guardroom,
) -> None:
    one, two = people(room, "wd_1", "wd_2", amount=1_000)
    room = limited(room, 1_001, 2_001)
    batch = room.batch(one, two)
    room.sign(batch)
    cancel = room.sign(
        room.cancellation(replace(batch.intent, fee_max=10_000), rate=FeeRate(60, 6))
    )
    room.chain.broadcast(cancel.raw)
    room.world.mine(8)
    for nonce, intent in enumerate((one, two), 1):
        spend = room.spend_of(intent, f"sp_{nonce}")
        unsigned = room.unsigned(spend, nonce=nonce)
        room.sign(SignRequest(spend, room.approved(intent), unsigned, HOT))
    assert findings(room) == []


def test_the_fee_of_a_batch_is_shared_and_each_share_has_its_cap(room: Guardroom) -> None:
    intents = people(room, "wd_1", "wd_2")
    units = room.chain.fee_units(room.batch(*intents).intent)
    least = [replace(one, network_fee_max=units * 22 // 2) for one in intents]
    below = [replace(one, network_fee_max=one.network_fee_max - 1) for one in least]
    honest = room.batch(*least)
    above = room.batch(*below, fee_max=honest.intent.fee_max)
    assert refusal(room, above) is Reason.FEE_ABOVE_CAP
    room.sign(honest)


@given(st.integers(0, 10**30), st.integers(1, 64))
def test_shares_lose_nothing_and_differ_by_less_than_the_items(cost: int, count: int) -> None:
    found = shares(cost, count)
    assert (sum(found), len(found)) == (cost, count)
    assert max(found) - min(found) < count


small = st.integers(0, 9)
pair = st.builds(Sums, small, small)


@given(st.lists(st.tuples(pair, pair), min_size=1, max_size=6), small, small)
def test_the_other_parts_of_a_batch_count_as_if_they_had_been_signed_before(
    rows: list[tuple[Sums, Sums]], elsewhere: int, fees: int
) -> None:
    """asked, own so far; whoever is not in the batch took `elsewhere` and `fees`."""
    every = Sums(elsewhere + sum(o.amount for _, o in rows), fees + sum(o.fees for _, o in rows))
    spent = [(Sums(every.amount - o.amount, every.fees - o.fees), o) for _, o in rows]
    found = besides([asked for asked, _ in rows], spent)
    for at, others in enumerate(found):
        rest = rows[:at] + rows[at + 1 :]
        assert others.amount == elsewhere + sum(max(a.amount, o.amount) for a, o in rest)
        assert others.fees == fees + sum(max(a.fees, o.fees) for a, o in rest)


def test_a_single_spend_is_its_own_only_part(room: Guardroom) -> None:
    spend = room.request().intent
    assert singles(spend) == (spend,)
    assert singles(spend, fee_max=7) == (replace(spend, fee_max=7),)
