"""A passkey's signature over a message, checked from stored evidence alone, as often as wanted.

    challenge  SHA-256 of canonical message strongroom/passkey-challenge, version 1: message b
    evidence   canonical message strongroom/passkey-evidence, version 1:
               authenticatorData b · clientDataJSON b
    signature  r (32 bytes) · s (32 bytes) with the lower s for ES256; 64 bytes for Ed25519

What counts (W3C Web Authentication level 3, §7.2 "Verifying an authentication assertion"): type
webauthn.get, exactly this challenge, an origin of the roster's row, the row's relying party, the
user present and verified, no frame of another origin, the algorithm of the row's key, no extension
data, and a key that may be copied to other devices only when the row says so.

The signature counter is evidence and judges nothing: a challenge is made of one message, so an old
assertion is good for nothing new, one assertion is verified many times and in any order, and
passkeys that are kept on several devices always say zero.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.edwards import check_signature

CHALLENGE_TAG = "strongroom/passkey-challenge"
EVIDENCE_TAG = "strongroom/passkey-evidence"
VERSION = 1
CLIENT_DATA_MAX = 2_048
EVIDENCE_MAX = 3_072
CREDENTIAL_ID_MAX = 1_023
TIMEOUT_MS = 300_000
"""How long the browser waits for the officer, who reads before he touches his key."""
ORIGINS_MAX = 8
ES256_KEY_BYTES = 33
EDWARDS_KEY_BYTES = 32
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ASSERTION_BYTES = 37
"""rpIdHash 32 · flags 1 · signCount 4; more would be extension data, which nobody asks for."""
USER_PRESENT, USER_VERIFIED = 0x01, 0x04
BACKUP_ELIGIBLE, BACKED_UP = 0x08, 0x10
ATTESTED_DATA, EXTENSION_DATA = 0x40, 0x80
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]{1,253})(:[1-9][0-9]{0,4})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Passkey:
    """What the roster pins of a passkey besides its public key."""

    credential_id: bytes
    rp_id: str
    """Relying party: the domain whose passkey it is."""
    origins: tuple[str, ...]
    """Where the console may be, like https://custody.example:8443."""
    synced: bool = False
    """Whether the key may be on several devices (backup eligible)."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator and a browser answer to a challenge."""

    authenticator_data: bytes
    client_data_json: bytes
    signature: bytes


def check_passkey(passkey: Passkey, public_key: bytes) -> None:
    """Return when a passkey can be in a roster. Refused: malformed."""
    if not 1 <= len(passkey.credential_id) <= CREDENTIAL_ID_MAX:
        raise _malformed(f"a passkey's id has 1..{CREDENTIAL_ID_MAX} bytes")
    if len(passkey.rp_id) > 253 or not _HOST.fullmatch(passkey.rp_id):
        raise _malformed("a passkey's rp_id is a domain in lower case")
    if not 1 <= len(set(passkey.origins)) == len(passkey.origins) <= ORIGINS_MAX:
        raise _malformed(f"a passkey has 1..{ORIGINS_MAX} different origins")
    for origin in passkey.origins:
        found = _ORIGIN.fullmatch(origin)
        if found is None or not _is_within(found[2], passkey.rp_id):
            raise _malformed(f"origin {origin} is not one of {passkey.rp_id}")
        if found[1] != "https" and found[2] != "localhost":
            raise _malformed("an origin is https, or http://localhost")
    if len(public_key) == ES256_KEY_BYTES:
        _point(public_key)
    elif len(public_key) != EDWARDS_KEY_BYTES:
        raise _malformed("a passkey's key has 33 bytes (ES256) or 32 (Ed25519)")


def challenge_of(message: bytes) -> bytes:
    """Return the 32 bytes that a browser hands to the passkey so that it signs a message."""
    return hashlib.sha256(canonical.encode(CHALLENGE_TAG, VERSION, (message,))).digest()


def check_assertion(
    passkey: Passkey, public_key: bytes, message: bytes, signature: bytes, evidence: bytes
) -> None:
    """Return when this passkey, with its user verified, signed this message.

    Refused: bad_signature.
    """
    authenticator_data, client_data_json = read_evidence(evidence)
    check_client_data(
        client_data_json, "webauthn.get", origins=passkey.origins, challenge=challenge_of(message)
    )
    _check_authenticator_data(authenticator_data, passkey)
    signed = authenticator_data + hashlib.sha256(client_data_json).digest()
    if len(public_key) == ES256_KEY_BYTES:
        _check_es256(public_key, signature, signed)
    else:
        check_signature(public_key, signature, signed)


def evidence_of(assertion: Assertion) -> bytes:
    """Return what is kept of an assertion beside its signature. Refused: too_large."""
    parts = (assertion.authenticator_data, assertion.client_data_json)
    if len(data := canonical.encode(EVIDENCE_TAG, VERSION, parts)) > EVIDENCE_MAX:
        raise Refused(Reason.TOO_LARGE, f"an assertion has at most {EVIDENCE_MAX} bytes")
    return data


def read_evidence(evidence: bytes) -> tuple[bytes, bytes]:
    """Return authenticatorData and clientDataJSON. Refused: bad_signature."""
    if len(evidence) > EVIDENCE_MAX:
        raise bad(f"a passkey's evidence has at most {EVIDENCE_MAX} bytes")
    try:
        values = canonical.decode(EVIDENCE_TAG, VERSION, evidence)
    except Refused as refused:
        raise bad("a passkey's evidence cannot be read") from refused
    if len(values) != 2 or not all(isinstance(value, bytes) for value in values):
        raise bad("a passkey's evidence has two parts")
    first, second = values
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    return first, second


def one_spelling(signature: bytes, public_key: bytes) -> bytes:
    """Return a signature as authenticators give it (DER for ES256) in its one spelling here.

    An ES256 signature has a twin with the other s; authenticators give either, we keep the lower.
    Refused: bad_signature.
    """
    if len(public_key) != ES256_KEY_BYTES:
        return signature
    try:
        r, s = decode_dss_signature(signature)
    except ValueError as error:
        raise bad("an ES256 signature is DER") from error
    if not (0 < r < P256_ORDER and 0 < s < P256_ORDER):
        raise bad("an ES256 signature out of range")
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 4648 §5), as browsers spell bytes in JSON."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding, one spelling only. Refused: malformed."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _malformed("not base64url") from error
    if base64url(data) != text:
        raise _malformed("not the one spelling of base64url")
    return data


def bad(detail: str) -> Refused:
    """Return the refusal of a signature."""
    return Refused(Reason.BAD_SIGNATURE, detail)


def check_client_data(data: bytes, kind: str, *, origins: Sequence[str], challenge: bytes) -> None:
    """Return when clientDataJSON is what a browser wrote for this. Refused: bad_signature."""
    page = _object(data)
    if page.get("type") != kind:
        raise bad(f"the client data is not of {kind}")
    given = page.get("challenge")
    if type(given) is not str or not hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), base64url(challenge).encode()
    ):
        raise bad("the passkey signed another challenge")
    if page.get("origin") not in origins:
        raise bad("the passkey signed on a page of another origin")
    if page.get("crossOrigin", False) is not False or "topOrigin" in page:
        raise bad("the passkey signed inside a page of another origin")


def challenge_in(data: bytes) -> str:
    """Return the challenge that clientDataJSON names, empty when none. Refused: bad_signature."""
    given = _object(data).get("challenge")
    return given if isinstance(given, str) else ""


def _object(data: bytes) -> Mapping[str, object]:
    if len(data) > CLIENT_DATA_MAX:
        raise bad(f"client data has at most {CLIENT_DATA_MAX} bytes")
    try:
        page = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise bad("the client data is not strict JSON") from error
    if not isinstance(page, dict):
        raise bad("the client data is no JSON object")
    return page


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    page = dict(pairs)
    if len(page) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return page


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _check_authenticator_data(data: bytes, passkey: Passkey) -> None:
    if len(data) != ASSERTION_BYTES:
        raise bad(f"authenticator data of an assertion has {ASSERTION_BYTES} bytes")
    if not hmac.compare_digest(data[:32], hashlib.sha256(passkey.rp_id.encode()).digest()):
        raise bad("the passkey signed for another relying party")
    flags = data[32]
    if not flags & USER_PRESENT:
        raise bad("nobody was present at the passkey")
    if not flags & USER_VERIFIED:
        raise bad("the passkey did not verify its user")
    if flags & (ATTESTED_DATA | EXTENSION_DATA):
        raise bad("the flags promise data that is not there")
    if bool(flags & BACKUP_ELIGIBLE) != passkey.synced:
        raise bad("whether the passkey may be copied is not what the roster says")
    if flags & BACKED_UP and not flags & BACKUP_ELIGIBLE:
        raise bad("a passkey was copied that may not be")


def _check_es256(public_key: bytes, signature: bytes, signed: bytes) -> None:
    if len(signature) != 64:
        raise bad("an ES256 signature has 64 bytes here")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < P256_ORDER and 0 < s <= P256_ORDER // 2):
        raise bad("an ES256 signature out of range, or with the higher s")
    try:
        _point(public_key).verify(encode_dss_signature(r, s), signed, ECDSA(hashes.SHA256()))
    except (InvalidSignature, Refused) as error:
        raise bad("not this passkey's signature over this") from error


def _point(public_key: bytes) -> EllipticCurvePublicKey:
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public_key)
    except ValueError as error:
        raise _malformed("a passkey's key is no point of P-256") from error


def _is_within(host: str, rp_id: str) -> bool:
    return host == rp_id or host.endswith("." + rp_id)


def _malformed(detail: str) -> Refused:
    return Refused(Reason.MALFORMED, detail)
