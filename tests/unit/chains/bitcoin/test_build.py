"""Building, judging and joining: what is built is judged as meant, what is joined is valid."""

from __future__ import annotations

import itertools
from dataclasses import replace

import coincurve
import pytest
from btclib_wallet import bip322 as library_proofs
from hypothesis import event, given
from hypothesis import strategies as st

from chains.base import Effect, FeeRate, SpendIntent, SpendKind, UnsignedTx
from chains.bitcoin import decode as decoding
from chains.bitcoin.bip322 import to_text
from chains.bitcoin.build import Coin, build
from chains.bitcoin.params import COIN
from chains.bitcoin.signature import CURVE_ORDER, strict_encoding
from core.errors import Reason, Refused
from custody.keys.signers import KeyRef
from custody.reserves import verify
from tests.support.bitcoin import (
    CHANGE,
    HOT,
    OFFLINE,
    PARAMS,
    SIGNER,
    STRANGER,
    Wallet,
    address_of,
    check_by_library,
    coin_of,
    funding,
    intent_of,
    sign_all,
)

RATE = FeeRate(10, 10)
DESTINATIONS = [
    STRANGER,
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
    "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
]


def built(intent: SpendIntent, *coins: Coin, rate: FeeRate = RATE) -> UnsignedTx:
    """Build an intent over some coins."""
    return build(intent, PARAMS, coins=coins, rate=rate.max_rate)


def refusal(intent: SpendIntent, *coins: Coin, rate: FeeRate = RATE) -> Reason:
    """Return why nothing is built."""
    with pytest.raises(Refused) as refused:
        built(intent, *coins, rate=rate)
    return refused.value.reason


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_what_is_built_is_judged_as_meant_and_valid_once_signed(destination: str) -> None:
    intent = intent_of(destination, 4 * COIN)
    unsigned = built(intent, *Wallet().coins[:2])
    decoded = OFFLINE.decode(unsigned.payload, sender=unsigned.sender)
    assert Effect("native", destination, 4 * COIN) in decoded.effects
    assert (decoded.fee_max, decoded.digest) == (unsigned.fee_max, unsigned.digest)
    signed = OFFLINE.assemble(unsigned, sign_all(unsigned, HOT, HOT))
    check_by_library(unsigned.payload, signed.raw)
    assert signed.tx_id == unsigned.digest[::-1].hex()


@given(
    amounts=st.lists(st.integers(50_000, 10 * COIN), min_size=1, max_size=6),
    share=st.integers(1, 99),
    rate=st.integers(1, PARAMS.fee_cap),
)
def test_builder_and_decoder_agree_on_fee_and_rate(
    amounts: list[int], share: int, rate: int
) -> None:
    coins = [coin_of(funding(address_of(HOT), held, salt=n)) for n, held in enumerate(amounts)]
    intent = intent_of(STRANGER, max(294, sum(amounts) * share // 100), fee_max=10**9)
    try:
        unsigned = built(intent, *coins, rate=FeeRate(rate, rate))
    except Refused as refused:
        event(refused.reason)
        return
    decoded = OFFLINE.decode(unsigned.payload, sender=unsigned.sender)
    assert decoded.fee_max == unsigned.fee_max
    assert rate <= OFFLINE.rate_of(unsigned.payload).max_rate
    own = [effect for effect in decoded.effects if effect.destination == address_of(HOT)]
    assert len(decoded.effects) - len(own) == 1


def test_many_coins_are_spent_at_once() -> None:
    coins = [coin_of(funding(address_of(HOT), COIN, salt=number)) for number in range(260)]
    unsigned = built(intent_of(STRANGER, 259 * COIN, fee_max=COIN), *coins)
    signed = OFFLINE.assemble(unsigned, sign_all(unsigned, *[HOT] * 260))
    check_by_library(unsigned.payload, signed.raw)
    spend = decoding.read_spend(unsigned.payload)
    size = -(-spend.tx.signed(((b"",),)).weight // 4)
    assert size <= spend.size


def test_change_that_would_be_dust_goes_to_the_fee() -> None:
    coin = coin_of(funding(address_of(HOT), COIN))
    least = 110 * RATE.max_rate
    unsigned = built(intent_of(STRANGER, COIN - least - 500), coin)
    decoded = OFFLINE.decode(unsigned.payload, sender=unsigned.sender)
    assert [effect.destination for effect in decoded.effects] == [STRANGER]
    assert decoded.fee_max == least + 500


def test_a_cancellation_pays_everything_back() -> None:
    source = address_of(HOT)
    intent = intent_of(source, 0, kind=SpendKind.CANCELLATION)
    unsigned = built(intent, Wallet().coins[0])
    decoded = OFFLINE.decode(unsigned.payload, sender=source)
    assert decoded.effects == (Effect("native", source, 3 * COIN - decoded.fee_max),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": "bip122:other"}, Reason.INTENT_MISMATCH),
        ({"chain": "other"}, Reason.INTENT_MISMATCH),
        ({"asset_key": "token"}, Reason.INTENT_MISMATCH),
        ({"kind": SpendKind.CANCELLATION}, Reason.INTENT_MISMATCH),
        ({"amount": 0}, Reason.ZERO_AMOUNT),
        ({"amount": -1}, Reason.MALFORMED_AMOUNT),
        ({"amount": 3 * COIN}, Reason.EXCEEDS_AVAILABLE),
        ({"fee_max": 1_000}, Reason.FEE_ABOVE_CAP),
        ({"destination": "nowhere"}, Reason.INVALID_ADDRESS),
        ({"destination": DESTINATIONS[0].replace("bcrt", "bc")}, Reason.INVALID_ADDRESS),
        ({"destination": "1BitcoinEaterAddressDontSendf59kuE"}, Reason.WRONG_NETWORK),
    ],
)
def test_an_intent_that_cannot_be_carried_out_is_refused(
    changes: dict[str, object], reason: Reason
) -> None:
    coin = Wallet().coins[0]
    intent = intent_of(STRANGER, COIN)
    assert built(intent, coin).sender == intent.source
    assert refusal(replace(intent, **changes), coin) is reason  # type: ignore[arg-type]


def test_coins_are_chosen_and_each_of_them_once() -> None:
    coin = Wallet().coins[0]
    assert refusal(intent_of(STRANGER, COIN)) is Reason.EXCEEDS_AVAILABLE
    assert refusal(intent_of(STRANGER, COIN), coin, coin) is Reason.EXCEEDS_AVAILABLE


def test_what_would_not_be_judged_is_not_built() -> None:
    funded = funding(address_of(HOT), *[COIN] * 10_000)
    coins = [coin_of(funded, number) for number in range(3)]
    assert built(intent_of(STRANGER, COIN), *coins[:2]).fee_max
    assert refusal(intent_of(STRANGER, COIN), *coins) is Reason.TOO_LARGE


def test_a_rate_above_the_cap_is_not_built() -> None:
    rate = FeeRate(PARAMS.fee_cap + 1, 1)
    assert refusal(intent_of(STRANGER, COIN, fee_max=COIN), Wallet().coins[0], rate=rate) is (
        Reason.FEE_ABOVE_CAP
    )


def flipped(signature: bytes) -> bytes:
    """Return the other signature of the same key and digest, with a high s."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((signature[64] ^ 1,))


def test_signatures_of_others_are_not_joined() -> None:
    unsigned = Wallet().draft().unsigned()
    good = sign_all(unsigned, HOT, HOT)
    first, second = good[:65], good[65:]
    others = [
        b"",
        first,
        good + first,
        second + first,
        sign_all(unsigned, HOT, KeyRef("hot", 1)),
        flipped(first) + second,
        first[:64] + b"\x04" + second,
        first[:64] + bytes((first[64] ^ 1,)) + second,
        bytes(32) + first[32:] + second,
        first[:32] + bytes(32) + first[64:] + second,
        CURVE_ORDER.to_bytes(32, "big") + first[32:] + second,
    ]
    for signature in others:
        with pytest.raises(Refused) as refused:
            OFFLINE.assemble(unsigned, signature)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    assert OFFLINE.assemble(unsigned, good).raw


def test_a_digest_of_another_payload_is_not_joined() -> None:
    unsigned = Wallet().draft().unsigned()
    other = Wallet().draft().changed(locktime=1).unsigned()
    mixed = UnsignedTx(
        unsigned.chain, unsigned.sender, 0, unsigned.payload, other.digest, unsigned.fee_max
    )
    with pytest.raises(Refused) as refused:
        OFFLINE.assemble(mixed, sign_all(unsigned, HOT, HOT))
    assert refused.value.reason is Reason.INTENT_MISMATCH


@given(st.integers(1, CURVE_ORDER - 1), st.integers(1, CURVE_ORDER // 2))
def test_signatures_have_the_encoding_of_bip_66(r: int, s: int) -> None:
    encoded = strict_encoding(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    assert len(encoded) <= 71
    numbers = coincurve.ecdsa.der_to_cdata(encoded)
    assert coincurve.ecdsa.cdata_to_der(numbers) == encoded


def test_a_proof_of_control_is_its_addresss_and_no_others() -> None:
    challenge = b"strongroom proof of control " + bytes(range(32)).hex().encode()
    signature = SIGNER.sign(HOT, OFFLINE.control_digest(challenge, address=address_of(HOT)))
    proof = OFFLINE.control_proof(challenge, signature, address=address_of(HOT))
    signer = verify.SCHEMES[OFFLINE.traits.control]
    assert signer(challenge, proof) == address_of(HOT)
    with pytest.raises(verify.Refuted):
        signer(challenge + b"!", proof)
    assert library_proofs.verify(challenge, address_of(HOT), to_text(proof))
    assert not library_proofs.verify(challenge + b"!", address_of(HOT), to_text(proof))
    with pytest.raises(Refused) as refused:
        OFFLINE.control_proof(challenge, signature, address=address_of(CHANGE))
    assert refused.value.reason is Reason.BAD_SIGNATURE


def test_a_message_never_has_the_digest_of_an_input() -> None:
    unsigned = Wallet().draft().unsigned()
    decoded = OFFLINE.decode(unsigned.payload, sender=unsigned.sender)
    parts = [unsigned.payload, unsigned.digest, *(one.digest for one in decoded.inputs)]
    found = {OFFLINE.control_digest(part, address=address_of(HOT)) for part in parts}
    assert not found & {unsigned.digest, *(one.digest for one in decoded.inputs)}
    assert all(a != b for a, b in itertools.combinations(sorted(found), 2))
