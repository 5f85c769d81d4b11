"""An intent has one encoding, and everything in it changes the hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import SpendIntent, SpendKind
from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.intent import (
    SPEND_TAG,
    Intent,
    WithdrawalIntent,
    decode,
    encode,
    explains,
    intent_hash,
    render,
    render_bytes,
)
from tests.unit.custody.keys.officers import SPEND, WITHDRAWAL, spend, withdrawal

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "intents.json").read_text())


def built(vector: dict[str, Any]) -> Intent:
    values: dict[str, Any] = {
        name: int(text) if name in vector["integers"] else text
        for name, text in vector["fields"].items()
    }
    if vector["kind"] == "spend":
        return SpendIntent(**{**values, "kind": SpendKind(values["kind"])})
    return WithdrawalIntent(**values)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_vectors_hold(vector: dict[str, Any]) -> None:
    intent = built(vector)
    assert encode(intent).hex() == vector["encoding"]
    assert intent_hash(intent).hex() == vector["hash"]
    assert decode(bytes.fromhex(vector["encoding"])) == intent
    assert render(intent) == vector["text"]


def test_the_encoding_can_be_written_down_by_hand() -> None:
    def text(value: str) -> bytes:
        return b"s" + len(value).to_bytes(4, "big") + value.encode()

    expected = bytes([len(SPEND_TAG)]) + SPEND_TAG.encode() + b"\x00\x01" + b"\x00\x0a"
    for value in ("sp_1", "withdrawal", "wd_1", "local", "31337:0xabc", "native"):
        expected += text(value)
    expected += text(SPEND.source) + text(SPEND.destination)
    expected += b"i\x00\x00\x00\x08" + bytes.fromhex("14d1120d7b160000")
    expected += b"i\x00\x00\x00\x07" + bytes.fromhex("2386f26fc10000")
    assert encode(SPEND) == expected
    assert intent_hash(SPEND) == hashlib.sha256(expected).digest()


def changed(intent: Intent, name: str) -> Intent:
    value: Any = getattr(intent, name)
    if name == "kind":
        value = SpendKind.SWEEP
    else:
        value = value + 1 if isinstance(value, int) else value + "x"
    changes: dict[str, Any] = {name: value}
    return replace(intent, **changes)


@pytest.mark.parametrize(
    ("intent", "name"),
    [(intent, field.name) for intent in (SPEND, WITHDRAWAL) for field in fields(intent)],
)
def test_a_change_of_any_field_changes_the_hash(intent: Intent, name: str) -> None:
    assert intent_hash(changed(intent, name)) != intent_hash(intent)


def test_a_spend_and_a_withdrawal_never_share_bytes() -> None:
    assert encode(SPEND)[:20] != encode(WITHDRAWAL)[:20]


text_fields = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)
amounts = st.integers(0, (1 << 255) - 1)


@given(text_fields, text_fields, amounts, amounts, st.sampled_from(SpendKind))
def test_decode_is_the_inverse_of_encode(
    one: str, other: str, amount: int, fee: int, kind: SpendKind
) -> None:
    intent = spend(spend_id=one, destination=other, amount=amount, fee_max=fee, kind=kind)
    assert decode(encode(intent)) == intent
    assert render_bytes(encode(intent)) == render(intent)


@pytest.mark.parametrize("intent", [SPEND, WITHDRAWAL])
def test_no_other_bytes_decode(intent: Intent) -> None:
    data = encode(intent)
    for position in range(len(data)):
        with pytest.raises(Refused):
            decode(data[:position])
        for flip in (1, 0x80):
            mutated = bytearray(data)
            mutated[position] ^= flip
            try:
                other = decode(bytes(mutated))
            except Refused:
                continue
            assert other != intent, position
            assert encode(other) == bytes(mutated)
    with pytest.raises(Refused):
        decode(data + b"\0")


def test_an_integer_with_leading_zeros_is_refused() -> None:
    data = encode(SPEND)
    body = SPEND.fee_max.to_bytes(7, "big")
    padded = data[: -len(body) - 4] + b"\x00\x00\x00\x08\x00" + body
    with pytest.raises(Refused) as refused:
        decode(padded)
    assert refused.value.reason is Reason.MALFORMED


def test_another_version_is_named_as_such() -> None:
    data = bytearray(encode(SPEND))
    data[len(SPEND_TAG) + 2] = 2
    with pytest.raises(Refused) as refused:
        decode(bytes(data))
    assert refused.value.reason is Reason.UNKNOWN_VERSION


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"destination": "0xА"}, Reason.MALFORMED),  # a Cyrillic letter that looks Latin
        ({"destination": "a\nb"}, Reason.MALFORMED),
        ({"destination": ""}, Reason.MALFORMED),
        ({"destination": "a" * 257}, Reason.MALFORMED),
        ({"destination": b"a"}, Reason.MALFORMED),
        ({"amount": -1}, Reason.MALFORMED),
        ({"amount": True}, Reason.MALFORMED),
        ({"amount": 1.0}, Reason.MALFORMED),
        ({"amount": 1 << 255}, Reason.AMOUNT_OUT_OF_RANGE),
        ({"kind": "withdrawal"}, Reason.MALFORMED),
    ],
)
def test_what_is_not_plain_is_not_encoded(changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        encode(spend(**changes))
    assert refused.value.reason is reason


def test_lists_are_encoded_with_their_shape() -> None:
    shapes: list[tuple[canonical.Value, ...]] = [
        (("a", "b"),),
        (("ab",),),
        ("a", "b"),
        (("a",), ("b",)),
        ((("a",), "b"),),
        ((),),
        (),
        ("",),
        (0,),
        (b"",),
    ]
    assert len({canonical.encode("t", 1, shape) for shape in shapes}) == len(shapes)
    for shape in shapes:
        assert canonical.decode("t", 1, canonical.encode("t", 1, shape)) == shape


def test_a_spend_that_does_what_was_approved_is_explained() -> None:
    explains(WITHDRAWAL, SPEND)
    explains(WITHDRAWAL, spend(fee_max=1))
    explains(WITHDRAWAL, spend(source="another wallet of ours", spend_id="sp_2"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": SpendKind.SWEEP}, Reason.INTENT_MISMATCH),
        ({"kind": SpendKind.CANCELLATION}, Reason.INTENT_MISMATCH),
        ({"cause_id": "wd_2"}, Reason.INTENT_MISMATCH),
        ({"chain": "other"}, Reason.INTENT_MISMATCH),
        ({"network": "1:0xabc"}, Reason.INTENT_MISMATCH),
        ({"asset_key": "0xToken"}, Reason.INTENT_MISMATCH),
        ({"destination": "0x52908400098527886E0F7030069857D2E4169EE8"}, Reason.INTENT_MISMATCH),
        ({"destination": SPEND.destination.lower()}, Reason.INTENT_MISMATCH),
        ({"amount": SPEND.amount + 1}, Reason.INTENT_MISMATCH),
        ({"amount": SPEND.amount - 1}, Reason.INTENT_MISMATCH),
        ({"fee_max": WITHDRAWAL.network_fee_max + 1}, Reason.FEE_ABOVE_CAP),
    ],
)
def test_a_spend_that_does_anything_else_is_refused(
    changes: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        explains(WITHDRAWAL, spend(**changes))
    assert refused.value.reason is reason


def test_true_is_not_one() -> None:
    with pytest.raises(Refused):
        explains(withdrawal(amount=1), spend(amount=True))
