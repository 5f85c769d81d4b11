"""Settings of officers' passkeys."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import Refused
from custody.keys.passkey import Passkey, check_passkey
from custody.keys.passkey_registration import RelyingParty

_ANY_KEY = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeySettings:
    """Where officers make passkeys. What is in the roster already keeps what its row says."""

    rp_id: str = "localhost"
    """Domain of the console; passkeys do not work on an IP address."""
    origins: tuple[str, ...] = ("http://localhost:8700",)
    """Where the console is, as browsers spell it."""
    synced: bool = False
    """Whether a passkey may be on several devices."""


def problems_of_passkeys(passkeys: PasskeySettings) -> list[str]:
    """Return what is wrong, one line each."""
    try:
        check_passkey(Passkey(b"any", passkeys.rp_id, passkeys.origins), _ANY_KEY)
    except Refused as refused:
        return [f"passkeys: {refused.detail}"]
    return []


def party_of(passkeys: PasskeySettings) -> RelyingParty:
    """Return for whom officers make passkeys."""
    return RelyingParty(passkeys.rp_id, passkeys.origins, passkeys.synced)
