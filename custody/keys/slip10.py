"""Private nodes on Ed25519 (SLIP-0010): every step is hardened, there is no public derivation.

https://github.com/satoshilabs/slips/blob/master/slip-0010.md
"""

from __future__ import annotations

from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import Reason, Refused
from custody.keys.derivation import HARDENED, hmac_sha512
from custody.keys.secret import Secret

MASTER_KEY = b"ed25519 seed"
"""The constant that SLIP-0010 hashes a seed with for this curve."""


class EdwardsNode:
    """An extended private key of SLIP-0010. Nothing gives its secret away."""

    __slots__ = ("_secret", "chain_code")

    def __init__(self, secret: bytes, chain_code: bytes) -> None:
        self._secret = secret
        self.chain_code = chain_code

    @classmethod
    def master(cls, seed: Secret) -> EdwardsNode:
        """Return the root of a seed; on this curve every 32 bytes are a key."""
        digest = hmac_sha512(MASTER_KEY, seed.reveal())
        return cls(digest[:32], digest[32:])

    def child(self, index: int) -> EdwardsNode:
        """Return a hardened child; index counts from 2^31 as SLIP-0010 writes it.

        Refused: malformed (not hardened, which this curve does not have).
        """
        if type(index) is not int or not HARDENED <= index < 2 * HARDENED:
            raise Refused(Reason.MALFORMED, "Ed25519 has hardened children only")
        digest = hmac_sha512(self.chain_code, b"\0" + self._secret + index.to_bytes(4, "big"))
        return EdwardsNode(digest[:32], digest[32:])

    @property
    def public_key(self) -> bytes:
        """Return the 32 bytes of RFC 8032, without the leading zero that SLIP-0010 prints."""
        return self._key().public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of RFC 8032; the public half comes from the private one."""
        return self._key().sign(message)

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._secret)

    def __repr__(self) -> str:
        return "<private node hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a private key is not pickled or copied")
