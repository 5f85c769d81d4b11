"""Payloads on their way to owners and back: base64, and numbered texts for QR codes."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chains.bitcoin.psbt_text import (
    PART_BYTES,
    QR_BYTES_MAX,
    READS_MAX,
    Reading,
    from_base64,
    from_parts,
    to_base64,
    to_parts,
)
from core.errors import Reason, Refused

PAYLOAD = random.Random(1).randbytes(3 * PART_BYTES + 17)
ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def reason_of(texts: list[str]) -> Reason:
    """Return why texts are refused."""
    with pytest.raises(Refused) as refused:
        from_parts(texts)
    return refused.value.reason


@given(st.binary(min_size=1, max_size=5_000), st.randoms(use_true_random=False))
def test_parts_are_joined_in_any_order_and_as_often_as_they_are_read(
    payload: bytes, rng: random.Random
) -> None:
    parts = to_parts(payload)
    read = parts * 2
    rng.shuffle(read)
    assert from_parts(read) == payload
    assert all(len(part) < 700 and set(part) <= ALPHANUMERIC for part in parts)


def test_a_reader_says_which_parts_are_missing() -> None:
    parts = to_parts(PAYLOAD)
    reading = Reading()
    missing = [reading.missing]
    reading.add(parts[2])
    missing.append(reading.missing)
    assert missing == [(1,), (1, 2, 4)]
    with pytest.raises(Refused) as refused:
        reading.whole()
    assert (refused.value.reason, refused.value.detail[-7:]) == (Reason.MISSING_FIELD, "1, 2, 4")


def test_every_misread_character_of_a_part_is_noticed() -> None:
    parts = to_parts(PAYLOAD)
    assert from_parts(parts) == PAYLOAD
    for at in range(len(parts[1])):
        other = "Q" if parts[1][at] != "Q" else "R"
        changed = parts[1][:at] + other + parts[1][at + 1 :]
        assert reason_of([parts[0], changed, *parts[2:]]) is Reason.MALFORMED


def test_parts_of_two_payloads_are_not_joined() -> None:
    ours, other = to_parts(PAYLOAD), to_parts(PAYLOAD[:-1] + b"\x00")
    assert reason_of([*ours[:3], other[3]]) is Reason.MALFORMED
    assert reason_of([*ours, other[0]]) is Reason.MALFORMED


def test_parts_are_bounded_in_size_and_number() -> None:
    assert from_parts(to_parts(bytes(QR_BYTES_MAX))) == bytes(QR_BYTES_MAX)
    with pytest.raises(Refused) as refused:
        to_parts(bytes(QR_BYTES_MAX + 1))
    assert refused.value.reason is Reason.TOO_LARGE
    parts = to_parts(PAYLOAD)
    assert reason_of([parts[0]] * (READS_MAX + 1)) is Reason.TOO_LARGE
    assert reason_of([parts[0] + "A" * 10_000]) is Reason.MALFORMED
    assert reason_of([]) is Reason.MISSING_FIELD
    with pytest.raises(Refused):
        to_parts(b"")


def test_base64_has_one_spelling() -> None:
    text = to_base64(PAYLOAD)
    assert from_base64(f" {text}\n") == PAYLOAD
    for wrong in (text[:-4] + "!!!!", text[:40] + "\n" + text[40:], text + "a", "é"):
        with pytest.raises(Refused) as refused:
            from_base64(wrong)
        assert refused.value.reason is Reason.MALFORMED
    loose = base64.b64encode(b"a").decode().replace("YQ==", "YR==")
    with pytest.raises(Refused):
        from_base64(loose)
