"""Many withdrawals as outputs of one transaction, and what the guard asks of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from chains.base import SpendIntent, SpendItem, SpendKind
from chains.bitcoin.params import COIN
from core.errors import Reason, Refused
from custody.keys.authority import Approvals, Together
from custody.keys.batch import singles
from custody.keys.guard import SignRequest, sign_once
from custody.keys.intent import NO_POLICY, WithdrawalIntent
from custody.keys.roster import sign_approval
from custody.keys.signers import KeyRef
from tests.support.bitcoin import (
    CHANGE,
    FEE,
    HOT,
    STRANGER,
    Draft,
    Wallet,
    address_of,
    draft_of,
    intent_of,
)
from tests.unit.custody.keys.coinroom import Asked, Coinroom
from tests.unit.custody.keys.officers import ADA, BEA, HOUR_NS
from tests.unit.custody.keys.policyroom import POLICY

SECOND = address_of(KeyRef("cold", 3))
ITEMS = (SpendItem("withdrawal-1", STRANGER, COIN), SpendItem("withdrawal-2", SECOND, 2 * COIN))
OUTPUTS = tuple((one.destination, one.amount) for one in ITEMS)
BACK = (address_of(HOT), 2 * COIN - FEE)


@pytest.fixture
def room() -> Coinroom:
    return Coinroom()


def batch(items: Sequence[SpendItem] = ITEMS, amount: int | None = None) -> SpendIntent:
    """Return the intent that pays several withdrawals of the hot wallet."""
    total = sum(one.amount for one in items) if amount is None else amount
    intent = intent_of(address_of(HOT), total)
    return replace(intent, kind=SpendKind.BATCH, cause_id="batch-1", items=tuple(items))


def drafted(*outputs: tuple[str, int]) -> Draft:
    """Return a transaction over the first two coins of the wallet: five whole ones."""
    return draft_of(Wallet().coins[:2], *outputs)


def asked_of(room: Coinroom, intent: SpendIntent, draft: Draft) -> SignRequest:
    """Return the request of a batch whose withdrawals two officers approved each."""

    def approved(spend: SpendIntent) -> Approvals:
        withdrawal = WithdrawalIntent(
            withdrawal_id=spend.cause_id, customer_no=7, chain=spend.chain, network=spend.network,
            asset_key=spend.asset_key, destination=spend.destination, amount=spend.amount,
            fee_minor=0, initiator="customer:7", network_fee_max=spend.fee_max, policy_version=1,
            expires_ns=room.clock.now_ns() + HOUR_NS, wallet="hot",
            policy_hash=POLICY.hash.hex(), decision_hash=NO_POLICY, excluded=(), not_before_ns=0,
        )  # fmt: skip
        return Approvals(withdrawal, tuple(sign_approval(key, withdrawal) for key in (ADA, BEA)))

    right = Together(tuple(approved(one) for one in singles(intent)))
    return SignRequest(intent, right, draft.unsigned(), HOT, (HOT, HOT), (HOT,))


def test_withdrawals_are_paid_as_outputs_of_one_transaction(room: Coinroom) -> None:
    room.joined(asked_of(room, batch(), drafted(*OUTPUTS, BACK)))
    (entry,) = room.entries()
    assert [part.spend.cause_id for part in entry.record.parts] == ["withdrawal-1", "withdrawal-2"]
    assert room.findings() == []


Tamper = Callable[[], tuple[SpendIntent, Draft]]
TAMPERED: dict[str, tuple[Reason, Tamper]] = {
    "one_is_left_out": (
        Reason.INTENT_MISMATCH,
        lambda: (batch(), drafted(OUTPUTS[0], (BACK[0], 4 * COIN - FEE))),
    ),
    "one_is_paid_twice": (
        Reason.EXTRA_EFFECT,
        lambda: (batch(), drafted(*OUTPUTS, OUTPUTS[0], (BACK[0], COIN - FEE))),
    ),
    "one_gets_more": (
        Reason.INTENT_MISMATCH,
        lambda: (
            batch(), drafted((STRANGER, COIN + 1), OUTPUTS[1], (BACK[0], 2 * COIN - FEE - 1))
        ),
    ),
    "amounts_are_summed": (
        Reason.INTENT_MISMATCH,
        lambda: (batch(), drafted((STRANGER, 3 * COIN), BACK)),
    ),
    "what_is_left_goes_elsewhere": (
        Reason.FOREIGN_CHANGE,
        lambda: (batch(), drafted(*OUTPUTS, (address_of(CHANGE), 2 * COIN - FEE))),
    ),
    "the_sum_is_not_the_items": (
        Reason.INTENT_MISMATCH,
        lambda: (batch(amount=4 * COIN), drafted(*OUTPUTS, BACK)),
    ),
    "a_withdrawal_stands_in_it_twice": (
        Reason.INTENT_MISMATCH,
        lambda: (
            batch((ITEMS[0], ITEMS[0])), drafted(OUTPUTS[0], OUTPUTS[0], (BACK[0], 3 * COIN - FEE))
        ),
    ),
    "called_a_withdrawal": (
        Reason.SAME_ACCOUNT,
        lambda: (replace(batch(), kind=SpendKind.WITHDRAWAL, items=()), drafted(*OUTPUTS, BACK)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_batch_gets_no_signature_and_its_twin_does(room: Coinroom, name: str) -> None:
    reason, tamper = TAMPERED[name]
    intent, draft = tamper()
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, asked_of(room, intent, draft))
    assert refused.value.reason is reason
    assert room.entries() == []
    room.joined(asked_of(room, batch(), drafted(*OUTPUTS, BACK)))
    assert len(room.entries()) == 1


def test_what_is_in_a_batch_is_paid_nowhere_else(room: Coinroom) -> None:
    room.joined(asked_of(room, batch(), drafted(*OUTPUTS, BACK)))
    draft = draft_of(Wallet().coins[2:], (STRANGER, COIN), (address_of(CHANGE), 6 * COIN - FEE))
    alone = Asked(draft, intent_of(STRANGER, COIN, spend_id="spend-2"), input_keys=(HOT,))
    with pytest.raises(Refused) as refused:
        room.sign(alone)
    assert refused.value.reason is Reason.EQUIVOCATION


def test_a_dearer_batch_replaces_a_batch(room: Coinroom) -> None:
    room.joined(asked_of(room, batch(), drafted(*OUTPUTS, BACK)))
    room.joined(asked_of(room, batch(), drafted(*OUTPUTS, (BACK[0], BACK[1] - FEE))))
    assert room.findings() == []
