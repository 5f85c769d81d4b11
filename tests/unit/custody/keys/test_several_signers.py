"""Who signs beside the source: `gas` pays for a deposit address, and nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chains.base import NATIVE, Decoded, Effect, SpendIntent, SpendKind
from core.errors import Reason, Refused
from core.ids import ChainId
from custody.keys.signers import KeyRef
from custody.keys.transaction import check_explained, digests_of, keys_of

DEPOSIT, OTHER = KeyRef("deposits", 3), KeyRef("deposits", 4)
GAS, HOT, COLD = KeyRef("gas", 0), KeyRef("hot", 0), KeyRef("cold", 0)


def address_of(key: KeyRef) -> str:
    return f"{key.account}-{key.index}"


SWEEP = SpendIntent(
    spend_id="spend-1", kind=SpendKind.SWEEP, cause_id="job-1", chain=ChainId("tickets"),
    network="tickets:1", asset_key=NATIVE, source=address_of(DEPOSIT), destination=address_of(HOT),
    amount=70, fee_max=10,
)  # fmt: skip
CANCELLED = replace(
    SWEEP, kind=SpendKind.CANCELLATION, cause_id="spend-1", destination=SWEEP.source, amount=0
)
PAYMENT = replace(
    SWEEP, kind=SpendKind.WITHDRAWAL, source=address_of(HOT), destination="outside", amount=70
)


def decoded_of(intent: SpendIntent, *signers: KeyRef) -> Decoded:
    """Return a transaction that does what an intent says, signed by these keys."""
    moves = intent.kind is not SpendKind.CANCELLATION
    effects = (Effect(NATIVE, intent.destination, intent.amount),) if moves else ()
    return Decoded(
        network=intent.network, nonce=0, effects=effects, fee_max=7, digest=b"the message",
        ticket="account:value", signers=tuple(map(address_of, signers)),
    )  # fmt: skip


def refusal(
    intent: SpendIntent, key: KeyRef, signers: tuple[KeyRef, ...], named: tuple[KeyRef, ...]
) -> Reason | None:
    """Return why a transaction is not explained, None when it is."""
    try:
        check_explained(
            intent, decoded_of(intent, *signers), key=key, input_keys=named, change_keys=(),
            address_of_key=address_of,
        )  # fmt: skip
    except Refused as refused:
        return refused.reason
    return None


def test_gas_pays_for_a_deposit_address() -> None:
    assert refusal(SWEEP, DEPOSIT, (GAS, DEPOSIT), (GAS, DEPOSIT)) is None


def test_the_source_may_sign_alone_named_or_not() -> None:
    assert refusal(PAYMENT, HOT, (), ()) is None
    assert refusal(PAYMENT, HOT, (HOT,), ()) is None
    assert refusal(PAYMENT, HOT, (HOT,), (HOT,)) is None


def test_gas_alone_cancels_what_it_pays_for() -> None:
    assert refusal(CANCELLED, DEPOSIT, (GAS,), (GAS,)) is None
    assert refusal(CANCELLED, DEPOSIT, (GAS, DEPOSIT), (GAS, DEPOSIT)) is None


@pytest.mark.parametrize(
    ("intent", "key", "signers", "named"),
    [
        (SWEEP, DEPOSIT, (GAS,), (GAS,)),
        (SWEEP, DEPOSIT, (HOT, DEPOSIT), (HOT, DEPOSIT)),
        (SWEEP, DEPOSIT, (COLD, DEPOSIT), (COLD, DEPOSIT)),
        (SWEEP, DEPOSIT, (OTHER, DEPOSIT), (OTHER, DEPOSIT)),
        (SWEEP, DEPOSIT, (DEPOSIT, GAS), (DEPOSIT, GAS)),
        (SWEEP, DEPOSIT, (GAS, DEPOSIT), (DEPOSIT, GAS)),
        (SWEEP, DEPOSIT, (GAS, DEPOSIT), ()),
        (SWEEP, DEPOSIT, (GAS, DEPOSIT), (GAS,)),
        (SWEEP, DEPOSIT, (GAS, DEPOSIT), (GAS, DEPOSIT, DEPOSIT)),
        (SWEEP, DEPOSIT, (GAS, OTHER, DEPOSIT), (GAS, OTHER, DEPOSIT)),
        (SWEEP, DEPOSIT, (GAS, GAS), (GAS, GAS)),
        (PAYMENT, HOT, (GAS, HOT), (GAS, HOT)),
        (PAYMENT, HOT, (COLD, HOT), (COLD, HOT)),
        (CANCELLED, DEPOSIT, (HOT,), (HOT,)),
        (CANCELLED, DEPOSIT, (OTHER,), (OTHER,)),
        (replace(CANCELLED, source=address_of(HOT), destination=address_of(HOT)), HOT, (GAS,),
         (GAS,)),
    ],
)  # fmt: skip
def test_nobody_else_signs_beside_the_source(
    intent: SpendIntent, key: KeyRef, signers: tuple[KeyRef, ...], named: tuple[KeyRef, ...]
) -> None:
    assert refusal(intent, key, signers, named) is Reason.FOREIGN_INPUT


def test_keys_without_several_signers_are_a_lie() -> None:
    assert refusal(PAYMENT, HOT, (), (HOT,)) is Reason.INTENT_MISMATCH


def test_every_signer_signs_the_same_message() -> None:
    decoded = decoded_of(SWEEP, GAS, DEPOSIT)
    assert digests_of(decoded) == (b"the message", b"the message")
    assert keys_of(DEPOSIT, (GAS, DEPOSIT)) == (GAS, DEPOSIT)
    assert digests_of(decoded_of(PAYMENT)) == (b"the message",)
