"""A registration yields exactly the row of the passkey that answered, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import SECOND_NS, ManualClock
from core.entropy import SeededEntropy
from core.errors import Reason, Refused, Unavailable
from custody.keys.passkey_answers import approval_of, request_options
from custody.keys.passkey_registration import (
    OPEN_MAX,
    TTL_S,
    Registrations,
    RelyingParty,
    read_registration,
)
from custody.keys.roster import Verdict, approval_message, check_approval
from custody.keys.roster_text import officer_text, parse_draft
from tests.support.authenticator import (
    BE,
    BS,
    EDDSA,
    ES256,
    ORIGIN,
    RP_ID,
    UP,
    UV,
    SoftAuthenticator,
    to_bytes,
    to_text,
)
from tests.support.rails import PasskeyOf
from tests.unit.custody.keys.officers import NOW_NS, ROSTER, WITHDRAWAL, roster_of

PARTY = RelyingParty(RP_ID, (ORIGIN,))
CHALLENGE = bytes(range(32))


def opened(party: RelyingParty = PARTY) -> Registrations:
    return Registrations(party, ManualClock(), SeededEntropy(1, "registrations"))


def refusal(answer: dict[str, Any], party: RelyingParty = PARTY) -> Reason:
    with pytest.raises(Refused) as refused:
        read_registration(party, "dan", CHALLENGE, answer)
    return refused.value.reason


def options(challenge: bytes = CHALLENGE) -> dict[str, Any]:
    return {"challenge": to_text(challenge), "rp": {"id": RP_ID}}


@pytest.mark.parametrize("attestation", ["none", "packed"])
@pytest.mark.parametrize("algorithm", [ES256, EDDSA])
def test_from_registration_to_a_counted_approval(algorithm: int, attestation: str) -> None:
    """The whole life of a passkey, with nothing but what crosses between browser and platform."""
    device, ceremonies = SoftAuthenticator("dan", algorithm), opened()
    name, asked = ceremonies.begin("dan", ROSTER)
    assert asked["authenticatorSelection"]["userVerification"] == "required"
    assert [one["alg"] for one in asked["pubKeyCredParams"]] == [ES256, EDDSA]
    made = ceremonies.finish(name, "dan", device.create(asked, attestation=attestation))
    assert (made.attestation, made.counter) == (attestation, 1)
    assert made.officer == PasskeyOf("dan", algorithm).row("dan")
    # The operator puts the row into a draft; a quorum signs it; from then on it counts.
    draft = "version = 3\nthreshold = 2\n" + "\n".join(
        officer_text(one) for one in (*ROSTER.officers, made.officer)
    )
    roster = parse_draft(draft.encode(), issued_ns=0)
    assert roster == roster_of(*ROSTER.officers, made.officer)
    assert made.officer.passkey is not None
    (asked,) = request_options(
        [made.officer.passkey], approval_message(WITHDRAWAL, Verdict.APPROVE)
    )
    given_ = approval_of(device.get(asked), Verdict.APPROVE, roster=roster, now_ns=NOW_NS)
    assert check_approval(roster, WITHDRAWAL, given_, now_ns=NOW_NS) == made.officer


def test_a_device_that_is_known_is_named_so_that_it_is_not_registered_twice() -> None:
    roster = roster_of(*ROSTER.officers, PasskeyOf("dan").row("dan"), PasskeyOf("eve").row("eve"))
    _, asked = opened().begin("dan", roster)
    held = [one["id"] for one in asked["excludeCredentials"]]
    assert held == [to_text(PasskeyOf("dan").device.credential_id)]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"flags": UP}, Reason.BAD_ATTESTATION),
        ({"flags": UV}, Reason.BAD_ATTESTATION),
        ({"client": {"origin": "https://thief.example"}}, Reason.BAD_ATTESTATION),
        ({"client": {"type": "webauthn.get"}}, Reason.BAD_ATTESTATION),
        ({"client": {"crossOrigin": True}}, Reason.BAD_ATTESTATION),
        ({"client": {"topOrigin": "https://thief.example"}}, Reason.BAD_ATTESTATION),
        ({"client": {"challenge": to_text(bytes(32))}}, Reason.BAD_ATTESTATION),
        ({"flags": UP | UV | BS}, Reason.BAD_ATTESTATION),
        ({"flags": UP | UV | BE}, Reason.FORBIDDEN),
        ({"flags": UP | UV | BE | BS}, Reason.FORBIDDEN),
    ],
)
def test_a_lie_yields_no_row(lie: dict[str, Any], reason: Reason) -> None:
    device = SoftAuthenticator("dan")
    assert refusal(device.create(options(), **lie)) is reason
    made = read_registration(PARTY, "dan", CHALLENGE, device.create(options()))
    assert made.officer == PasskeyOf("dan").row("dan")


def test_another_relying_partys_passkey_yields_no_row() -> None:
    answer = SoftAuthenticator("dan").create({**options(), "rp": {"id": "thief.example"}})
    assert refusal(answer) is Reason.BAD_ATTESTATION


def test_a_synced_passkey_is_taken_only_where_that_is_set() -> None:
    answer = SoftAuthenticator("dan", synced=True).create(options())
    assert refusal(answer) is Reason.FORBIDDEN
    party = RelyingParty(RP_ID, (ORIGIN,), synced=True)
    made = read_registration(party, "dan", CHALLENGE, answer)
    assert made.officer.passkey is not None
    assert made.officer.passkey.synced is True


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_byte_of_a_packed_answer_yields_no_other_key(data: st.DataObject) -> None:
    """A self-signed statement covers everything: whatever is changed, the key does not change."""
    device = SoftAuthenticator("dan")
    answer = device.create(options(), attestation="packed")
    name = data.draw(st.sampled_from(["attestationObject", "clientDataJSON"]))
    value = bytearray(to_bytes(answer["response"][name]))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    answer["response"][name] = to_text(bytes(value))
    try:
        made = read_registration(PARTY, "dan", CHALLENGE, answer)
    except Refused:
        return
    assert made.officer.public_key == device.public_key


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    answer = SoftAuthenticator("dan").create(options())
    answer["response"]["attestationObject"] = to_text(data)
    assert refusal(answer) in {Reason.BAD_ATTESTATION, Reason.MALFORMED}


@pytest.mark.parametrize(
    "answer",
    [{}, {"response": None}, {"response": {}}, {"response": {"clientDataJSON": 3}},
     {"response": {"clientDataJSON": "e30"}}, {"response": {"clientDataJSON": "A" * 70_000}}],
)  # fmt: skip
def test_what_is_no_answer_is_refused(answer: dict[str, Any]) -> None:
    assert refusal(answer) in {Reason.BAD_ATTESTATION, Reason.MALFORMED}


def test_a_ceremony_ends_once_and_for_the_person_who_began_it() -> None:
    device, ceremonies = SoftAuthenticator("dan"), opened()
    name, asked = ceremonies.begin("dan", ROSTER)
    answer = device.create(asked)
    for wrong in ((name, "eve"), ("00" * 16, "dan")):
        with pytest.raises(Refused) as refused:
            ceremonies.finish(*wrong, answer)
        assert refused.value.reason is Reason.NOT_FOUND
    assert ceremonies.finish(name, "dan", answer).officer.person == "dan"
    with pytest.raises(Refused) as refused:
        ceremonies.finish(name, "dan", answer)
    assert refused.value.reason is Reason.NOT_FOUND


def test_a_ceremony_ends_with_its_time_and_with_a_wrong_answer() -> None:
    device, ceremonies = SoftAuthenticator("dan"), opened()
    assert isinstance(ceremonies.clock, ManualClock)
    name, asked = ceremonies.begin("dan", ROSTER)
    ceremonies.clock.advance(TTL_S * SECOND_NS)
    with pytest.raises(Refused) as refused:
        ceremonies.finish(name, "dan", device.create(asked))
    assert refused.value.reason is Reason.NOT_FOUND
    name, asked = ceremonies.begin("dan", ROSTER)
    with pytest.raises(Refused):
        ceremonies.finish(name, "dan", {})
    with pytest.raises(Refused) as refused:
        ceremonies.finish(name, "dan", device.create(asked))
    assert refused.value.reason is Reason.NOT_FOUND


def test_only_so_many_ceremonies_are_open() -> None:
    ceremonies = opened()
    assert isinstance(ceremonies.clock, ManualClock)
    for _ in range(OPEN_MAX):
        ceremonies.begin("dan", ROSTER)
    with pytest.raises(Unavailable):
        ceremonies.begin("dan", ROSTER)
    ceremonies.clock.advance(TTL_S * SECOND_NS)
    ceremonies.begin("dan", ROSTER)
