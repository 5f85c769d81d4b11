"""Facts of building, reading back and signing transactions that hold on every chain."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial

import pytest

from chains.base import (
    NATIVE,
    Decoded,
    Effect,
    FeeRate,
    SpendKind,
)
from core.errors import Reason, Refused
from core.ids import ChainId
from tests.conformance.harness import (
    ChainHarness,
    refusal,
    wallet,
)

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

# ---- building and reading transactions ------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [kind for kind in SpendKind if kind not in ("delegation", "batch")]
)
@pytest.mark.parametrize("is_token", [False, True])
def test_a_payload_reads_back_as_exactly_its_intent(
    kind: SpendKind, is_token: bool, harness: ChainHarness
) -> None:
    alice, chain = wallet(harness, coins=0), harness.chain
    if kind is SpendKind.CANCELLATION:
        intent = alice.intent(alice.address, 0, kind=kind)
    else:
        asset = harness.token if is_token else NATIVE
        intent = alice.intent(harness.outsider("bob"), 123_456_789, asset, kind=kind)
    rate = chain.fee_rate()
    unsigned = alice.unsigned(intent, nonce=7, rate=rate)
    assert chain.decode(unsigned.payload, sender=alice.address) == Decoded(
        network=intent.network,
        nonce=7,
        effects=(Effect(intent.asset_key, intent.destination, intent.amount),),
        fee_max=rate.max_rate * harness.units,
        digest=unsigned.digest,
    )
    assert (unsigned.sender, unsigned.nonce) == (alice.address, 7)
    assert unsigned.fee_max == rate.max_rate * harness.units
    assert chain.rate_of(unsigned.payload) == rate
    assert alice.unsigned(intent, nonce=7, rate=rate) == unsigned


@pytest.mark.parametrize("amount", [1, 255, 256, 2**64, 2**96 - 1])
def test_amounts_of_every_size_read_back(amount: int, harness: ChainHarness) -> None:
    alice = wallet(harness, coins=0)
    for asset in (NATIVE, harness.token):
        unsigned = alice.unsigned(alice.intent(harness.outsider("bob"), amount, asset))
        (effect,) = harness.chain.decode(unsigned.payload, sender=alice.address).effects
        assert effect.amount == amount


@pytest.mark.parametrize("is_token", [False, True])
def test_no_mutated_payload_reads_back_as_the_same_transaction(
    is_token: bool, harness: ChainHarness
) -> None:
    alice, chain = wallet(harness, coins=0), harness.chain
    intent = alice.intent(harness.outsider("bob"), 10**9 + 7, harness.token if is_token else NATIVE)
    payload = alice.unsigned(intent, nonce=3).payload

    def reading(content: bytes) -> tuple[object, ...] | None:
        try:
            decoded = chain.decode(content, sender=alice.address)
            rate = chain.rate_of(content)
        except Refused as refused:
            reasons.add(refused.reason)
            return None
        digests.append(decoded.digest)
        return decoded.network, decoded.nonce, decoded.effects, decoded.fee_max, rate

    digests: list[bytes] = []
    reasons: set[Reason] = set()
    original = reading(payload)
    assert original is not None
    mutants = [payload[:size] for size in range(len(payload))]
    mutants += [payload + bytes((extra,)) for extra in (0, 1, 0x80, 0xC0, 0xFF)]
    for place, byte in enumerate(payload):
        values = {byte ^ (1 << bit) for bit in range(8)} | {0, 0xFF, (byte + 1) & 0xFF} - {byte}
        mutants += [
            payload[:place] + bytes((value,)) + payload[place + 1 :] for value in sorted(values)
        ]
    readings = [reading(mutant) for mutant in mutants]
    assert original not in readings
    assert len(digests) == len(set(digests)) > 1
    assert Reason.UNDECODABLE in reasons
    assert reasons <= {
        Reason.UNDECODABLE,
        Reason.WRONG_NETWORK,
        Reason.UNKNOWN_CALL,
        Reason.FEE_ABOVE_CAP,
        Reason.FORBIDDEN_DESTINATION,
    }


def test_bytes_that_are_no_payload_are_undecodable(harness: ChainHarness) -> None:
    alice = wallet(harness, coins=0)
    raw = alice.signed(harness.outsider("bob"), 5).raw
    noise = b"".join(hashlib.sha256(bytes((n,))).digest() for n in range(8))
    for content in (b"", b"\0", b"\x02", noise, raw, b"\xff" * 200):
        given = refusal(partial(harness.chain.decode, content, sender=alice.address))
        assert given is Reason.UNDECODABLE


def test_an_intent_that_is_not_for_here_or_moves_nothing_is_not_built(
    harness: ChainHarness,
) -> None:
    alice, bob = wallet(harness, coins=0), harness.outsider("bob")
    good = alice.intent(bob, 5)
    cancellation = alice.intent(alice.address, 0, kind=SpendKind.CANCELLATION)
    zero = harness.bad_addresses()["zero"][0]
    table = [
        (replace(good, network=f"{good.network}0"), Reason.INTENT_MISMATCH),
        (replace(good, chain=ChainId("elsewhere")), Reason.INTENT_MISMATCH),
        (replace(good, amount=0), Reason.ZERO_AMOUNT),
        (replace(good, destination=bob[:-1]), Reason.INVALID_ADDRESS),
        (replace(good, destination=zero), Reason.FORBIDDEN_DESTINATION),
        (replace(good, destination=harness.token), Reason.FORBIDDEN_DESTINATION),
        (replace(cancellation, amount=1), Reason.INTENT_MISMATCH),
        (replace(cancellation, destination=bob), Reason.INTENT_MISMATCH),
        (replace(cancellation, asset_key=harness.token), Reason.INTENT_MISMATCH),
    ]
    for intent, reason in table:
        assert refusal(partial(alice.unsigned, intent)) is reason, intent
    assert alice.unsigned(good).nonce == alice.unsigned(cancellation).nonce == 0


def test_a_fee_above_the_intents_cap_is_not_built(harness: ChainHarness) -> None:
    alice, rate = wallet(harness, coins=0), harness.chain.fee_rate()
    intent = alice.intent(harness.outsider("bob"), 5)
    exact = replace(intent, fee_max=rate.max_rate * harness.units)
    assert alice.unsigned(exact, rate=rate).fee_max == exact.fee_max
    short = replace(intent, fee_max=exact.fee_max - 1)
    assert refusal(lambda: alice.unsigned(short, rate=rate)) is Reason.FEE_ABOVE_CAP
    huge = FeeRate(max_rate=2**200, tip_rate=1)
    assert refusal(lambda: alice.unsigned(intent, rate=huge)) is Reason.FEE_ABOVE_CAP


def test_a_rate_pays_something_and_its_tip_lies_inside(harness: ChainHarness) -> None:
    rate = harness.chain.fee_rate()
    assert 0 <= rate.tip_rate <= rate.max_rate
    assert rate.max_rate > 0
    alice = wallet(harness)
    harness.fund(alice.address, 10, harness.token)
    for asset in (NATIVE, harness.token):
        units = harness.chain.fee_units(alice.intent(harness.outsider("bob"), 5, asset))
        assert 0 < units <= harness.units


# ---- signatures -----------------------------------------------------------------------------


def test_only_the_senders_low_signature_of_this_payload_is_taken(harness: ChainHarness) -> None:
    alice, bob = wallet(harness, coins=0), wallet(harness, "bob", coins=0)
    chain = harness.chain
    unsigned = alice.unsigned(alice.intent(harness.outsider("carol"), 5))
    signature = alice.sign(unsigned.digest)
    high_s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    bad = {
        "another key": bob.sign(unsigned.digest),
        "another digest": alice.sign(bytes(32)),
        "high s": signature[:32] + high_s.to_bytes(32, "big") + bytes((signature[64] ^ 1,)),
        "another recovery id": signature[:64] + bytes((signature[64] ^ 1,)),
        "impossible recovery id": signature[:64] + b"\x1d",
        "zero": bytes(65),
        "ones": b"\xff" * 65,
        "cut": signature[:63],
        "longer": signature + b"\0",
        "empty": b"",
    }
    for what, candidate in bad.items():
        given = refusal(partial(chain.assemble, unsigned, candidate))
        assert given is Reason.BAD_SIGNATURE, what
    assert chain.assemble(unsigned, signature) == chain.assemble(unsigned, signature)


def test_a_digest_that_is_not_the_payloads_is_refused(harness: ChainHarness) -> None:
    alice = wallet(harness, coins=0)
    unsigned = alice.unsigned(alice.intent(harness.outsider("bob"), 5))
    other = alice.unsigned(alice.intent(harness.outsider("bob"), 6))
    swapped = replace(unsigned, digest=other.digest)
    signature = alice.sign(other.digest)
    given = refusal(lambda: harness.chain.assemble(swapped, signature))
    assert given is Reason.INTENT_MISMATCH
