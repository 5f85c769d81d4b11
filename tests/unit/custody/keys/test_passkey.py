"""What a passkey's assertion must say, and that a second verifier agrees where it looks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from webauthn import verify_authentication_response
from webauthn.helpers import encode_cbor
from webauthn.helpers.exceptions import WebAuthnException

from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys import passkey as passkeys
from custody.keys.passkey import Assertion, check_assertion, evidence_of, read_evidence
from custody.keys.passkey_answers import approval_of, read_answer, request_options
from custody.keys.roster import Verdict, approval_message, check_approval
from tests.support.authenticator import (
    AT,
    BE,
    BS,
    ED,
    ES256,
    ORIGIN,
    RP_ID,
    UP,
    UV,
    SoftAuthenticator,
    to_bytes,
    to_text,
)
from tests.support.rails import PasskeyOf, kept
from tests.unit.custody.keys.officers import NOW_NS, ROSTER, WITHDRAWAL, roster_of

MESSAGE = approval_message(WITHDRAWAL, Verdict.APPROVE)
RAIL = PasskeyOf("dan")
ROW = RAIL.row("dan")
KEY = ROW.public_key


def judged(answer: dict[str, Any], *, row: Any = ROW, message: bytes = MESSAGE) -> str:
    """Return why an answer does not count, empty when it does."""
    signature, evidence = kept(answer, row.public_key)
    try:
        check_assertion(row.passkey, row.public_key, message, signature, evidence)
    except Refused as refused:
        return refused.detail if refused.reason is Reason.BAD_SIGNATURE else refused.reason.value
    return ""


def agrees(answer: dict[str, Any], device: SoftAuthenticator) -> bool:
    """Return whether py webauthn takes an answer."""
    try:
        verify_authentication_response(
            credential=answer,
            expected_challenge=passkeys.challenge_of(MESSAGE),
            expected_rp_id=RP_ID,
            expected_origin=ORIGIN,
            credential_public_key=device._cose(),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, AttributeError, TypeError):
        return False  # it stumbles over some lies: it refuses them without knowing
    return True


def options() -> dict[str, Any]:
    """Return what the page asks for."""
    assert ROW.passkey is not None
    (found,) = request_options([ROW.passkey], MESSAGE)
    return found


def test_the_page_asks_for_a_verified_user_and_for_known_keys_only() -> None:
    assert options() == {
        "challenge": to_text(passkeys.challenge_of(MESSAGE)),
        "timeout": 300_000,
        "rpId": RP_ID,
        "allowCredentials": [{"id": to_text(RAIL.device.credential_id), "type": "public-key"}],
        "userVerification": "required",
    }


@pytest.mark.parametrize("algorithm", [ES256, -8])
@pytest.mark.parametrize("high_s", [False, True])
def test_an_honest_answer_counts_with_either_s(algorithm: int, high_s: bool) -> None:
    rail = PasskeyOf("dan", algorithm)
    answer = rail.device.get(options(), high_s=high_s)
    assert judged(answer, row=rail.row("dan")) == ""
    assert agrees(answer, rail.device)
    roster = roster_of(*ROSTER.officers, rail.row("dan"))
    given = approval_of(answer, Verdict.APPROVE, roster=roster, now_ns=NOW_NS)
    assert len(given.signature) == 64
    assert check_approval(roster, WITHDRAWAL, given, now_ns=NOW_NS).person == "dan"


LIES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("nobody verified", {"flags": UP}, "did not verify its user", False),
    ("nobody present", {"flags": UV}, "nobody was present", False),
    ("other relying party", {"rp_id": "thief.example"}, "another relying party", False),
    ("other origin", {"client": {"origin": "https://thief.example"}}, "another origin", False),
    ("origin with a slash", {"client": {"origin": ORIGIN + "/"}}, "another origin", False),
    ("no origin", {"client": {"origin": ""}}, "another origin", False),
    ("registration", {"client": {"type": "webauthn.create"}}, "not of webauthn.get", False),
    ("payment", {"client": {"type": "payment.get"}}, "not of webauthn.get", False),
    ("other challenge", {"client": {"challenge": to_text(bytes(32))}}, "challenge", False),
    ("no challenge", {"client": {"challenge": ""}}, "challenge", False),
    ("challenge no text", {"client": {"challenge": 3}}, "challenge", False),
    # What a second verifier, which knows less of us, lets pass:
    ("cross-origin", {"client": {"crossOrigin": True}}, "inside a page", True),
    ("cross-origin null", {"client": {"crossOrigin": None}}, "inside a page", True),
    ("cross-origin zero", {"client": {"crossOrigin": 0}}, "inside a page", True),
    ("top origin", {"client": {"topOrigin": "https://a.example"}}, "inside a page", True),
    ("may be copied", {"flags": UP | UV | BE}, "may be copied", True),
    ("was copied", {"flags": UP | UV | BE | BS}, "may be copied", True),
    ("copied, not eligible", {"flags": UP | UV | BS}, "copied that may not", False),
]


@pytest.mark.parametrize(("lie", "detail", "passes"), [one[1:] for one in LIES],
                         ids=[one[0] for one in LIES])  # fmt: skip
def test_a_lie_is_refused_although_the_signature_is_good(
    lie: dict[str, Any], detail: str, passes: bool
) -> None:
    device = RAIL.device
    answer = device.get(options(), **lie)
    assert detail in judged(answer) != ""
    assert agrees(answer, device) is passes


def test_what_a_browser_may_add_changes_nothing() -> None:
    more = {"other_keys_can_be_added_here": "do not compare", "crossOrigin": ""}
    assert judged(RAIL.device.get(options(), client=more)) == ""


def test_a_synced_passkey_counts_where_the_roster_says_so() -> None:
    synced = PasskeyOf("dan", synced=True)
    answer = synced.device.get(options())
    assert judged(answer, row=synced.row("dan")) == ""
    assert judged(answer) != ""
    lost_it = RAIL.device.get(options(), flags=UP | UV)
    assert judged(lost_it, row=synced.row("dan")) != ""


@pytest.mark.parametrize(
    "text",
    [
        b'\xef\xbb\xbf{"type":"webauthn.get","challenge":"%s","origin":"%s"}',
        b'{"type":"webauthn.get","challenge":"%s","origin":"%s"} {}',
        b'{"type":"webauthn.get","challenge":"%s","origin":"%s","type":"webauthn.get"}',
        b'{"type":"webauthn.get","challenge":"%s","origin":"%s","x":{"a":1,"a":1}}',
        b'{"type":"webauthn.get","challenge":"%s","origin":"%s","x":NaN}',
        b'{"type":"webauthn.get","challenge":"%s=","origin":"%s"}',
        b'{"type":"webauthn.get","challenge":" %s","origin":"%s"}',
        b'[{"type":"webauthn.get","challenge":"%s","origin":"%s"}]',
        b'{"type":"webauthn.get","challenge":"%s","origin":["%s"]}',
        b'{"type":["webauthn.get"],"challenge":"%s","origin":"%s"}',
        b'{"type":"webauthn.get","challenge":"%s","origin":"%s","x":"\xff"}',
        b'{"type":"webauthn.get","challenge":"%s","origin":"%s","x":' + b"[" * 1_500 + b"}",
    ],
)
def test_client_data_that_is_not_strict_json_is_refused(text: bytes) -> None:
    signed = text % (to_text(passkeys.challenge_of(MESSAGE)).encode(), ORIGIN.encode())
    assert _signs(signed) != ""
    plain = b'{"type":"webauthn.get","challenge":"%s","origin":"%s"}'
    assert _signs(plain % (to_text(passkeys.challenge_of(MESSAGE)).encode(), ORIGIN.encode())) == ""


def _signs(client_data: bytes, data: bytes = b"") -> str:
    """Return how an answer over any bytes, really signed, is judged."""
    honest = read_evidence(kept(RAIL.device.get(options()), KEY)[1])[0]
    data = data or honest
    made = RAIL.device.sign(data + hashlib.sha256(client_data).digest())
    signature = passkeys.one_spelling(made, KEY)
    try:
        evidence = evidence_of(Assertion(data, client_data, made))
        assert ROW.passkey is not None
        check_assertion(ROW.passkey, KEY, MESSAGE, signature, evidence)
    except Refused as refused:
        return refused.detail
    return ""


def test_authenticator_data_has_nothing_more_and_nothing_less() -> None:
    data, client = read_evidence(kept(RAIL.device.get(options()), KEY)[1])
    assert _signs(client, data) == ""
    extension = encode_cbor({"credProtect": 3})
    marked = data[:32] + bytes([data[32] | ED]) + data[33:]
    for other in (
        data[:-1],
        data + b"\x00",
        data + extension,
        marked + extension,
        marked,
        data[:32] + bytes([data[32] | AT]) + data[33:],
    ):
        assert _signs(client, other) != ""


def test_evidence_has_one_spelling_and_a_size() -> None:
    signature, evidence = kept(RAIL.device.get(options()), KEY)
    data, client = read_evidence(evidence)
    assert ROW.passkey is not None
    for other in (
        canonical.encode(passkeys.EVIDENCE_TAG, 1, (data, client, b"")),
        canonical.encode(passkeys.EVIDENCE_TAG, 1, (data, client.decode())),
        canonical.encode(passkeys.EVIDENCE_TAG, 2, (data, client)),
        canonical.encode("strongroom/approval", 1, (data, client)),
        evidence + b"\x00",
        b"",
        bytes(1 << 20),
    ):
        with pytest.raises(Refused) as refused:
            check_assertion(ROW.passkey, KEY, MESSAGE, signature, other)
        assert refused.value.reason is Reason.BAD_SIGNATURE
    check_assertion(ROW.passkey, KEY, MESSAGE, signature, evidence)
    with pytest.raises(Refused) as refused:
        evidence_of(Assertion(data, bytes(4_000), signature))
    assert refused.value.reason is Reason.TOO_LARGE
    assert "at most 2048" in _signs(b'{"x":"' + bytes(b"y" * 2_048) + b'"}')


def changed(answer: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """Return an answer in which names of it or of its response are others."""
    page = json.loads(json.dumps(answer))
    for name, value in changes.items():
        (page["response"] if name in page["response"] else page)[name] = value
    return {name: value for name, value in page.items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "password"},
        {"id": "AAAA"},
        {"id": 3},
        {"response": None},
        {"clientDataJSON": 3},
        {"clientDataJSON": "Ā"},
        {"clientDataJSON": "e30="},
        {"clientDataJSON": "e3+0"},
        {"authenticatorData": "e31"},
        {"signature": None},
        {"signature": "A" * 20_000},
    ],
)
def test_an_answer_that_is_not_plain_is_refused(changes: dict[str, object]) -> None:
    honest = RAIL.device.get(options())
    with pytest.raises(Refused) as refused:
        read_answer(changed(honest, changes))
    assert refused.value.reason in {Reason.MALFORMED, Reason.TOO_LARGE}
    assert read_answer(honest)[0] == RAIL.device.credential_id


def test_an_answer_of_a_passkey_that_nobody_listed_or_of_a_former_officer_is_refused() -> None:
    answer = RAIL.device.get(options())
    past = replace(ROW, active_until_ns=NOW_NS)
    for roster in (ROSTER, roster_of(*ROSTER.officers, past)):
        with pytest.raises(Refused) as refused:
            approval_of(answer, Verdict.APPROVE, roster=roster, now_ns=NOW_NS)
        assert refused.value.reason is Reason.NOT_AN_OFFICER


def test_a_signature_that_is_no_der_is_refused() -> None:
    roster = roster_of(*ROSTER.officers, ROW)
    answer = RAIL.device.get(options())
    der = to_bytes(answer["response"]["signature"])
    for other in (b"", bytes(64), der + b"\x00", der[:-1], b"0" + der):
        with pytest.raises(Refused) as refused:
            approval_of(
                changed(answer, {"signature": to_text(other)}),
                Verdict.APPROVE, roster=roster, now_ns=NOW_NS,
            )  # fmt: skip
        assert refused.value.reason is Reason.BAD_SIGNATURE
