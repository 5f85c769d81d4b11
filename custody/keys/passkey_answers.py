"""A passkey's answer as a browser writes it, and the approval it is.

The page of a console asks navigator.credentials.get with `request_options` and hands in
PublicKeyCredential.toJSON() (W3C Web Authentication level 3, §5.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from core.errors import Reason, Refused
from custody.keys import passkey as passkeys
from custody.keys.passkey import Assertion, Passkey
from custody.keys.roster import Approval, Roster, Verdict

TEXT_MAX = 4 * passkeys.EVIDENCE_MAX


def request_options(held: Sequence[Passkey], message: bytes) -> list[dict[str, Any]]:
    """Return what a browser hands to an officer's passkeys: one page per relying party.

    In the JSON that PublicKeyCredential.parseRequestOptionsFromJSON() takes.
    """
    from webauthn import generate_authentication_options
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor, UserVerificationRequirement

    return [
        options_to_json_dict(
            generate_authentication_options(
                rp_id=rp_id,
                challenge=passkeys.challenge_of(message),
                timeout=passkeys.TIMEOUT_MS,
                allow_credentials=[
                    PublicKeyCredentialDescriptor(id=one.credential_id)
                    for one in held
                    if one.rp_id == rp_id
                ],
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        )
        for rp_id in sorted({one.rp_id for one in held})
    ]


def read_answer(answer: Mapping[str, object]) -> tuple[bytes, Assertion]:
    """Return the credential's id and what it answered. Refused: malformed, too_large."""
    response = answer.get("response")
    if answer.get("type") != "public-key" or not isinstance(response, Mapping):
        raise Refused(Reason.MALFORMED, "not the JSON of a public-key credential")
    if answer.get("id") != answer.get("rawId"):
        raise Refused(Reason.MALFORMED, "id and rawId differ")
    page = cast("Mapping[str, object]", response)
    assertion = Assertion(
        authenticator_data=_bytes(page, "authenticatorData"),
        client_data_json=_bytes(page, "clientDataJSON"),
        signature=_bytes(page, "signature"),
    )
    return _bytes(answer, "id"), assertion


def approval_of(
    answer: Mapping[str, object], verdict: Verdict, *, roster: Roster, now_ns: int
) -> Approval:
    """Return the approval that an answer is; check_approval says whether it counts.

    Refused: malformed, too_large, not_an_officer, bad_signature (a signature of no kind).
    """
    credential_id, assertion = read_answer(answer)
    officer = roster.passkey_holder(credential_id, now_ns)
    signature = passkeys.one_spelling(assertion.signature, officer.public_key)
    return Approval(officer.public_key, verdict, signature, passkeys.evidence_of(assertion))


def _bytes(page: Mapping[str, object], name: str) -> bytes:
    value = page.get(name)
    if not isinstance(value, str):
        raise Refused(Reason.MALFORMED, f"{name} is missing")
    if len(value) > TEXT_MAX:
        raise Refused(Reason.TOO_LARGE, name)
    return passkeys.read_base64url(value)
