"""How a passkey gets into the roster: a ceremony in the browser that ends in a row to propose.

`begin` makes what navigator.credentials.create takes, `finish` checks the answer with py webauthn
(W3C Web Authentication level 3, §7.1) and with our own strict reading, and returns the officer's
row. Nothing is enrolled by it: the row counts once a roster that holds it is signed and pinned.

Open ceremonies live in memory, a few minutes at most; a restart ends them. Attestation "none" and
packed statements are read; which maker's device it is (AAGUID) is told, and proven by nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.clock import SECOND_NS, Clock
from core.entropy import Entropy
from core.errors import Reason, Refused, Unavailable
from custody.keys import passkey as passkeys
from custody.keys.credentials import CredentialKind
from custody.keys.officer_rows import check_officer
from custody.keys.passkey import Passkey
from custody.keys.roster import Officer, Roster

TTL_S = 600
OPEN_MAX = 256
ANSWER_MAX = 1 << 16
CHALLENGE_BYTES = 32
P256_CURVE, ED25519_CURVE = 1, 6
"""COSE elliptic curves (RFC 9053 §7.1)."""


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """For whom officers make passkeys. Browsers know localhost as a domain, but no IP address."""

    rp_id: str = "localhost"
    origins: tuple[str, ...] = ("http://localhost:8700",)
    synced: bool = False
    """Whether passkeys may be on several devices (backup eligible)."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What a ceremony yields."""

    officer: Officer
    attestation: str
    """Format of the attestation statement: none, packed, …"""
    aaguid: str
    """The maker's id for the kind of device, as it says itself."""
    counter: int


@dataclass(frozen=True, slots=True)
class _Open:
    person: str
    challenge: bytes
    until_ns: int


@dataclass(slots=True)
class Registrations:
    """The open ceremonies of one process."""

    party: RelyingParty
    clock: Clock
    entropy: Entropy
    _open: dict[str, _Open] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, person: str, roster: Roster) -> tuple[str, dict[str, Any]]:
        """Open a ceremony; return its id and the JSON of the creation options.

        Unavailable: too many are open.
        """
        now_ns = self.clock.now_ns()
        opened = _Open(
            person, self.entropy.token_bytes(CHALLENGE_BYTES), now_ns + TTL_S * SECOND_NS
        )
        name = self.entropy.token_bytes(16).hex()
        with self._lock:
            self._open = {key: one for key, one in self._open.items() if one.until_ns > now_ns}
            if len(self._open) >= OPEN_MAX:
                raise Unavailable("too many registrations are open", retry_after_ms=60_000)
            self._open[name] = opened
        held = [one.passkey for one in roster.officers if one.person == person and one.passkey]
        return name, creation_options(self.party, person, opened.challenge, held)

    def finish(self, name: str, person: str, answer: Mapping[str, Any]) -> Registered:
        """End a ceremony, whatever the answer is; return the row that it yields.

        Refused: not_found (never opened, ended, another person's), and as read_registration.
        """
        with self._lock:
            opened = self._open.get(name)
            if opened is not None and opened.person == person:
                del self._open[name]
        now_ns = self.clock.now_ns()
        if opened is None or opened.person != person or now_ns >= opened.until_ns:
            raise Refused(Reason.NOT_FOUND, "no such registration is open")
        return read_registration(self.party, person, opened.challenge, answer)


def creation_options(
    party: RelyingParty, person: str, challenge: bytes, held: list[Passkey]
) -> dict[str, Any]:
    """Return what PublicKeyCredential.parseCreationOptionsFromJSON() takes."""
    from webauthn import generate_registration_options
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.cose import COSEAlgorithmIdentifier
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        UserVerificationRequirement,
    )

    return options_to_json_dict(
        generate_registration_options(
            rp_id=party.rp_id,
            rp_name="Strongroom",
            user_name=person,
            user_id=hashlib.sha256(f"strongroom/officer/{person}".encode()).digest(),
            challenge=challenge,
            timeout=passkeys.TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=one.credential_id) for one in held
            ],
            supported_pub_key_algs=[
                COSEAlgorithmIdentifier.ECDSA_SHA_256,
                COSEAlgorithmIdentifier.EDDSA,
            ],
        )
    )


def read_registration(
    party: RelyingParty, person: str, challenge: bytes, answer: Mapping[str, Any]
) -> Registered:
    """Return the row that an answer of navigator.credentials.create yields.

    Refused: malformed, bad_attestation (another challenge, origin or relying party, the user not
    verified, a statement that does not verify, an algorithm that was not asked for), forbidden (a
    passkey that may be copied where that is not allowed).
    """
    from webauthn import verify_registration_response
    from webauthn.helpers.cose import COSEAlgorithmIdentifier
    from webauthn.helpers.exceptions import WebAuthnException
    from webauthn.helpers.structs import AttestationFormat, CredentialDeviceType

    _check_page(party, challenge, answer)
    try:
        made = verify_registration_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=party.rp_id,
            expected_origin=list(party.origins),
            require_user_verification=True,
            supported_pub_key_algs=[
                COSEAlgorithmIdentifier.ECDSA_SHA_256,
                COSEAlgorithmIdentifier.EDDSA,
            ],
        )
        public_key = _public_key(made.credential_public_key)
    except (
        WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError,
    ) as error:  # fmt: skip
        # The library checks less of a stranger's bytes than it reads: whatever it stumbles over.
        raise Refused(Reason.BAD_ATTESTATION, str(error)[:200]) from error
    synced = made.credential_device_type is CredentialDeviceType.MULTI_DEVICE
    if synced and not party.synced:
        raise Refused(Reason.FORBIDDEN, "the passkey may be copied to other devices")
    passkey = Passkey(made.credential_id, party.rp_id, party.origins, synced)
    officer = Officer(person, public_key, kind=CredentialKind.WEBAUTHN, passkey=passkey)
    check_officer(officer, has_kind=True)
    return Registered(officer, AttestationFormat(made.fmt).value, made.aaguid, made.sign_count)


def _check_page(party: RelyingParty, challenge: bytes, answer: Mapping[str, Any]) -> None:
    """Read the client data as strictly as an assertion's: the library forgives more."""
    response = answer.get("response")
    text = response.get("clientDataJSON") if isinstance(response, Mapping) else None
    if not isinstance(text, str) or len(text) > ANSWER_MAX:
        raise Refused(Reason.MALFORMED, "clientDataJSON is missing")
    data = passkeys.read_base64url(text)
    try:
        passkeys.check_client_data(
            data, "webauthn.create", origins=party.origins, challenge=challenge
        )
    except Refused as refused:
        raise Refused(Reason.BAD_ATTESTATION, refused.detail) from refused


def _public_key(cose: bytes) -> bytes:
    """Return a COSE key as the roster spells it. ValueError: of another kind."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from webauthn.helpers import decode_credential_public_key
    from webauthn.helpers.decode_credential_public_key import (
        DecodedEC2PublicKey,
        DecodedOKPPublicKey,
    )

    key = decode_credential_public_key(cose)
    if isinstance(key, DecodedEC2PublicKey) and key.crv == P256_CURVE:
        if len(key.x) != 32 or len(key.y) != 32:
            raise ValueError("a coordinate of P-256 has 32 bytes")
        x, y = int.from_bytes(key.x, "big"), int.from_bytes(key.y, "big")
        point = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        return point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    if isinstance(key, DecodedOKPPublicKey) and key.crv == ED25519_CURVE and len(key.x) == 32:
        return bytes(key.x)
    raise ValueError("a key of another kind")
