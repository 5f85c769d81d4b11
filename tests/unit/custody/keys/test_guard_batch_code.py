"""The guard signs a batch only while the account runs code of the roster."""

from __future__ import annotations

import pytest

from chains.base import BlockRef, FeeRate, SpendItem, SpendKind
from core.errors import Reason, Refused
from custody.keys.authority import Allowance, Together
from custody.keys.guard import SignRequest, sign_once
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.evmroom import (
    DELEGATE,
    GOLD,
    HOT,
    THIEF,
    UNUSED_DELEGATE,
    EvmRoom,
    SilentChain,
    approved,
    room_of,
    silent_chain,
)
from tests.unit.custody.keys.tampered_policies import allowed

RATE = FeeRate(10 * 10**9, 10**9)


class Running(SilentChain):
    """A chain whose node says what the hot wallet runs."""

    code: str | None = DELEGATE

    def delegate_of(self, address: str, at: BlockRef) -> str | None:
        if self.code == "a contract":
            raise Refused(Reason.UNKNOWN_CALL, address)
        return self.code


def evm_batch(room: EvmRoom) -> SignRequest:
    intents = [
        room.withdrawal(f"wd_{n}", asset_key=GOLD, destination=to)
        for n, to in enumerate((THIEF, UNUSED_DELEGATE))
    ]
    items = tuple(SpendItem(i.withdrawal_id, i.destination, i.amount) for i in intents)
    source = room.address(HOT)
    spend = room.spend(
        intents[0], source, kind=SpendKind.BATCH, cause_id="batch_1", destination=source,
        amount=sum(item.amount for item in items), fee_max=2 * intents[0].network_fee_max,
        items=items,
    )  # fmt: skip
    unsigned = room.guard.chain.build(
        spend, nonce=0, rate=FeeRate(10 * 10**9, 10**9), units=400_000
    )
    return SignRequest(spend, Together(tuple(map(approved, intents))), unsigned, HOT)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (DELEGATE, None),
        (UNUSED_DELEGATE, None),
        (None, Reason.FOREIGN_DELEGATE),
        (THIEF, Reason.FOREIGN_DELEGATE),
        ("a contract", Reason.UNKNOWN_CALL),
    ],
)
def test_a_batch_is_signed_only_while_the_account_runs_code_of_the_roster(
    code: str | None, reason: Reason | None
) -> None:
    room = room_of(shelf_in_memory())
    chain = silent_chain(kind=Running)
    assert isinstance(chain, Running)
    chain.code = code
    room = room.with_guard(chain=chain)
    request = evm_batch(room)
    if reason is None:
        assert len(sign_once(room.guard, request)) == 65
        return
    with pytest.raises(Refused) as refused:
        sign_once(room.guard, request)
    assert refused.value.reason is reason
    assert room.entries() == []


def allowed_batch(room: EvmRoom, *names: str, nonce: int = 0, rate: FeeRate = RATE) -> SignRequest:
    """Return a batch of payments that a rule allows without approvals."""
    parts = [allowed(room, name).authority for name in names]
    intents = [part.withdrawal for part in parts if isinstance(part, Allowance)]
    items = tuple(SpendItem(i.withdrawal_id, i.destination, i.amount) for i in intents)
    source = room.address(HOT)
    spend = room.spend(
        intents[0], source, spend_id=f"sp_{nonce}", kind=SpendKind.BATCH, cause_id=f"batch_{nonce}",
        destination=source, amount=sum(item.amount for item in items), fee_max=10**16, items=items,
    )  # fmt: skip
    unsigned = room.guard.chain.build(spend, nonce=nonce, rate=rate, units=300_000)
    return SignRequest(spend, Together(tuple(i for i in parts if isinstance(i, Allowance))),
                       unsigned, HOT)  # fmt: skip


def test_the_window_of_a_mandate_counts_every_payment_of_a_batch() -> None:
    """Room for two in a day, whether alone or together; a replacement takes nothing more."""
    room = room_of(shelf_in_memory()).with_guard(chain=silent_chain(kind=Running))

    def refused(request: SignRequest) -> Reason:
        with pytest.raises(Refused) as found:
            sign_once(room.guard, request)
        return found.value.reason

    assert refused(allowed_batch(room, "wd_1", "wd_2", "wd_3")) is Reason.POLICY_BLOCKED
    sign_once(room.guard, allowed_batch(room, "wd_1", "wd_2"))
    (entry,) = room.entries()
    assert entry.record.authority == "mandate,mandate"
    dearer = FeeRate(12 * 10**9, 2 * 10**9)
    sign_once(room.guard, allowed_batch(room, "wd_1", "wd_2", rate=dearer))
    assert refused(allowed(room, "wd_3", nonce=1)) is Reason.POLICY_BLOCKED
    assert refused(allowed_batch(room, "wd_3", nonce=1)) is Reason.POLICY_BLOCKED
