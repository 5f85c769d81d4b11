"""Ed25519 signatures: officers' file keys, the signer's attestations, the steps of a drill."""

from __future__ import annotations

from nacl.bindings import crypto_sign_BYTES, crypto_sign_open, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError, CryptoError

from core.errors import Reason, Refused


def check_signature(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature. Refused: bad_signature.

    By libsodium, which takes half of OpenSSL's time; it also refuses keys of small order.
    """
    try:
        if (len(signature), len(public_key)) != (crypto_sign_BYTES, crypto_sign_PUBLICKEYBYTES):
            raise BadSignatureError("a signature has 64 bytes, a key 32")
        crypto_sign_open(signature + message, public_key)
    except (CryptoError, ValueError) as error:
        raise Refused(Reason.BAD_SIGNATURE, "not this officer's signature over this") from error
