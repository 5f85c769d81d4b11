"""Facts of building, reading back and signing transactions that hold on every chain."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial

import pytest

from chains.base import (
    NATIVE,
    Effect,
    FeeRate,
    SpendKind,
)
from core.errors import Reason, Refused, Unavailable
from core.ids import ChainId
from tests.conformance.harness import (
    ChainHarness,
    assets,
    claims_of,
    owner_of,
    refusal,
    some,
    wallet,
)

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493

# ---- building and reading transactions ------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [kind for kind in SpendKind if kind not in ("delegation", "owners", "batch")]
)
def test_a_payload_reads_back_as_exactly_its_intent(kind: SpendKind, harness: ChainHarness) -> None:
    alice, chain = wallet(harness, coins=2), harness.chain
    rate, slot = chain.fee_rate(), harness.slot(alice.address, 1)
    for asset in assets(harness):
        if kind is SpendKind.CANCELLATION:
            intent = alice.intent(alice.address, 0, kind=kind)
        else:
            amount = harness.coin // 7 if asset == NATIVE else 123_456_789
            intent = alice.intent(harness.outsider("bob"), amount, asset, kind=kind)
        if kind is SpendKind.SWEEP and slot.coins:  # nothing is left but the fee
            fee = rate.max_rate * chain.fee_units(intent, slot.coins)
            intent = replace(intent, amount=harness.coin - fee)
        unsigned = alice.unsigned(intent, slot=slot, rate=rate)
        decoded = chain.decode(unsigned.payload, sender=alice.address)
        effect = Effect(intent.asset_key, intent.destination, intent.amount)
        if chain.traits.spends_coins:  # what is left of the coins goes back
            paid = tuple(one for one in decoded.effects if one.destination != alice.address)
            assert paid == (() if kind is SpendKind.CANCELLATION else (effect,))
        else:
            assert [one for one in decoded.effects if one.amount] == [effect] * bool(effect.amount)
            assert {one.destination for one in decoded.effects} <= {effect.destination}
        assert (decoded.network, decoded.digest) == (intent.network, unsigned.digest)
        assert (unsigned.sender, decoded.nonce) == (alice.address, slot.nonce)
        assert set(decoded.claims(alice.address)) == claims_of(slot, alice.address)
        most = rate.max_rate * harness.units + chain.fee_extra(intent)
        assert 0 < decoded.fee_max == unsigned.fee_max <= most
        flags = decoded.is_batch, decoded.source_is_contract, decoded.runs_own_code
        assert flags == (False, False, False)
        assert decoded.relayed is None
        read = chain.rate_of(unsigned.payload).max_rate
        assert rate.max_rate * 9 // 10 <= read <= rate.max_rate
        assert alice.unsigned(intent, slot=slot, rate=rate) == unsigned


def test_amounts_of_every_size_read_back(harness: ChainHarness) -> None:
    alice = wallet(harness)
    for asset in assets(harness):
        for amount in harness.amounts(asset):
            intent = alice.intent(harness.outsider("bob"), amount, asset)
            unsigned = alice.unsigned(intent)
            effects = harness.chain.decode(unsigned.payload, sender=alice.address).effects
            assert [one.amount for one in effects if one.destination == intent.destination] == [
                amount
            ]


def mutants_of(payload: bytes) -> list[bytes]:
    """Return every shorter payload, some longer ones, and each byte changed in several ways."""
    mutants = [payload[:size] for size in range(len(payload))]
    mutants += [payload + bytes((extra,)) for extra in (0, 1, 0x80, 0xC0, 0xFF)]
    for place, byte in enumerate(payload):
        values = {byte ^ (1 << bit) for bit in range(8)} | {0, 0xFF, (byte + 1) & 0xFF} - {byte}
        mutants += [
            payload[:place] + bytes((value,)) + payload[place + 1 :] for value in sorted(values)
        ]
    return [mutant for mutant in mutants if mutant != payload]


def test_no_mutated_payload_reads_back_as_the_same_transaction(harness: ChainHarness) -> None:
    alice, chain = wallet(harness), harness.chain

    def reading(content: bytes) -> tuple[object, ...] | None:
        try:
            decoded = chain.decode(content, sender=alice.address)
            rate = chain.rate_of(content)
        except Refused as refused:
            reasons.add(refused.reason)
            return None
        except Unavailable:
            return None  # locked to a height that nobody has reached
        effects = decoded.network, decoded.nonce, decoded.effects, decoded.fee_max, rate
        by_digest.setdefault(decoded.digest, set()).add(effects)
        return decoded.digest, *effects

    for asset in assets(harness):
        by_digest: dict[bytes, set[tuple[object, ...]]] = {}
        reasons: set[Reason] = set()
        amount = some(harness, 7, asset)
        payload = alice.unsigned(alice.intent(harness.outsider("bob"), amount, asset)).payload
        original = reading(payload)
        assert original is not None
        mutants = mutants_of(payload)
        readings = [reading(mutant) for mutant in mutants]
        # What is signed says what is read: only bytes that no digest covers may read the same,
        # the witnesses of the transactions that a coin comes from.
        assert original not in readings or chain.traits.spends_coins
        effects = [one for found in by_digest.values() for one in found]
        assert len(by_digest) == len(effects) > 1
        assert Reason.UNDECODABLE in reasons
        assert reasons <= READABLE_REASONS


READABLE_REASONS = {
    Reason.UNDECODABLE,
    Reason.WRONG_NETWORK,
    Reason.UNKNOWN_CALL,
    Reason.UNKNOWN_VERSION,
    Reason.FEE_ABOVE_CAP,
    Reason.FORBIDDEN_DESTINATION,
    Reason.FOREIGN_INPUT,
    Reason.UNPROVEN_AMOUNT,
    Reason.AMOUNT_OUT_OF_RANGE,
    Reason.SIGNATURE_SCOPE,
    Reason.EXTRA_EFFECT,
    Reason.BELOW_MINIMUM,
    Reason.TOO_LARGE,
    Reason.OWNER_CHANGE,
    Reason.UNKNOWN_ASSET,
    Reason.APPROVAL_CALL,
}


def test_bytes_that_are_no_payload_are_undecodable(harness: ChainHarness) -> None:
    alice = wallet(harness)
    raw = alice.signed(harness.outsider("bob"), some(harness, 5)).raw
    noise = b"".join(hashlib.sha256(bytes((n,))).digest() for n in range(8))
    for content in (b"", b"\0", b"\x02", noise, raw, b"\xff" * 200):
        given = refusal(partial(harness.chain.decode, content, sender=alice.address))
        assert given is Reason.UNDECODABLE


def test_an_intent_that_is_not_for_here_or_moves_nothing_is_not_built(
    harness: ChainHarness,
) -> None:
    alice, bob = wallet(harness), harness.outsider("bob")
    good = alice.intent(bob, some(harness, 5))
    cancellation = alice.intent(alice.address, 0, kind=SpendKind.CANCELLATION)
    table = [
        (replace(good, network=f"{good.network}0"), Reason.INTENT_MISMATCH),
        (replace(good, chain=ChainId("elsewhere")), Reason.INTENT_MISMATCH),
        (replace(good, amount=0), Reason.ZERO_AMOUNT),
        (replace(good, destination=bob[:-1]), Reason.INVALID_ADDRESS),
        (replace(cancellation, amount=1), Reason.INTENT_MISMATCH),
        (replace(cancellation, destination=bob), Reason.INTENT_MISMATCH),
    ]
    table += [(replace(good, destination=to), why) for to, why in harness.bad_addresses().values()]
    table += [
        (replace(cancellation, asset_key=token), Reason.INTENT_MISMATCH) for token in harness.tokens
    ]
    for intent, reason in table:
        assert refusal(partial(alice.unsigned, intent)) is reason, intent
    assert alice.unsigned(good).nonce == alice.unsigned(cancellation).nonce


def test_a_fee_above_the_intents_cap_is_not_built(harness: ChainHarness) -> None:
    alice, rate = wallet(harness), harness.chain.fee_rate()
    intent = alice.intent(harness.outsider("bob"), some(harness, 5))
    exact = replace(intent, fee_max=alice.unsigned(intent, rate=rate).fee_max)
    assert alice.unsigned(exact, rate=rate).fee_max == exact.fee_max
    short = replace(intent, fee_max=exact.fee_max - 1)
    assert refusal(lambda: alice.unsigned(short, rate=rate)) is Reason.FEE_ABOVE_CAP
    huge = FeeRate(max_rate=2**200, tip_rate=1)
    assert refusal(lambda: alice.unsigned(intent, rate=huge)) in {
        Reason.FEE_ABOVE_CAP,
        Reason.EXCEEDS_AVAILABLE,  # where coins pay, these do not
    }


def test_a_rate_pays_something_and_its_tip_lies_inside(harness: ChainHarness) -> None:
    rate = harness.chain.fee_rate()
    assert 0 <= rate.tip_rate <= rate.max_rate
    assert rate.max_rate > 0
    for asset in assets(harness):
        alice = owner_of(harness, asset)
        intent = alice.intent(harness.outsider("bob"), some(harness, 5, asset), asset)
        units = harness.chain.fee_units(intent)
        assert 0 < units <= harness.units


# ---- signatures -----------------------------------------------------------------------------


def spoiled(signature: bytes, curve: str) -> dict[str, bytes]:
    """Return the other forms of a signature that a curve's mathematics allows, and some more."""
    if curve == "ed25519":
        again = int.from_bytes(signature[32:], "little") + ED25519_ORDER
        return {
            "s and the order": signature[:32] + again.to_bytes(32, "little"),
            "another point": bytes((signature[0] ^ 1,)) + signature[1:],
        }
    high_s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return {
        "high s": signature[:32] + high_s.to_bytes(32, "big") + bytes((signature[64] ^ 1,)),
        "another recovery id": signature[:64] + bytes((signature[64] ^ 1,)),
        "impossible recovery id": signature[:64] + b"\x1d",
    }


def test_only_the_senders_low_signature_of_this_payload_is_taken(harness: ChainHarness) -> None:
    alice, bob = wallet(harness), wallet(harness, "bob", coins=0)
    chain = harness.chain
    unsigned = alice.unsigned(alice.intent(harness.outsider("carol"), some(harness, 5)))
    inputs = chain.decode(unsigned.payload, sender=alice.address).inputs
    digest = inputs[0].digest if inputs else unsigned.digest
    signature = alice.sign(digest)
    bad = {
        **spoiled(signature, chain.traits.curve),
        "another key": bob.sign(digest),
        "another digest": alice.sign(bytes(32)),
        "zero": bytes(len(signature)),
        "ones": b"\xff" * len(signature),
        "cut": signature[:-2],
        "longer": signature + b"\0",
        "empty": b"",
    }
    for what, candidate in bad.items():
        given = refusal(partial(chain.assemble, unsigned, candidate))
        assert given is Reason.BAD_SIGNATURE, what
    assert chain.assemble(unsigned, signature) == chain.assemble(unsigned, signature)


def test_a_digest_that_is_not_the_payloads_is_refused(harness: ChainHarness) -> None:
    alice = wallet(harness)
    unsigned = alice.unsigned(alice.intent(harness.outsider("bob"), some(harness, 5)))
    other = alice.unsigned(alice.intent(harness.outsider("bob"), some(harness, 6)))
    swapped = replace(unsigned, digest=other.digest)
    signature = alice.sign(other.digest)
    given = refusal(lambda: harness.chain.assemble(swapped, signature))
    assert given is Reason.INTENT_MISMATCH
