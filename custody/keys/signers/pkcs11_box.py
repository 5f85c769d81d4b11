"""A sealed box whose key never leaves a PKCS#11 token: AES-256-GCM, for seeds that lie on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.entropy import Entropy
from core.errors import Corrupt, Reason, Refused
from custody.keys.secret import Secret
from custody.keys.signers.pkcs11_keys import find_secret
from custody.keys.signers.pkcs11_lanes import Lane
from custody.keys.signers.pkcs11_module import binding
from custody.keys.signers.pkcs11_token import Token, close_token, open_token

SEALING = "strongroom/sealing"
NONCE_BYTES = 12
TAG_BYTES = 16
CONTENT_BYTES_MAX = 1_024
PROBE = b"strongroom/box-probe/v1"


class TokenBox:
    """The SealedBox of a token, as custody.keys.signers.sealed wants it.

    The token knows one key for it, made at the first seal under the label `strongroom/sealing`.
    """

    def __init__(self, token: Token, entropy: Entropy) -> None:
        self._token = token
        self._entropy = entropy

    @classmethod
    def open_token(cls, module: Path, label: str, pin_file: Path, *, entropy: Entropy) -> TokenBox:
        """Return the box of a token; `close` lets go of it. Nothing is asked of it yet."""
        return cls(open_token(module, label, pin_file), entropy)

    def seal(self, content: Secret, associated: bytes) -> bytes:
        """Return nonce ‖ ciphertext ‖ tag.

        Refused: too_large, wrong_pin, weak_key. Unavailable, Corrupt as Token.run.
        """
        if len(content.reveal()) > CONTENT_BYTES_MAX:
            raise Refused(Reason.TOO_LARGE, f"a box takes {CONTENT_BYTES_MAX} bytes")
        self._make_key()
        nonce = self._entropy.token_bytes(NONCE_BYTES)

        def work(lane: Lane) -> bytes:
            key = find_secret(lane.session, SEALING)
            if key is None:
                raise Corrupt("the token lost the key that it just had")
            return _encrypt(key, nonce, content, associated)

        sealed = self._token.run(work)
        if len(sealed) != len(content.reveal()) + TAG_BYTES:
            raise Corrupt("the token sealed something of another size")
        return nonce + sealed

    def open(self, sealed: bytes, associated: bytes) -> Secret:
        """Return the content.

        Refused: undecodable (another token's, other associated data, changed bytes), wrong_pin,
        weak_key. Unavailable, Corrupt as Token.run.
        """
        if not NONCE_BYTES + TAG_BYTES <= len(sealed) <= CONTENT_BYTES_MAX + 64:
            raise Refused(Reason.UNDECODABLE, "nothing that a token sealed")

        probe_nonce = self._entropy.token_bytes(NONCE_BYTES)

        def work(lane: Lane) -> Secret | None:
            key = find_secret(lane.session, SEALING)
            return None if key is None else _decrypt(key, sealed, associated, probe_nonce)

        content = self._token.run(work)
        if content is None:
            raise Refused(Reason.UNDECODABLE, "this token did not seal it so")
        return content

    def _make_key(self) -> None:
        if self._token.run(lambda lane: find_secret(lane.session, SEALING)) is None:
            with self._token.alone():
                self._token.run(lambda lane: _make_key(lane.session))

    def close(self) -> None:
        """Let go of the token."""
        close_token(self._token)

    def __repr__(self) -> str:
        return f"<TokenBox of {self._token.label!r}>"


def _make_key(session: Any) -> None:
    if find_secret(session, SEALING) is not None:
        return  # another process was faster
    pkcs11 = binding()
    a, m = pkcs11.Attribute, pkcs11.Mechanism
    session.generate_key(
        pkcs11.KeyType.AES,
        256,
        label=SEALING,
        store=True,
        capabilities=0,
        template={
            a.PRIVATE: True,
            a.SENSITIVE: True,
            a.EXTRACTABLE: False,
            a.MODIFIABLE: False,
            a.COPYABLE: False,
            a.ENCRYPT: True,
            a.DECRYPT: True,
            a.ALLOWED_MECHANISMS: [m.AES_GCM],
            **dict.fromkeys((a.SIGN, a.VERIFY, a.WRAP, a.UNWRAP, a.DERIVE), False),
        },
    )


def _encrypt(key: Any, nonce: bytes, content: Secret, associated: bytes) -> bytes:
    pkcs11 = binding()
    how = pkcs11.GCMParams(nonce, associated, TAG_BYTES * 8)
    return bytes(
        key.encrypt(content.reveal(), mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=how)
    )


def _decrypt(key: Any, sealed: bytes, associated: bytes, probe_nonce: bytes) -> Secret | None:
    """Return the content, None when it does not open under a key that opens other things.

    Tokens answer a wrong tag in different words; SoftHSM in those that it also has for a token
    that was pulled out. So a failure is believed only once the key has opened what it just sealed.
    """
    pkcs11 = binding()
    gcm, bits = pkcs11.Mechanism.AES_GCM, TAG_BYTES * 8
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    how = pkcs11.GCMParams(nonce, associated, bits)
    try:
        return Secret(bytes(key.decrypt(rest, mechanism=gcm, mechanism_param=how)))
    except pkcs11.PKCS11Error:
        probe = _encrypt(key, probe_nonce, Secret(PROBE), b"probe")
        how = pkcs11.GCMParams(probe_nonce, b"probe", bits)
        key.decrypt(probe, mechanism=gcm, mechanism_param=how)
        return None
