"""What every signer does, wherever its keys live. Only custody.keys.guard calls sign_digest."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from coincurve import PublicKey

from chains.base import ChainTraits
from core.errors import Corrupt, Reason, Refused
from custody.keys.derivation import CURVE_ORDER, HARDENED

ACCOUNTS = MappingProxyType({"deposits": 0, "hot": 1, "gas": 2, "cold": 3})
"""Own wallets and their hardened BIP-44 accounts: a leaked child key falls one account only."""
DIGEST_BYTES = 32
SIGNATURE_BYTES = 65


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Which key: m/44'/coin'/account'/0/index. Refused: unknown_key."""

    account: str
    index: int

    def __post_init__(self) -> None:
        if self.account not in ACCOUNTS:
            raise Refused(Reason.UNKNOWN_KEY, f"no account {self.account!r}")
        if type(self.index) is not int or not 0 <= self.index < HARDENED:
            raise Refused(Reason.UNKNOWN_KEY, "a key's index lies in 0..2^31-1")


class Signer(Protocol):
    """The keys of one chain. There is no verb that gives a private key away."""

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Return whether these keys may sign for a network."""
        ...

    def account_xpub(self, account: str) -> str:
        """Return an account's extended public key. Refused: unknown_key."""
        ...

    def public_key(self, key: KeyRef) -> bytes:
        """Return 33 bytes, derived from the private side. Refused: unknown_key."""
        ...

    def sign_digest(self, key: KeyRef, digest: bytes) -> bytes:
        """Return 65 bytes r ‖ s ‖ recovery id: RFC 6979, low s, verified after making.

        Refused: malformed (a digest that is not exactly 32 bytes), unknown_key.
        """
        ...


def check_digest(digest: bytes) -> None:
    """Refused: malformed unless digest is exactly 32 bytes."""
    if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
        raise Refused(Reason.MALFORMED, f"a digest has {DIGEST_BYTES} bytes")


def check_signature(signature: bytes, digest: bytes, public_key: bytes) -> None:
    """Check what a signer just made: shape, low s, and that the key recovers from it.

    Corrupt when not.
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] > 3:
        raise Corrupt("the signer made no signature")
    s = int.from_bytes(signature[32:64], "big")
    if not 0 < s <= CURVE_ORDER // 2:
        raise Corrupt("the signer made a signature with a high s")
    try:
        recovered = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except ValueError as error:
        raise Corrupt("the signer made a signature of nobody") from error
    if recovered.format() != public_key:
        raise Corrupt("the signer signed with another key")
