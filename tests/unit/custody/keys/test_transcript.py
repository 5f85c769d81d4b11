"""The transcript: no byte of it can change, and it has one spelling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import Reason, Refused
from custody.keys.transcript import (
    SignedTranscript,
    Transcript,
    body_lines,
    parse,
    render,
    sign_transcript,
    verify,
)
from tests.unit.custody.keys.people import (
    ADA,
    BEN,
    NETWORKS,
    ORDER,
    People,
    ceremony,
)

SIGNED = ceremony(People(), order=replace(ORDER, networks=NETWORKS[:1])).hold().transcript
DATA = render(SIGNED)
KEYS = [key.public_key().public_bytes_raw() for key in (ADA, BEN)]


def refusal(data: bytes, trusted: list[bytes] | None = None) -> Reason:
    with pytest.raises(Refused) as caught:
        verify(data, trusted=trusted or ())
    return caught.value.reason


def test_a_transcript_is_read_as_it_was_written() -> None:
    assert verify(DATA) == parse(DATA) == SIGNED
    assert verify(DATA, trusted=KEYS) == SIGNED
    assert render(verify(DATA)) == DATA


def test_every_byte_of_a_transcript_counts() -> None:
    reasons = set()
    for place in range(len(DATA)):
        for change in (0x01, 0x20, 0x80):
            mutated = bytes([DATA[place] ^ change])
            reasons.add(refusal(DATA[:place] + mutated + DATA[place + 1 :]))
    assert reasons == {Reason.MALFORMED, Reason.BAD_SIGNATURE, Reason.UNKNOWN_VERSION}


def test_nothing_can_be_cut_off_added_or_doubled() -> None:
    for length in range(len(DATA)):
        refusal(DATA[:length])
    lines = DATA.splitlines(keepends=True)
    for place in range(len(lines)):
        refusal(b"".join(lines[:place] + lines[place + 1 :]))
        refusal(b"".join(lines[: place + 1] + lines[place:]))
    for extra in (b"\n", b" ", b"\r\n", b"note: x\n"):
        refusal(DATA + extra)
        refusal(extra + DATA)
    refusal(DATA.replace(b"\n", b"\r\n"))


def test_signatures_belong_to_their_role_and_transcript() -> None:
    one, two = SIGNED.signatures
    swapped = SignedTranscript(SIGNED.transcript, (two, one))
    assert refusal(render(swapped)) is Reason.BAD_SIGNATURE
    twice = SignedTranscript(SIGNED.transcript, (one, one))
    assert refusal(render(twice)) is Reason.QUORUM_NOT_MET
    other = replace(SIGNED.transcript, ceremony="test-2")
    assert refusal(render(SignedTranscript(other, SIGNED.signatures))) is Reason.BAD_SIGNATURE


def test_a_transcript_signed_by_strangers_is_refused_when_officers_are_named() -> None:
    assert refusal(DATA, KEYS[:1]) is Reason.NOT_AN_OFFICER
    assert refusal(DATA, [bytes(32)]) is Reason.NOT_AN_OFFICER


def test_one_person_does_not_sign_for_two() -> None:
    alone = replace(SIGNED.transcript, witness="ada")
    for transcript, keys in ((alone, (ADA, BEN)), (SIGNED.transcript, (ADA, ADA))):
        with pytest.raises(Refused) as caught:
            sign_transcript(transcript, *keys)
        assert caught.value.reason is Reason.QUORUM_NOT_MET


@pytest.mark.parametrize(
    "change",
    [
        {"ceremony": "a b"},
        {"entropy": "two\nlines"},
        {"home": ""},
        {"home": " padded "},
        {"machine": "x" * 257},
        {"tool": "umlaut ü"},
        {"began_s": 2_000_000_000},
    ],
)
def test_what_cannot_be_one_line_is_not_written(change: dict[str, object]) -> None:
    body: Transcript = replace(SIGNED.transcript, **change)  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        sign_transcript(body, ADA, BEN)
    assert caught.value.reason is Reason.MALFORMED


def test_the_lines_are_for_people() -> None:
    lines = body_lines(SIGNED.transcript)
    assert lines[0] == "strongroom key ceremony transcript, version 1"
    assert "began: 2026-09-21 14:13:20 UTC" in lines
    assert "shares: SLIP-39 3 of 5, extendable, iteration exponent 0, without a passphrase" in lines
    assert all(line.isascii() and line.isprintable() and len(line) < 330 for line in lines)


def test_another_version_says_so() -> None:
    assert refusal(DATA.replace(b"version 1", b"version 2", 1)) is Reason.UNKNOWN_VERSION
