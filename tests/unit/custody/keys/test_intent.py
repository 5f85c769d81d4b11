"""An intent has one encoding, and everything in it changes the hash."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.base import SpendItem, SpendKind
from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.intent import (
    SPEND_TAG,
    Intent,
    decode,
    encode,
    explains,
    intent_hash,
    render,
    render_bytes,
)
from custody.keys.intent_forms import read_any, to_json
from tests.unit.custody.keys.officers import SPEND, WITHDRAWAL, spend, withdrawal

texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)
amounts = st.integers(0, (1 << 255) - 1)
VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "intents.json").read_text())


def by_hand(page: dict[str, Any]) -> bytes:
    """Encode the JSON form of an intent after docs/intents.md, sharing nothing with the product."""
    numbers = {
        "customer_no", "amount", "fee_minor", "network_fee_max", "fee_max", "policy_version",
        "expires_ns", "not_before_ns",
    }  # fmt: skip

    def field(name: str, value: Any) -> bytes:
        if name == "items":
            rows = [list_of([field(n, row[n]) for n in ("cause_id", "destination", "amount")])
                    for row in value]  # fmt: skip
            return list_of(rows)
        if name in numbers:
            digits = f"{int(value):x}"
            body = bytes.fromhex(
                "" if digits == "0" else digits.zfill(len(digits) + len(digits) % 2)
            )
            return b"i" + struct.pack(">I", len(body)) + body
        if isinstance(value, list):
            return list_of([field("person", one) for one in value])
        return b"s" + struct.pack(">I", len(value)) + str(value).encode("ascii")

    def list_of(parts: list[bytes]) -> bytes:
        body = b"".join(parts)
        return b"l" + struct.pack(">I", len(body)) + body

    tag, fields_ = str(page["type"]), [name for name in page if name not in ("type", "version")]
    head = (chr(len(tag)) + tag).encode("ascii")
    head += struct.pack(">HH", int(page["version"]), len(fields_))
    return head + b"".join(field(name, page[name]) for name in fields_)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_vectors_hold(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["encoding"])
    assert by_hand(vector["json"]) == data
    assert hashlib.sha256(data).hexdigest() == vector["hash"]
    intent = decode(data)
    assert (encode(intent), intent_hash(intent).hex()) == (data, vector["hash"])
    assert to_json(intent) == vector["json"]
    assert render(intent) == render_bytes(data) == vector["text"]
    for form in (data, vector["encoding"].encode(), json.dumps(vector["json"]).encode()):
        assert read_any(form) == data


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_the_published_wrong_spellings_are_refused(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["encoding"])
    for reading in (decode, render_bytes):
        with pytest.raises(Refused) as refused:
            reading(data)
        assert refused.value.reason.value == vector["reason"]


def test_the_vectors_have_every_kind_and_no_two_of_one_hash() -> None:
    hashes = {vector["hash"] for vector in VECTORS["vectors"]}
    assert len(hashes) == len(VECTORS["vectors"])
    kinds = {vector["json"].get("kind", "a withdrawal") for vector in VECTORS["vectors"]}
    assert kinds == {"a withdrawal", *(kind.value for kind in SpendKind)}


SINGLE = sorted(kind for kind in SpendKind if kind is not SpendKind.BATCH)
BATCH = spend(
    kind=SpendKind.BATCH,
    destination=SPEND.source,
    amount=7,
    items=(SpendItem("wd_1", "0xA", 3), SpendItem("wd_2", "0xB", 4)),
)


def test_the_independent_encoder_agrees_on_any_intent() -> None:
    @given(texts, texts, amounts, amounts, st.sampled_from(SINGLE))
    def agree(one: str, other: str, amount: int, fee: int, kind: SpendKind) -> None:
        for intent in (
            spend(spend_id=one, destination=other, amount=amount, fee_max=fee, kind=kind),
            replace(BATCH, items=(*BATCH.items, SpendItem(one, other, amount))),
            withdrawal(withdrawal_id=one, initiator=other, amount=amount, fee_minor=fee),
        ):
            assert by_hand(to_json(intent)) == encode(intent)

    agree()


GOOD_JSON = VECTORS["vectors"][0]["json"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": 15}, Reason.MALFORMED),
        ({"amount": "015"}, Reason.MALFORMED),
        ({"amount": "1e18"}, Reason.MALFORMED),
        ({"amount": "1_5"}, Reason.MALFORMED),
        ({"amount": " 15"}, Reason.MALFORMED),
        ({"amount": "-1"}, Reason.MALFORMED),
        ({"amount": str(1 << 255)}, Reason.AMOUNT_OUT_OF_RANGE),
        ({"kind": "gift"}, Reason.MALFORMED),
        ({"destination": "0x\u0410"}, Reason.MALFORMED),
        ({"note": "please"}, Reason.MALFORMED),
        ({"version": "2"}, Reason.MALFORMED),
        ({"version": "3"}, Reason.UNKNOWN_VERSION),
        ({"items": []}, Reason.MALFORMED),
        ({"type": "strongroom/approval"}, Reason.UNKNOWN_VERSION),
    ],
)
def test_the_json_form_has_one_spelling_of_every_value(
    changes: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        read_any(json.dumps({**GOOD_JSON, **changes}).encode())
    assert refused.value.reason is reason
    with pytest.raises(Refused):
        read_any(json.dumps({k: v for k, v in GOOD_JSON.items() if k != "amount"}).encode())
    twice = json.dumps(GOOD_JSON)[:-1] + ', "amount": "1"}'
    with pytest.raises(Refused):
        read_any(twice.encode())


def changed(intent: Intent, name: str) -> Intent:
    value: Any = getattr(intent, name)
    if name == "kind":
        value = SpendKind.SWEEP
    else:
        value = value + (1 if isinstance(value, int) else ("x",) if name == "excluded" else "x")
        value = "f" + value[1:64] if name.endswith("_hash") else value
    changes: dict[str, Any] = {name: value}
    return replace(intent, **changes)


@pytest.mark.parametrize(
    ("intent", "name"),
    [
        (intent, field.name)
        for intent in (SPEND, WITHDRAWAL)
        for field in fields(intent)
        if field.name != "items"
    ],
)
def test_a_change_of_any_field_changes_the_hash(intent: Intent, name: str) -> None:
    assert intent_hash(changed(intent, name)) != intent_hash(intent)


def test_a_change_of_any_item_changes_the_hash() -> None:
    one, other = BATCH.items
    variants = [
        BATCH.items,
        (other, one),
        (one,),
        (one, one),
        (one, other, other),
        (one, replace(other, cause_id="wd_3")),
        (one, replace(other, destination="0xC")),
        (one, replace(other, amount=5)),
    ]
    assert len({intent_hash(replace(BATCH, items=items)) for items in variants}) == len(variants)


@pytest.mark.parametrize(
    "changes",
    [
        {"items": ()},
        {"kind": SpendKind.WITHDRAWAL},
        {"items": BATCH.items * 33},
        {"items": list(BATCH.items)},
        {"items": (("wd_1", "0xA", 3),)},
        {"items": (SpendItem("", "0xA", 3),)},
        {"items": (SpendItem("wd_1", "0xА", 3),)},
        {"items": (SpendItem("wd_1", "0xA", -1),)},
    ],
)
def test_a_batch_has_items_and_nothing_else_has(changes: dict[str, Any]) -> None:
    assert decode(encode(BATCH)) == BATCH
    with pytest.raises(Refused) as refused:
        encode(replace(BATCH, **changes))
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "items",
    [
        None,
        [],
        {},
        ["wd_1"],
        [{"cause_id": "wd_1", "destination": "0xA"}],
        [{"cause_id": "wd_1", "destination": "0xA", "amount": 3}],
        [{"cause_id": "wd_1", "destination": "0xA", "amount": "03"}],
        [{"cause_id": "wd_1", "destination": "0xA", "amount": "3"}] * 65,
    ],
)
def test_the_items_of_a_batch_have_one_json_spelling(items: object) -> None:
    page = to_json(BATCH)
    assert read_any(json.dumps(page).encode()) == encode(BATCH)
    with pytest.raises(Refused) as refused:
        read_any(json.dumps({**page, "items": items}).encode())
    assert refused.value.reason is Reason.MALFORMED


def test_a_spend_and_a_withdrawal_never_share_bytes() -> None:
    assert encode(SPEND)[:20] != encode(WITHDRAWAL)[:20]


@given(texts, texts, amounts, amounts, st.sampled_from(SINGLE))
def test_decode_is_the_inverse_of_encode(
    one: str, other: str, amount: int, fee: int, kind: SpendKind
) -> None:
    intent = spend(spend_id=one, destination=other, amount=amount, fee_max=fee, kind=kind)
    batch = replace(BATCH, items=(SpendItem(one, other, amount), *BATCH.items))
    for any_ in (intent, batch):
        assert decode(encode(any_)) == any_
        assert render_bytes(encode(any_)) == render(any_)


@pytest.mark.parametrize("intent", [SPEND, WITHDRAWAL, BATCH])
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
    data[len(SPEND_TAG) + 2] = 3
    with pytest.raises(Refused) as refused:
        decode(bytes(data))
    assert refused.value.reason is Reason.UNKNOWN_VERSION


@pytest.mark.parametrize("persons", ["ada", ["ada", 1], ["ben", "ada"], {"ada": "ada"}, [["ada"]]])
def test_the_json_form_lists_persons_as_strings(persons: Any) -> None:
    good = to_json(WITHDRAWAL)
    assert read_any(json.dumps(good).encode()) == encode(WITHDRAWAL)
    with pytest.raises(Refused) as refused:
        read_any(json.dumps({**good, "excluded": persons}).encode())
    assert refused.value.reason is Reason.MALFORMED


def test_times_and_persons_are_shown_to_be_read() -> None:
    text = render(withdrawal(excluded=("ada", "ben"), not_before_ns=1_700_000_000 * 10**9))
    assert "  not_before_ns: 1700000000000000000 (2023-11-14 22:13:20 UTC)\n" in text
    assert "  excluded: 2\n    - ada\n    - ben\n" in text
    text = render(withdrawal(excluded=(), not_before_ns=0))
    assert "  not_before_ns: 0 (at once)\n" in text
    assert "  excluded: nobody\n" in text


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
