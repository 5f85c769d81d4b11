"""Passkeys: the ceremony that yields a row for the roster. Nothing is enrolled here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.api.guard import Caller, GuardedRoute, In
from app.api.shapes import Asked, Shown
from app.api.units import instant
from core.clock import SECOND_NS
from custody.keys.passkey_registration import TTL_S
from custody.keys.roster_text import officer_text

router = APIRouter(route_class=GuardedRoute)


class RegistrationView(Shown):
    """An open ceremony."""

    registration_id: str
    options: Annotated[
        dict[str, Any], Field(description="For navigator.credentials.create(), as its JSON")
    ]
    expires_at: str


class NewPasskey(Asked):
    """What the browser answered."""

    answer: Annotated[dict[str, Any], Field(description="PublicKeyCredential.toJSON()")]


class PasskeyView(Shown):
    """A passkey that is in no roster yet."""

    person: str
    public_key: Annotated[str, Field(description="As the roster spells it, hex")]
    credential_id: str
    rp_id: str
    origins: list[str]
    synced: Annotated[bool, Field(description="Whether it may be on several devices")]
    attestation: str
    aaguid: Annotated[str, Field(description="Kind of device, by its own word")]
    roster_row: Annotated[str, Field(description="For the draft of the next roster")]


@router.post("/v1/passkey-registrations", status_code=201)
def begin_registration(caller: Caller, shop: In) -> RegistrationView:
    """Open a ceremony for a passkey of one's own; it stays open for ten minutes."""
    platform = shop.context.platform
    until_ns = platform.clock.now_ns() + TTL_S * SECOND_NS
    name, options = shop.registrations.begin(caller.subject, platform.roster)
    return RegistrationView(registration_id=name, options=options, expires_at=instant(until_ns))


@router.post("/v1/passkey-registrations/{registration_id}")
def finish_registration(
    registration_id: str, asked: NewPasskey, caller: Caller, shop: In
) -> PasskeyView:
    """Check the browser's answer and return the row that a roster may take in."""
    made = shop.registrations.finish(registration_id, caller.subject, asked.answer)
    officer = made.officer
    assert officer.passkey is not None
    return PasskeyView(
        person=officer.person,
        public_key=officer.public_key.hex(),
        credential_id=officer.passkey.credential_id.hex(),
        rp_id=officer.passkey.rp_id,
        origins=list(officer.passkey.origins),
        synced=officer.passkey.synced,
        attestation=made.attestation,
        aaguid=made.aaguid,
        roster_row=officer_text(officer),
    )
