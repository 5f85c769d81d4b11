"""Private nodes on secp256k1 (CKDpriv of BIP-32); custody.keys.derivation has the public half."""

from __future__ import annotations

from typing import NoReturn

from coincurve import PrivateKey

from core.errors import Reason, Refused
from custody.keys.derivation import HARDENED, PublicNode, fingerprint, hmac_sha512
from custody.keys.secret import Secret
from custody.keys.taproot import sign_tweaked

MASTER_KEY = bytes.fromhex("426974636f696e2073656564")
"""The constant that BIP-32 hashes every seed with, on every chain."""


class PrivateNode:
    """An extended private key (CKDpriv of BIP-32). Nothing gives its secret away."""

    __slots__ = ("_key", "chain_code", "child_number", "depth", "parent")

    def __init__(
        self,
        key: PrivateKey,
        chain_code: bytes,
        depth: int,
        parent: bytes | None,
        child_number: int,
    ) -> None:
        self._key = key
        self.chain_code = chain_code
        self.depth = depth
        self.parent = parent
        self.child_number = child_number

    @classmethod
    def master(cls, seed: Secret) -> PrivateNode:
        """Return the root of a seed."""
        made = _tweaked(None, hmac_sha512(MASTER_KEY, seed.reveal()))
        if made is None:
            raise Refused(Reason.UNKNOWN_KEY, "this seed has no valid master key; take another")
        return cls(*made, 0, None, 0)

    @property
    def public_key(self) -> bytes:
        """Return the compressed public key."""
        return bytes(self._key.public_key.format())

    def child(self, index: int) -> PrivateNode:
        """Return a child, hardened from 2^31 on. Refused: unknown_key (invalid by BIP-32)."""
        parent = self.public_key
        start = b"\0" + self._key.secret if index >= HARDENED else parent
        made = _tweaked(self._key, hmac_sha512(self.chain_code, start + index.to_bytes(4, "big")))
        del start
        if made is None:
            raise Refused(Reason.UNKNOWN_KEY, f"child {index} is invalid by BIP-32")
        return PrivateNode(*made, self.depth + 1, parent, index)

    def public(self) -> PublicNode:
        """Return the extended public key."""
        return PublicNode(
            self.public_key,
            self.chain_code,
            self.depth,
            bytes(4) if self.parent is None else fingerprint(self.parent),
            self.child_number,
        )

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ recovery id, RFC 6979, low s."""
        return bytes(self._key.sign_recoverable(digest, hasher=None))

    def sign_tweaked(self, digest: bytes) -> bytes:
        """Return the 64 bytes of BIP-340, made by the key that an address of BIP-86 has."""
        return sign_tweaked(self._key, digest)

    def __repr__(self) -> str:
        return "<private node hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a private key is not pickled or copied")


def _tweaked(key: PrivateKey | None, digest: bytes) -> tuple[PrivateKey, bytes] | None:
    # No error leaves this frame, so that no traceback holds key material.
    try:
        made = PrivateKey(digest[:32]) if key is None else key.add(digest[:32])
    except ValueError:
        return None
    return made, digest[32:]
