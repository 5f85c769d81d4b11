"""What crosses the signer's socket: all comes out as it went in, nothing else comes in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signer_frames import (
    FRAME_BYTES_MAX,
    Attest,
    Entries,
    Learned,
    LearnPolicy,
    Sign,
    Status,
    body_bytes,
    frame,
    read_ask,
    read_told,
)
from app.signer_wire import (
    answers_of,
    asked_of,
    attest_of,
    claim_of,
    error_of_told,
    learn_of,
    learned_of,
    publication_of,
    request_of,
    signed_of,
    standing_of,
    state_of,
    status_of,
    told_of_error,
)
from core.errors import Corrupt, Reason, Refused, StrongroomError, Unavailable
from core.ids import ChainId, CustomerNo
from custody.keys.attestation import AddressClaim
from custody.keys.publication import Publication
from custody.keys.roster import Approval, Verdict
from custody.keys.service import PolicyStanding, SignerStatus
from tests.unit.app.signer.stand_in import request


def body(ask: Any) -> bytes:
    """Return a frame's body, after its length was checked."""
    framed = frame(ask)
    assert body_bytes(framed[:4]) == len(framed) - 4
    return framed[4:]


@pytest.mark.parametrize("by", ["approvals", "a rule", "mandate", "mandate with key"])
def test_a_request_crosses_whole(by: str) -> None:
    asked = request(by=by)
    (crossed,) = read_ask(body(Sign([request_of(asked)]))).requests  # type: ignore[union-attr]
    assert asked_of(crossed) == asked


def test_what_is_signed_whole_crosses_however_long_it_is() -> None:
    asked = request(by="mandate")
    asked = replace(asked, unsigned=replace(asked.unsigned, digest=b"message" * 176))
    (crossed,) = read_ask(body(Sign([request_of(asked)]))).requests  # type: ignore[union-attr]
    assert asked_of(crossed) == asked


def test_a_publication_and_its_answer_cross_whole() -> None:
    said = (
        Approval(b"k" * 33, Verdict.APPROVE, b"s" * 70, b"{}"),
        Approval(b"w" * 20, Verdict.REJECT, b"t" * 65),
    )
    publication = Publication(b"version = 1\n" * 9, ("ada", "ben"), said)
    crossed = read_ask(body(learn_of(publication)))
    assert isinstance(crossed, LearnPolicy)
    assert publication_of(crossed) == publication
    standing = PolicyStanding(7, b"h" * 32, 5, 1 << 62)
    told = read_told(body(learned_of(standing)))
    assert isinstance(told, Learned)
    assert standing_of(told) == standing


@pytest.mark.parametrize("owner", [None, CustomerNo(7)])
def test_a_claim_crosses_whole(owner: CustomerNo | None) -> None:
    claim = AddressClaim(ChainId("alpha"), "net", "0xabc", "deposits", 4, owner)
    crossed = read_ask(body(attest_of(claim)))
    assert isinstance(crossed, Attest)
    assert claim_of(crossed) == claim


def test_answers_cross_in_their_order_with_their_reasons() -> None:
    answers = [b"s" * 65, Refused(Reason.QUORUM_NOT_MET, "1 of 2"), b"t" * 65]
    crossed = answers_of(read_told(body(signed_of(answers))))  # type: ignore[arg-type]
    assert (crossed[0], crossed[2]) == (answers[0], answers[2])
    assert isinstance(crossed[1], Refused)
    assert (crossed[1].reason, crossed[1].detail) == (Reason.QUORUM_NOT_MET, "1 of 2")
    status = SignerStatus((ChainId("alpha"),), 3, b"h" * 32)
    assert status_of(read_told(body(state_of(status)))) == status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [*(Refused(reason, "why") for reason in Reason), Unavailable("away", 77), Corrupt("torn")],
)
def test_every_error_crosses_as_what_it_is(error: StrongroomError) -> None:
    crossed = error_of_told(read_told(body(told_of_error(error))))  # type: ignore[arg-type]
    assert type(crossed) is type(error)
    assert str(crossed) == str(error)


def test_a_reason_that_quotes_half_a_character_crosses_all_the_same() -> None:
    """JSON may name half a pair of UTF-16, which no text that crosses can hold."""
    half = "typed data of type Permit\ud800"
    for error in (Refused(Reason.APPROVAL_CALL, half), Unavailable(half), Corrupt(half)):
        crossed = error_of_told(read_told(body(told_of_error(error))))  # type: ignore[arg-type]
        assert type(crossed) is type(error)
    told = read_told(body(signed_of([b"s" * 65, Refused(Reason.FROZEN, half)])))
    assert answers_of(told)[0] == b"s" * 65  # type: ignore[arg-type]


def refused_by(data: bytes) -> Reason:
    """Return why a body is refused."""
    with pytest.raises(Refused) as caught:
        read_ask(data)
    return caught.value.reason


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    for read in (read_ask, read_told):
        try:
            read(data)
        except Refused as refused:
            assert refused.reason is Reason.MALFORMED  # noqa: PT017


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
    | st.binary(max_size=9) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
)  # fmt: skip


@given(
    st.sampled_from(["sign", "attest", "public_keys", "prove_control", "entries", "status"]),
    st.dictionaries(
        st.sampled_from(["chain", "key", "requests", "after", "limit", "first", "count"]), _TREES
    ),
)
def test_any_tree_under_the_right_names_is_understood_or_refused(
    verb: str, fields: dict[str, object]
) -> None:
    data = msgspec.msgpack.encode({"type": verb, **fields})
    try:
        read_ask(data)
    except Refused as refused:
        assert refused.reason is Reason.MALFORMED  # noqa: PT017


@given(st.data())
def test_a_request_with_one_byte_changed_is_refused_or_another_whole_request(
    data: st.DataObject,
) -> None:
    whole = bytearray(body(Sign([request_of(request())])))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        crossed = read_ask(bytes(whole))
        assert isinstance(crossed, Sign)
        for one in crossed.requests:
            asked_of(one)
    except Refused as refused:
        assert refused.reason in (  # noqa: PT017
            Reason.MALFORMED, Reason.UNKNOWN_KEY, Reason.UNKNOWN_VERSION,
            Reason.AMOUNT_OUT_OF_RANGE, Reason.TOO_LARGE,
        )  # fmt: skip


def test_every_cut_of_a_request_is_refused() -> None:
    whole = body(Sign([request_of(request())]))
    assert all(refused_by(whole[:end]) is Reason.MALFORMED for end in range(len(whole)))
    assert refused_by(whole + b"\0") is Reason.MALFORMED


def test_deep_nesting_long_lists_unknown_names_and_other_types_are_refused() -> None:
    encode = msgspec.msgpack.encode
    for data in (
        b"\x91" * 100_000,
        b"\x81\xa1a" * 100_000,
        encode({"type": "status", "more": 1}),
        encode({"type": "entries", "after": 0, "limit": 1, "deep": [[[[[[]]]]]]}),
        encode({"type": "nothing"}),
        encode({"type": "sign", "requests": []}),
        encode({"type": "sign", "requests": [1] * 257}),
        encode({"type": "entries", "after": "0", "limit": 1}),
        encode({"type": "entries", "after": 0.0, "limit": 1}),
        encode({"type": "entries", "after": True, "limit": 1}),
        encode({"type": "entries", "after": -1, "limit": 1}),
        encode({"type": "entries", "after": 1 << 63, "limit": 1}),
        encode({"type": "account_xpub", "chain": "c" * 513, "account": "hot"}),
        encode({"type": "account_xpub", "chain": b"alpha", "account": "hot"}),
        encode([1, 2]),
        b"",
    ):
        assert refused_by(data) is Reason.MALFORMED


@pytest.mark.parametrize("amount", ["-1", "+1", "01", "1_0", "1e3", "", " 1", "١", "1\n", "9" * 79])
def test_an_amount_is_canonical_decimal_digits(amount: str) -> None:
    whole = msgspec.msgpack.decode(body(Sign([request_of(request())])))
    whole["requests"][0]["unsigned"]["fee_max"] = amount
    assert refused_by(msgspec.msgpack.encode(whole)) is Reason.MALFORMED


def test_a_frame_is_never_longer_than_it_may_be() -> None:
    with pytest.raises(Refused, match="too_large"):
        body_bytes((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(Refused, match="too_large"):
        body_bytes(b"\xff" * 4)
    assert body_bytes(FRAME_BYTES_MAX.to_bytes(4, "big")) == FRAME_BYTES_MAX
    many = Sign([request_of(request())] * 20_000)
    with pytest.raises(Refused, match="too_large"):
        frame(many)
    with pytest.raises(Refused, match="malformed"):
        frame(Entries(1 << 64, 1))
    assert read_ask(body(Status())) == Status()
