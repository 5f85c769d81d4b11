"""A node that lies, and requests that are consistent in everything but one thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import BlockRef, FeeRate, SpendKind, TxStatus
from chains.fake.chain import FakeChain
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.authority import Approvals
from custody.keys.guard import SignRequest, sign_once
from custody.keys.signers import KeyRef
from tests.unit.custody.keys.guardroom import GAS, HOT, Guardroom

DEARER = FeeRate(26, 3)


class Liar(FakeChain):
    """A node that says what a test wants, about nonces and about transactions."""

    nonces: int | None = None
    included: frozenset[str] = frozenset()

    def used_nonces(self, sender: str, at: BlockRef) -> int:
        return super().used_nonces(sender, at) if self.nonces is None else self.nonces

    def tx_status(self, tx_id: str) -> TxStatus:
        if tx_id in self.included:
            return TxStatus(known=True, block=BlockRef(1, "x"), succeeded=True)
        return super().tx_status(tx_id)


def refusal(room: Guardroom, request: SignRequest) -> Reason:
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    return refused.value.reason


def cancelled(room: Guardroom, *, blocks: int) -> tuple[str, SignRequest]:
    """Sign, cancel and mine; return the first attempt's id and the request for a second nonce."""
    first = room.request()
    tx_id = room.sign(first).tx_id
    room.chain.broadcast(room.sign(room.cancellation(first.intent, rate=DEARER)).raw)
    room.world.mine(blocks)
    return tx_id, room.request(nonce=1, spend="sp_again")


def test_a_nonce_that_is_unused_at_finality_is_not_dead(room: Guardroom) -> None:
    _, again = cancelled(room, blocks=7)
    liar = Liar(room.world, rate_cap=100_000)
    liar.nonces = 0
    assert refusal(room.with_guard(chain=liar), again) is Reason.EQUIVOCATION
    room.sign(again)


def test_a_cancellation_that_is_not_final_proves_nothing_whatever_the_nonces(
    room: Guardroom,
) -> None:
    _, again = cancelled(room, blocks=1)
    room.world.finalise(1)
    liar = Liar(room.world, rate_cap=100_000)
    liar.nonces = 1
    assert refusal(room.with_guard(chain=liar), again) is Reason.EQUIVOCATION
    room.world.mine(6)
    room.sign(again)


def test_an_attempt_that_the_node_shows_is_alive_whatever_else_it_shows(room: Guardroom) -> None:
    tx_id, again = cancelled(room, blocks=7)
    liar = Liar(room.world, rate_cap=100_000)
    liar.included = frozenset({tx_id})
    assert refusal(room.with_guard(chain=liar), again) is Reason.EQUIVOCATION
    room.sign(again)


def test_no_final_block_proves_nothing(room: Guardroom) -> None:
    _, again = cancelled(room, blocks=1)
    assert room.chain.final_head() is None
    assert refusal(room, again) is Reason.EQUIVOCATION


def test_approvals_for_another_chain_do_not_sign_here(room: Guardroom) -> None:
    """Everything agrees, officers included; only the guard stands elsewhere."""
    elsewhere = room.withdrawal(chain=ChainId("other"))
    spend = room.spend_of(elsewhere, chain=ChainId("other"))
    request = SignRequest(spend, room.approved(elsewhere), room.forged(spend), HOT)
    assert refusal(room, request) is Reason.WRONG_NETWORK


@pytest.mark.parametrize("key", [KeyRef("deposits", 0), GAS], ids=["deposits", "gas"])
def test_an_approved_withdrawal_is_not_paid_from_customers_addresses(
    room: Guardroom, key: KeyRef
) -> None:
    request = room.request()
    assert isinstance(request.authority, Approvals)
    spend = replace(request.intent, source=room.guard.address_of(key))
    foreign = replace(request, intent=spend, unsigned=room.unsigned(spend), key=key)
    assert refusal(room, foreign) is Reason.INTENT_MISMATCH
    room.sign(request)


def test_cold_coins_are_not_swept_under_a_mandate(room: Guardroom) -> None:
    sweep = room.sweep("sw_1", 100)
    cold = KeyRef("cold", 0)
    spend = replace(sweep.intent, source=room.guard.address_of(cold))
    request = replace(sweep, intent=spend, unsigned=room.unsigned(spend), key=cold)
    assert refusal(room, request) is Reason.INTENT_MISMATCH
    room.sign(sweep)


def test_a_spend_to_its_own_sender_or_of_nothing_is_refused(room: Guardroom) -> None:
    standing = room.standing(SpendKind.SWEEP)
    sweep = room.sweep("sw_1", 100)
    home = replace(sweep.intent, source=room.address("hot"))
    own = SignRequest(home, standing, room.forged(home), HOT)
    assert refusal(room, own) is Reason.SAME_ACCOUNT
    nothing = replace(sweep.intent, amount=0)
    empty = replace(sweep, intent=nothing, unsigned=room.forged(nothing))
    assert refusal(room, empty) is Reason.ZERO_AMOUNT
