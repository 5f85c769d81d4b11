"""The key that an address of BIP-86 has: a public key, tweaked by a hash of itself.

Own code beside that of the chain, which has to come to the same addresses. Source: BIP-341
(taproot_tweak_pubkey and taproot_tweak_seckey, without scripts).
"""

from __future__ import annotations

import hashlib

from coincurve import PrivateKey, PublicKeyXOnly

from custody.keys.derivation import CURVE_ORDER

_DOMAIN = hashlib.sha256(b"TapTweak").digest()


def output_key(public_key: bytes) -> bytes:
    """Return the 32 bytes that a taproot address has for a compressed public key."""
    key = PublicKeyXOnly(public_key[1:])
    key.tweak_add(_tweak(public_key))
    return bytes(key.format())


def sign_tweaked(key: PrivateKey, digest: bytes) -> bytes:
    """Return the 64 bytes of BIP-340 that the tweaked key makes; its nonce is deterministic."""
    public_key = bytes(key.public_key.format())
    if public_key[0] == 3:
        key = PrivateKey.from_int(CURVE_ORDER - key.to_int())
    tweaked = key.add(_tweak(public_key))
    return bytes(tweaked.sign_schnorr(digest, None))  # type: ignore[arg-type]


def _tweak(public_key: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + _DOMAIN + public_key[1:]).digest()
