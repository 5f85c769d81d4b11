"""Builder and judge share no code and agree on whatever may be intended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import NATIVE, Effect, FeeRate, SpendIntent, SpendItem, SpendKind
from chains.solana import programs
from chains.solana.address import to_text
from chains.solana.build import Facts, build, payments_of
from chains.solana.decode import decode, rate_of
from chains.solana.params import SIGNATURE_FEE, SUPPLY_MAX
from core.errors import Reason, Refused
from core.ids import ChainId
from tests.support.solana import (
    GAS,
    HOT,
    MINT_TEXT,
    NONCE,
    OTHER_MINT_TEXT,
    PARAMS,
    RATE,
    facts_of,
    intent_of,
    keypair,
    raw,
)

_PEOPLE = [str(keypair(f"person {n}").pubkey()) for n in range(12)]


@st.composite
def _asked(draw: st.DrawFn) -> tuple[SpendIntent, Facts, int, int]:
    kind = draw(st.sampled_from([SpendKind.WITHDRAWAL, SpendKind.SWEEP, SpendKind.BATCH]))
    asset_key = draw(st.sampled_from([NATIVE, MINT_TEXT, OTHER_MINT_TEXT]))
    payer = GAS if kind is SpendKind.SWEEP else HOT
    intent = intent_of(
        keypair("deposit 7") if kind is SpendKind.SWEEP else HOT,
        asset_key=asset_key,
        amount=draw(st.integers(1, SUPPLY_MAX)),
        kind=kind,
        fee_max=10**12,
    )
    intent = replace(intent, destination=draw(st.sampled_from(_PEOPLE)))
    if kind is SpendKind.BATCH:
        amounts = draw(st.lists(st.integers(1, 10**15), min_size=2, max_size=8))
        items = tuple(
            SpendItem(f"wd_{n}", draw(st.sampled_from(_PEOPLE)), amount)
            for n, amount in enumerate(amounts)
        )
        intent = replace(intent, destination=intent.source, amount=sum(amounts), items=items)
    is_token = asset_key != NATIVE
    paid = {to for to, _ in payments_of(intent)}
    facts = Facts(
        raw(NONCE),
        draw(st.binary(min_size=32, max_size=32)),
        raw(payer),
        draw(st.sampled_from(programs.TOKEN_PROGRAMS)) if is_token else b"",
        frozenset(one for one in sorted(paid) if is_token and draw(st.booleans())),
        is_token and kind is SpendKind.SWEEP and draw(st.booleans()),
    )
    return intent, facts, draw(st.integers(1, 1_000)), draw(st.integers(1, 1_400))


@given(_asked())
def test_what_is_built_is_read_back_as_exactly_what_was_intended(
    asked: tuple[SpendIntent, Facts, int, int],
) -> None:
    intent, facts, rate, units = asked
    unsigned = build(intent, PARAMS, facts, rate=FeeRate(rate, rate), units=units)
    decoded = decode(unsigned.payload, PARAMS, sender=intent.source)

    assert decoded.effects == tuple(
        Effect(intent.asset_key, to, amount) for to, amount in payments_of(intent)
    )
    assert decoded.ticket == f"{NONCE.pubkey()}:{to_text(facts.nonce_value)}"
    signers = 2 if intent.kind is SpendKind.SWEEP else 1
    opened = sum(programs.OPENING_COST[facts.token_program] for _ in facts.opens)
    assert decoded.fee_max == unsigned.fee_max == SIGNATURE_FEE * signers + rate * units + opened
    assert decoded.is_batch is (intent.kind is SpendKind.BATCH)
    assert decoded.signers == ((str(GAS.pubkey()), intent.source) if signers == 2 else ())
    assert rate_of(unsigned.payload) == FeeRate(rate, rate)
    assert (unsigned.digest, unsigned.nonce) == (unsigned.payload, 0)


_TOKENS = facts_of(token_program=programs.TOKEN)


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (replace(intent_of(), network="solana:another"), Reason.INTENT_MISMATCH),
        (replace(intent_of(), chain=ChainId("other")), Reason.INTENT_MISMATCH),
        (intent_of(amount=0), Reason.ZERO_AMOUNT),
        (intent_of(amount=2**64), Reason.AMOUNT_OUT_OF_RANGE),
        (intent_of(amount=-1), Reason.MALFORMED_AMOUNT),
        (intent_of(asset_key=str(keypair("unlisted").pubkey())), Reason.UNKNOWN_ASSET),
        (intent_of(kind=SpendKind.DELEGATION), Reason.INTENT_MISMATCH),
        (intent_of(kind=SpendKind.OWNERS), Reason.INTENT_MISMATCH),
        (
            replace(intent_of(kind=SpendKind.CANCELLATION), amount=1),
            Reason.INTENT_MISMATCH,
        ),
        (intent_of(fee_max=5_000), Reason.FEE_ABOVE_CAP),
    ],
)
def test_what_nobody_may_intend_is_not_built(intent: SpendIntent, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        build(intent, PARAMS, _TOKENS, rate=RATE, units=2)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("rate", "units"), [(FeeRate(1_001, 1), 2), (FeeRate(7, 7), 1_401), (FeeRate(7, 7), 0)]
)
def test_no_more_is_paid_for_compute_than_the_configured_cap(rate: FeeRate, units: int) -> None:
    with pytest.raises(Refused) as refused:
        build(intent_of(), PARAMS, facts_of(), rate=rate, units=units)
    assert refused.value.reason is Reason.FEE_ABOVE_CAP
