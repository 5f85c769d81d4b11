"""A nonce belongs to one spend for ever; signatures of one withdrawal exclude each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import FeeRate, SpendKind, TxStatus
from chains.fake.chain import FakeChain
from core.clock import DAY_NS
from core.errors import Reason, Refused
from custody.keys.exclusion import last_unsigned
from custody.keys.guard import SignRequest, sign_once
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.guardroom import CHAIN, GAS, Guardroom

DEARER = FeeRate(26, 3)
DEAREST = FeeRate(33, 4)


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def test_the_same_request_gets_the_same_bytes(any_room: Guardroom) -> None:
    request = any_room.request()
    first = sign_once(any_room.guard, request)
    assert sign_once(any_room.guard, request) == first
    any_room.clock.advance(2 * DAY_NS)  # long after the approvals expired
    assert sign_once(any_room.guard, request) == first


def test_a_nonce_never_serves_a_second_spend(any_room: Guardroom) -> None:
    room = any_room
    room.sign(room.request("wd_1"))
    assert refusal(room, room.request("wd_2")) is Reason.EQUIVOCATION
    assert refusal(room, room.request("wd_2", rate=DEARER)) is Reason.EQUIVOCATION
    room.sign(room.request("wd_2", nonce=1))


def test_a_withdrawal_never_gets_a_second_nonce(any_room: Guardroom) -> None:
    room = any_room
    room.sign(room.request())
    assert refusal(room, room.request(nonce=1)) is Reason.EQUIVOCATION
    other_spend = room.request(nonce=1, spend="sp_other")
    assert refusal(room, other_spend) is Reason.EQUIVOCATION
    from_cold = replace(other_spend.intent, source=room.address("cold"))
    cold = SignRequest(
        from_cold, other_spend.authority, room.unsigned(from_cold), KeyRef("cold", 0)
    )
    assert refusal(room, cold) is Reason.INTENT_MISMATCH  # another account than was approved
    elsewhere = room.approved(replace(room.withdrawal(), wallet="cold"))
    assert refusal(room, replace(cold, authority=elsewhere)) is Reason.EQUIVOCATION


def test_a_replacement_is_the_same_effect_at_a_higher_rate(room: Guardroom) -> None:
    room.sign(room.request())
    dearer = room.sign(room.request(rate=DEARER))
    for rate in (FeeRate(23, 2), FeeRate(26, 2), FeeRate(10, 1)):
        assert refusal(room, room.request(rate=rate)) is Reason.EQUIVOCATION
    assert room.sign(room.request(rate=DEARER)) == dearer
    above_cap = room.request(rate=FeeRate(470, 4))
    cheap = replace(above_cap.intent, fee_max=9_000)
    assert refusal(room, replace(above_cap, intent=cheap)) is Reason.FEE_ABOVE_CAP
    changed = room.withdrawal(amount=1_001)
    spend = room.spend_of(changed, "sp_wd_1")
    twice = SignRequest(
        spend, room.approved(changed), room.unsigned(spend, rate=DEAREST), KeyRef("hot", 0)
    )
    assert refusal(room, twice) is Reason.EQUIVOCATION


def test_a_lost_answer_is_found_in_the_log(room: Guardroom) -> None:
    request = room.request(rate=DEARER)
    room.sign(request)
    store, source = room.guard.shelf.store(), request.intent.source
    found = last_unsigned(store, CHAIN, source, 0, kind=SpendKind.WITHDRAWAL)
    assert last_unsigned(store, CHAIN, source, 1, kind=SpendKind.SWEEP) is None
    assert found == request.unsigned


def test_a_cancellation_ends_the_spend(room: Guardroom) -> None:
    request = room.request()
    room.sign(request)
    room.sign(room.cancellation(request.intent, rate=DEARER))
    assert refusal(room, room.request(rate=DEAREST)) is Reason.EQUIVOCATION
    room.sign(room.cancellation(request.intent, rate=DEAREST))
    again = room.cancellation(request.intent, rate=DEARER, name="other")
    assert refusal(room, again) is Reason.EQUIVOCATION
    assert room.sign(request).tx_id  # what was signed before stays available


def test_a_cancellation_cancels_only_its_own_spend(room: Guardroom) -> None:
    first, second = room.request("wd_1"), room.request("wd_2", nonce=1)
    room.sign(first)
    room.sign(second)
    wrong = room.cancellation(first.intent, nonce=1, rate=DEARER)
    assert refusal(room, wrong) is Reason.EQUIVOCATION
    elsewhere = room.cancellation(first.intent, nonce=2)
    assert refusal(room, elsewhere) is Reason.EQUIVOCATION


def test_a_nonce_that_was_never_used_can_be_spent_on_ourselves(room: Guardroom) -> None:
    request = room.request()
    room.sign(room.cancellation(request.intent))
    assert refusal(room, request) is Reason.EQUIVOCATION


def test_a_withdrawal_moves_to_another_nonce_only_when_the_old_one_is_dead(
    any_room: Guardroom,
) -> None:
    room = any_room
    first = room.request()
    room.sign(first)
    again = room.request(nonce=1, spend="sp_again")
    assert refusal(room, again) is Reason.EQUIVOCATION  # nothing happened yet
    cancel = room.sign(room.cancellation(first.intent, rate=DEARER))
    assert refusal(room, again) is Reason.EQUIVOCATION  # cancelled, not on chain
    room.chain.broadcast(cancel.raw)
    room.world.mine(1)
    assert refusal(room, again) is Reason.EQUIVOCATION  # on chain, not final
    room.world.mine(6)
    room.sign(again)
    third = room.request(nonce=2, spend="sp_third")
    assert refusal(room, third) is Reason.EQUIVOCATION  # the second attempt lives


def test_an_included_attempt_is_never_called_dead(room: Guardroom) -> None:
    first = room.request()
    raw = room.sign(first).raw
    room.sign(room.cancellation(first.intent, rate=DEARER))
    room.chain.broadcast(raw)
    room.world.mine(7)
    assert refusal(room, room.request(nonce=1, spend="sp_again")) is Reason.EQUIVOCATION


class Forgetful(FakeChain):
    """A node that lost its transaction index: nothing of ours is known."""

    def tx_status(self, tx_id: str) -> TxStatus:
        return TxStatus(known=False)


def test_a_node_that_knows_no_transaction_proves_nothing(room: Guardroom) -> None:
    first = room.request()
    raw = room.sign(first).raw
    room.chain.broadcast(raw)
    room.world.mine(7)
    blind = room.with_guard(chain=Forgetful(room.world, rate_cap=100_000))
    assert refusal(blind, room.request(nonce=1, spend="sp_again")) is Reason.EQUIVOCATION


def test_sweeps_from_two_addresses_may_share_a_digest(room: Guardroom) -> None:
    """The digest of this chain does not hold the sender, as on real account chains."""
    one, other = room.sweep("sw_1", 700, index=1), room.sweep("sw_2", 700, index=2)
    assert one.unsigned.digest == other.unsigned.digest
    assert room.sign(one) != room.sign(other)


def test_a_top_up_and_a_withdrawal_may_share_a_cause(room: Guardroom) -> None:
    sweep = room.sweep("sw_1", 100)
    room.sign(sweep)
    gas = replace(
        sweep.intent,
        spend_id="tu_1",
        kind=SpendKind.TOP_UP,
        source=room.guard.address_of(GAS),
        destination=sweep.intent.source,
    )
    standing = room.standing(SpendKind.TOP_UP, KeyRef("deposits", 0))
    room.sign(SignRequest(gas, standing, room.unsigned(gas), GAS))
