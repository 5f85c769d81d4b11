"""Vault's transit engine: a box for seeds, keys that sign inside it, and their rotation.

https://developer.hashicorp.com/vault/api-docs/secret/transit
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.secret import Secret
from custody.keys.signers.vault_http import Reply
from custody.keys.signers.vault_session import VaultSession, Wire, hvac_api

if TYPE_CHECKING:
    from hvac.api.secrets_engines import Transit  # type: ignore[import-untyped]

SEALING_TYPE = "aes256-gcm96"
SIGNING_TYPE = "ed25519"
_VERSIONED = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/=]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransitKey:
    """Where a key lies."""

    name: str
    mount: str = "transit"


@dataclass(frozen=True, slots=True)
class KeyState:
    """What Vault says of a key."""

    type: str
    latest: int
    oldest_usable: int
    is_derived: bool
    is_exportable: bool


@dataclass(frozen=True, slots=True)
class Made:
    """One signature of a derived key, with the public key it claims."""

    version: int
    signature: bytes
    public_key: bytes


class TransitBox:
    """A SealedBox whose key never leaves Vault; associated data are authenticated (AES-256-GCM)."""

    def __init__(self, session: VaultSession, key: TransitKey) -> None:
        self._session = session
        self._key = key

    def seal(self, content: Secret, associated: bytes) -> bytes:
        """Return `vault:v<version>:<base64>` as bytes.

        Unavailable, Refused (forbidden, undecodable), Corrupt as VaultSession.call.
        """

        def ask(wire: Wire) -> Reply:
            return _reply(
                _transit(wire).encrypt_data(
                    name=self._key.name,
                    plaintext=_b64(content.reveal()),
                    associated_data=_b64(associated),
                    mount_point=self._key.mount,
                )
            )

        text = self._session.call(ask, "sealing in Vault").text("ciphertext")
        if text is None or _versioned(text) is None:
            raise Corrupt("Vault sealed nothing")
        return text.encode("ascii")

    def open(self, sealed: bytes, associated: bytes) -> Secret:
        """Return what was sealed.

        Refused: undecodable (another key, other associated data, a retired version). Errors as
        seal.
        """
        text = sealed.decode("ascii", "replace")
        if _versioned(text) is None:
            raise Refused(Reason.UNDECODABLE, "nothing that Vault sealed")

        def ask(wire: Wire) -> Reply:
            return _reply(
                _transit(wire).decrypt_data(
                    name=self._key.name,
                    ciphertext=text,
                    associated_data=_b64(associated),
                    mount_point=self._key.mount,
                )
            )

        content = _plaintext(self._session.call(ask, "opening a seal in Vault"))
        if content is None:
            raise Corrupt("Vault opened a seal to nothing")
        return content

    def __repr__(self) -> str:
        return f"<TransitBox {self._key.mount}/{self._key.name}>"


def version_of(sealed: bytes) -> int:
    """Return the key version of sealed bytes. Refused: undecodable."""
    parts = _versioned(sealed.decode("ascii", "replace"))
    if parts is None:
        raise Refused(Reason.UNDECODABLE, "nothing that Vault sealed")
    return parts[0]


def sign_derived(
    session: VaultSession, key: TransitKey, version: int, items: Sequence[tuple[str, bytes]]
) -> list[Made]:
    """Sign messages, each with the key that Vault derives for its context.

    Nothing is verified here but the shape. Errors as VaultSession.call; Unavailable when a part of
    a batch failed.
    """
    batch = [{"input": _b64(message), "context": _b64(name.encode())} for name, message in items]

    def ask(wire: Wire) -> Reply:
        return _reply(
            _transit(wire).sign_data(
                name=key.name, key_version=version, batch_input=batch, mount_point=key.mount
            )
        )

    results = session.call(ask, "signing in Vault").data.get("batch_results")
    if not isinstance(results, list) or len(results) != len(items):
        raise Corrupt("Vault answered another number of messages than it was asked to sign")
    return [_made(result) for result in results]


def state_of(session: VaultSession, key: TransitKey) -> KeyState:
    """Return what Vault says of a key. Refused: not_found. Errors as VaultSession.call."""
    answer = session.call(lambda wire: _reply(_transit(wire).read_key(key.name, key.mount)), "key")
    kind, latest = answer.text("type"), answer.number("latest_version")
    oldest = answer.number("min_decryption_version")
    if kind is None or latest is None or oldest is None or not 1 <= oldest <= latest:
        raise Corrupt("Vault describes a key that cannot be")
    is_derived, is_exportable = answer.data.get("derived"), answer.data.get("exportable")
    if type(is_derived) is not bool or type(is_exportable) is not bool:
        raise Corrupt("Vault describes a key that cannot be")
    return KeyState(kind, latest, oldest, is_derived, is_exportable)


def create_key(session: VaultSession, key: TransitKey, kind: str) -> KeyState:
    """Make a key unless it exists; never exportable. Signing keys derive one key per context.

    Refused: weak_key (it exists and is another kind, or may be exported). Creating it twice makes
    one key, so this is safe to repeat.
    """

    def ask(wire: Wire) -> Reply:
        return _reply(
            _transit(wire).create_key(
                name=key.name,
                key_type=kind,
                derived=kind == SIGNING_TYPE,
                exportable=False,
                allow_plaintext_backup=False,
                mount_point=key.mount,
            )
        )

    session.call(ask, "making a key in Vault")
    state = state_of(session, key)
    if (state.type, state.is_derived) != (kind, kind == SIGNING_TYPE) or state.is_exportable:
        raise Refused(Reason.WEAK_KEY, f"{key.name} is not a {kind} key that stays in Vault")
    return state


def rotate_key(session: VaultSession, key: TransitKey, *, seen: int) -> int:
    """Add a version after the one that was seen; return the latest.

    Asked again after an OutcomeUnknown with the same `seen` it does not rotate twice.
    """
    latest = state_of(session, key).latest
    if latest == seen:
        session.call(
            lambda wire: _reply(_transit(wire).rotate_key(key.name, key.mount)),
            "rotating a key in Vault",
            is_safe=False,
        )
        latest = state_of(session, key).latest
    if latest <= seen:
        raise Corrupt(f"{key.name} was rotated and has no newer version")
    return latest


def retire_below(session: VaultSession, key: TransitKey, version: int) -> None:
    """Let nothing be opened any more that older versions sealed. Errors as VaultSession.call."""

    def ask(wire: Wire) -> Reply:
        return _reply(
            _transit(wire).update_key_configuration(
                name=key.name, min_decryption_version=version, mount_point=key.mount
            )
        )

    session.call(ask, "retiring key versions in Vault")
    if state_of(session, key).oldest_usable != version:
        raise Corrupt(f"{key.name} still opens what versions below {version} sealed")


def _transit(wire: Wire) -> Transit:
    return hvac_api("secrets_engines").Transit(wire)


def _reply(answer: Any) -> Reply:
    assert isinstance(answer, Reply)
    return answer


def _made(result: object) -> Made:
    fields = result if isinstance(result, dict) else {}
    if fields.get("error"):
        raise Unavailable("Vault did not sign a part of a batch")
    parts = _versioned(str(fields.get("signature")))
    public_key = _unb64(str(fields.get("public_key")))
    if parts is None or public_key is None or fields.get("key_version") != parts[0]:
        raise Corrupt("Vault answered with no signature of a derived key")
    return Made(*parts, public_key)


def _versioned(text: str) -> tuple[int, bytes] | None:
    match = _VERSIONED.fullmatch(text)
    content = None if match is None else _unb64(match[2])
    return None if match is None or content is None else (int(match[1]), content)


def _plaintext(answer: Reply) -> Secret | None:
    # No error leaves this frame: it holds what was sealed.
    text = answer.text("plaintext")
    content = None if text is None else _unb64(text)
    return None if content is None else Secret(content)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
