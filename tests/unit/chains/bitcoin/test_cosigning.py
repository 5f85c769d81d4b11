"""Owners' signatures: taken in any order from two makes of devices, joined at the threshold."""

from __future__ import annotations

import base64
import itertools
import random
from dataclasses import dataclass, replace

import bdkpython as bdk
import pytest
from btclib.script.engine import verify_transaction
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut
from btclib_wallet.psbt.psbt import Psbt, combine, extract_tx
from btclib_wallet.psbt.psbt import finalize as library_finalise

from chains.base import SpendIntent, UnsignedTx
from chains.bitcoin.cosign import (
    Cosigned,
    finalise,
    read_cosigned,
    take,
    verified,
    with_signatures,
)
from chains.bitcoin.descriptor import Form
from chains.bitcoin.params import COIN
from chains.bitcoin.psbt_fields import (
    IN_LEAF_SIGNATURE,
    IN_OUTPUT,
    IN_PREVIOUS_TX,
    IN_SCOPE,
    IN_SIGNATURE,
    Parts,
    read_parts,
)
from chains.bitcoin.psbt_text import from_base64, from_parts, to_base64, to_parts
from chains.bitcoin.signature import CURVE_ORDER, strict_encoding
from chains.bitcoin.treasury import Judged
from core.errors import Reason, Refused
from tests.support.bitcoin import funding
from tests.support.owners import (
    DEVICES,
    Device,
    Officer,
    by_bdk,
    by_btclib,
    coins_of,
    officers,
    propose,
    secret_of,
    treasury_of,
)

KINDS = [
    (form, threshold, count)
    for form in (Form.SCRIPT_HASH, Form.TAPROOT_SCRIPT)
    for threshold, count in ((2, 3), (3, 5))
]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))


@dataclass(frozen=True)
class Round:
    """A payload over two coins of a treasury, and its owners."""

    intent: SpendIntent
    unsigned: UnsignedTx
    judged: Judged
    people: tuple[Officer, ...]

    def answer(self, officer: Officer, device: Device = by_bdk, payload: bytes = b"") -> bytes:
        """Return what an officer's device gives back."""
        return device(officer, payload or self.unsigned.payload, self.judged.treasury.descriptor)

    def signed(self, officer: Officer, device: Device = by_bdk) -> Cosigned:
        """Return an officer's signatures."""
        (one,) = take(self.judged, self.answer(officer, device))
        return one

    def refusal(self, returned: bytes) -> Reason:
        """Return why what came back is refused."""
        with pytest.raises(Refused) as refused:
            take(self.judged, returned)
        return refused.value.reason


def round_of(kind: tuple[Form, int, int], salt: int = 0) -> Round:
    """Return a payload of a treasury."""
    form, threshold, count = kind
    treasury = treasury_of(form, threshold, count)
    source = funding(treasury.address, 3 * COIN, 2 * COIN, salt=salt)
    made = propose(treasury, coins_of(source, 0, 1), 4 * COIN)
    return Round(*made, officers(count))


def check_by_library(judged: Judged, raw: bytes) -> None:
    """Run every input in the second library's engine; it raises unless all hold."""
    coins = [LibraryTxOut(coin.amount, ScriptPubKey(coin.script)) for coin in judged.coins]
    verify_transaction(coins, library.Tx.parse(raw))


@EVERY_KIND
def test_every_order_of_enough_owners_ends_in_one_valid_transaction(
    kind: tuple[Form, int, int],
) -> None:
    made = round_of(kind)
    given = [made.signed(who, DEVICES[who.number % 2]) for who in made.people]
    orders = list(itertools.permutations(given, kind[1]))
    for order in random.Random(1).sample(orders, min(len(orders), 24)):
        signed = finalise(made.judged, order)
        check_by_library(made.judged, signed.raw)
        assert signed.tx_id == made.judged.tx.tx_id
        assert finalise(made.judged, order[::-1]) == signed
    everybody = finalise(made.judged, given)
    check_by_library(made.judged, everybody.raw)
    assert library.Tx.parse(everybody.raw).vsize <= made.judged.size


@EVERY_KIND
def test_below_the_threshold_nothing_is_finalised(kind: tuple[Form, int, int]) -> None:
    made = round_of(kind)
    given = [made.signed(who) for who in made.people[: kind[1]]]
    assert finalise(made.judged, given).raw
    for few in ([], given[:-1], [*given[:-1], given[0]]):
        with pytest.raises(Refused) as refused:
            finalise(made.judged, few)
        assert refused.value.reason is Reason.QUORUM_NOT_MET


@EVERY_KIND
def test_owners_sign_one_after_another_over_base64_and_qr_texts(
    kind: tuple[Form, int, int],
) -> None:
    made = round_of(kind)
    payload, rng = made.unsigned.payload, random.Random(2)
    for step, who in enumerate(made.people[: kind[1]]):
        shown = to_parts(payload)
        rng.shuffle(shown)
        answer = made.answer(who, DEVICES[step % 2], from_parts(shown))
        payload = from_base64(to_base64(answer))
        assert len(take(made.judged, payload)) == step + 1
    signed = finalise(made.judged, take(made.judged, payload))
    check_by_library(made.judged, signed.raw)


@EVERY_KIND
def test_both_libraries_combine_and_finalise_to_the_same_bytes(
    kind: tuple[Form, int, int],
) -> None:
    made = round_of(kind)
    answers = [made.answer(who, by_btclib) for who in made.people[: kind[1]]]
    given = [one for answer in answers for one in take(made.judged, answer)]
    signed = finalise(made.judged, given)
    joined = with_signatures(made.unsigned.payload, made.judged, given)
    assert {*take(made.judged, joined)} == set(given)

    combined = combine([Psbt.parse(answer) for answer in answers])
    assert combined.serialize() == Psbt.parse(joined).serialize()
    assert extract_tx(library_finalise(combined)).serialize(include_witness=True) == signed.raw
    theirs = bdk.Psbt(base64.b64encode(joined).decode()).finalize()
    assert bytes(theirs.psbt.extract_tx().serialize()) == signed.raw


@EVERY_KIND
def test_a_strangers_signature_is_refused(kind: tuple[Form, int, int]) -> None:
    made = round_of(kind)
    given = made.signed(made.people[0])
    stranger = Officer(77).key(kind[0]).at(0)
    with pytest.raises(Refused) as refused:
        verified(made.judged, replace(given, public_key=stranger))
    assert refused.value.reason is Reason.NOT_AN_OWNER
    parts = read_parts(made.answer(made.people[0]))
    assert take(made.judged, parts.serialise()) == (given,)
    inputs = []
    for fields in parts.inputs:
        renamed = {IN_SIGNATURE: stranger, IN_LEAF_SIGNATURE: stranger[1:]}
        changed = {
            (name, renamed.get(name, rest) + rest[32:] * (name == IN_LEAF_SIGNATURE)): value
            for (name, rest), value in fields.items()
        }
        inputs.append(changed)
    assert made.refusal(replace(parts, inputs=tuple(inputs)).serialise()) is Reason.NOT_AN_OWNER


@EVERY_KIND
def test_another_owners_name_over_a_signature_is_refused(kind: tuple[Form, int, int]) -> None:
    made = round_of(kind)
    given = made.signed(made.people[0])
    other = made.signed(made.people[1]).public_key
    for wrong in (
        replace(given, public_key=other),
        replace(given, signatures=given.signatures[::-1]),
        replace(given, signatures=given.signatures[:1]),
        replace(given, signatures=(given.signatures[0], b"")),
        replace(given, signatures=(given.signatures[0], b"\x01")),
    ):
        with pytest.raises(Refused) as refused:
            verified(made.judged, wrong)
        assert refused.value.reason is Reason.BAD_SIGNATURE


@EVERY_KIND
def test_signatures_of_another_transaction_are_refused(kind: tuple[Form, int, int]) -> None:
    made, other = round_of(kind), round_of(kind, salt=1)
    who = made.people[0]
    assert made.refusal(other.answer(who)) is Reason.INTENT_MISMATCH
    parts = read_parts(other.answer(who))
    grafted = Parts(made.judged.tx, parts.inputs, parts.outputs)
    assert made.refusal(grafted.serialise()) is Reason.UNPROVEN_AMOUNT
    bare = tuple(
        {key: value for key, value in fields.items() if key[0] not in (IN_PREVIOUS_TX, IN_OUTPUT)}
        for fields in parts.inputs
    )
    grafted = Parts(made.judged.tx, bare, parts.outputs)
    assert made.refusal(grafted.serialise()) is Reason.BAD_SIGNATURE


def test_scopes_that_do_not_cover_everything_are_refused() -> None:
    made = round_of(KINDS[0])
    judged, who = made.judged, made.people[0]
    secret = secret_of(who)
    for scope in (0x00, 0x02, 0x03, 0x81, 0x82, 0x83, 0x41):
        signature = secret.sign(b"\x07" * 32, hasher=None) + bytes((scope,))
        one = Cosigned(secret.public_key.format(), (signature, signature))
        with pytest.raises(Refused) as refused:
            verified(judged, one)
        assert refused.value.reason is Reason.SIGNATURE_SCOPE
    for kind, scopes in ((KINDS[0], (0, 2, 3, 0x81)), (KINDS[2], (2, 3, 0x81, 0x82))):
        other = round_of(kind)
        parts = read_parts(other.answer(who))
        for scope in scopes:
            told = {**parts.inputs[1], (IN_SCOPE, b""): scope.to_bytes(4, "little")}
            changed = replace(parts, inputs=(parts.inputs[0], told))
            assert other.refusal(changed.serialise()) is Reason.SIGNATURE_SCOPE


def test_a_taproot_signature_over_all_counts_like_the_default() -> None:
    made = round_of(KINDS[2])
    secret = secret_of(made.people[0], Form.TAPROOT_SCRIPT)
    signatures = tuple(
        secret.sign_schnorr(made.judged.digest(index, scope=1)) + b"\x01" for index in range(2)
    )
    one = verified(made.judged, Cosigned(secret.public_key.format(), signatures))
    signed = finalise(made.judged, [one, made.signed(made.people[1])])
    check_by_library(made.judged, signed.raw)
    with pytest.raises(Refused):  # the default spelled out is no signature
        verified(made.judged, replace(one, signatures=tuple(s[:64] + b"\0" for s in signatures)))


def test_a_high_s_and_a_loose_encoding_are_refused() -> None:
    made = round_of(KINDS[0])
    given = made.signed(made.people[0], by_btclib)
    first = given.signatures[0]
    size = first[3]
    r, s = first[4 : 4 + size].lstrip(b"\0"), int.from_bytes(first[6 + size : -1], "big")
    high = strict_encoding(r.rjust(32, b"\0") + (CURVE_ORDER - s).to_bytes(32, "big")) + b"\x01"
    long = b"\x30" + bytes((first[1] + 1, 2, size + 1, 0)) + first[4:]
    assert verified(made.judged, given) == given
    for wrong in (high, long, first[:-1] + b"\x00\x01", b"\x30" * 73, bytes(72)):
        with pytest.raises(Refused) as refused:
            verified(made.judged, replace(given, signatures=(wrong, given.signatures[1])))
        assert refused.value.reason is Reason.BAD_SIGNATURE


@EVERY_KIND
def test_one_input_left_unsigned_is_refused(kind: tuple[Form, int, int]) -> None:
    made = round_of(kind)
    parts = read_parts(made.answer(made.people[0]))
    names = (IN_SIGNATURE, IN_LEAF_SIGNATURE)
    bare = {key: value for key, value in parts.inputs[1].items() if key[0] not in names}
    half = replace(parts, inputs=(parts.inputs[0], bare)).serialise()
    assert made.refusal(half) is Reason.BAD_SIGNATURE
    assert made.refusal(made.unsigned.payload) is Reason.QUORUM_NOT_MET


@EVERY_KIND
def test_one_owner_cannot_sign_twice(kind: tuple[Form, int, int]) -> None:
    made = round_of(kind)
    first, again = (made.signed(made.people[0], device) for device in DEVICES)
    if first == again:
        again = replace(again, signatures=again.signatures[::-1])
    with pytest.raises(Refused) as refused:
        finalise(made.judged, [first, again])
    assert refused.value.reason is Reason.ALREADY_APPROVED


@EVERY_KIND
def test_what_is_stored_of_an_owner_is_read_back(kind: tuple[Form, int, int]) -> None:
    made = round_of(kind)
    given = made.signed(made.people[0])
    stored = given.serialise()
    assert read_cosigned(stored) == given
    for wrong in (stored[:-1], stored + b"\0", b""):
        with pytest.raises(Refused):
            read_cosigned(wrong)
