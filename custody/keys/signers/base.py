"""What every signer does, wherever its keys live. Only custody.keys.guard calls `sign`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from coincurve import PublicKey, PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chains.base import ChainTraits
from core.errors import Corrupt, Reason, Refused
from custody.keys.derivation import CURVE_ORDER, HARDENED
from custody.keys.taproot import output_key

ACCOUNTS = MappingProxyType({"deposits": 0, "hot": 1, "gas": 2, "cold": 3})
"""Own wallets and their hardened BIP-44 accounts: a leaked child key falls one account only."""
ACCOUNT_STRIDE = 16
"""Account numbers of one generation of keys: a wallet's next keys are this many accounts on."""
GENERATIONS_MAX = 16
ACCOUNT_NUMBERS = MappingProxyType(
    {
        name if generation == 1 else f"{name}.{generation}": number
        + ACCOUNT_STRIDE * (generation - 1)
        for generation in range(1, GENERATIONS_MAX + 1)
        for name, number in ACCOUNTS.items()
    }
)
"""Every account there can be: `hot` is account 1', `hot.2`, its successor, account 17'."""
SECP256K1 = "secp256k1"
ED25519 = "ed25519"
BIP340 = "bip340"
"""Points of secp256k1 that sign, by BIP-340, as the tweaked keys that BIP-86 pays to."""
DIGEST_BYTES = 32
MESSAGE_BYTES_MAX = 1 << 16
"""Longest message that is signed whole."""
SIGNATURE_BYTES = 65
EDWARDS_SIGNATURE_BYTES = 64
SCHNORR_SIGNATURE_BYTES = 64
KEYS_AT_ONCE = 1_000
"""Most keys that make_keys makes in one call."""


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Which key: m/44'/coin'/account'/0/index. Refused: unknown_key."""

    account: str
    index: int

    def __post_init__(self) -> None:
        if self.account not in ACCOUNT_NUMBERS:
            raise Refused(Reason.UNKNOWN_KEY, f"no account {self.account!r}")
        if type(self.index) is not int or not 0 <= self.index < HARDENED:
            raise Refused(Reason.UNKNOWN_KEY, "a key's index lies in 0..2^31-1")


def wallet_of(account: str) -> str:
    """Return the wallet whose keys an account has, of whatever generation."""
    return account.partition(".")[0]


def generation_of(account: str) -> int:
    """Return which keys of its wallet an account has: 1 for the first ones."""
    return int(account.partition(".")[2] or 1)


def account_of(wallet: str, generation: int) -> str:
    """Return the account of a wallet's keys of one generation. Refused: unknown_key."""
    name = wallet if generation == 1 else f"{wallet}.{generation}"
    if wallet not in ACCOUNTS or name not in ACCOUNT_NUMBERS:
        raise Refused(Reason.UNKNOWN_KEY, f"{wallet!r} has no keys of generation {generation}")
    return name


class Signer(Protocol):
    """The keys of one chain. There is no verb that gives a private key away."""

    @property
    def curve(self) -> str:
        """Return `secp256k1`, `ed25519` or `bip340`."""
        ...

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Return whether these keys may sign for a network."""
        ...

    def account_xpub(self, account: str) -> str:
        """Return an account's extended public key.

        Refused: unknown_key, also when these keys have no public derivation (Ed25519, keys that
        were made inside a token).
        """
        ...

    def public_key(self, key: KeyRef) -> bytes:
        """Return 33 bytes (secp256k1 and bip340, compressed, not tweaked) or 32 (ed25519), from the
        private side.

        Refused: unknown_key.
        """
        ...

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Sign a 32-byte digest (secp256k1, bip340) or a whole message (ed25519).

        secp256k1: 65 bytes r ‖ s ‖ recovery id, low s, verified after making; a nonce that is
        deterministic (RFC 6979) or the token's own. ed25519: the 64 bytes of RFC 8032, verified.
        bip340: 64 bytes of the tweaked key, verified.

        Refused: malformed (a digest that is not exactly 32 bytes, an empty or overlong message),
        unknown_key. Unavailable: the keys cannot be reached now. Corrupt: what came back is not
        this key's signature.
        """
        ...

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        """Return a signature for each job, in their order: all, or none when one cannot be made.

        Where a signature means waiting, this waits less than as many calls of sign: a job may be
        under way while the next one is drawn. Errors as sign, and those of the jobs' source.
        """
        ...

    def make_keys(self, account: str, first: int, count: int) -> None:
        """Make sure that an account's keys first..first+count-1 exist, where they must be made.

        Refused: unknown_key, too_large (more than 1,000 at once). Unavailable as sign.
        """
        ...

    def check(self) -> None:
        """Return when these keys can really sign now: it makes and verifies a signature.

        Unavailable, Refused (weak_key, wrong_pin, …) or Corrupt when not.
        """
        ...

    def close(self) -> None:
        """Let go of tokens, connections and secrets."""
        ...


CHECK_DIGEST = hashlib.sha256(b"strongroom/signer-check/v1").digest()
"""What `check` signs: the hash of a text that no chain's transaction can have."""


def check_key_range(account: str, first: int, count: int) -> None:
    """Refused: unknown_key, too_large."""
    if type(count) is not int or not 0 < count <= KEYS_AT_ONCE:
        raise Refused(Reason.TOO_LARGE, f"1..{KEYS_AT_ONCE} keys at once")
    KeyRef(account, first)
    KeyRef(account, first + count - 1)


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


def check_schnorr(signature: bytes, digest: bytes, public_key: bytes) -> None:
    """Check what a signer just made by BIP-340, for the tweaked key of a compressed public key.

    Corrupt when not.
    """
    if len(signature) != SCHNORR_SIGNATURE_BYTES:
        raise Corrupt("the signer made no signature")
    if not PublicKeyXOnly(output_key(public_key)).verify(signature, digest):
        raise Corrupt("the signer signed with another key")


def check_message(curve: str, message: bytes) -> None:
    """Refused: malformed unless message is what a key of this curve signs."""
    if curve in (SECP256K1, BIP340):
        check_digest(message)
    elif type(message) is not bytes or not 0 < len(message) <= MESSAGE_BYTES_MAX:
        raise Refused(Reason.MALFORMED, f"a message has 1..{MESSAGE_BYTES_MAX} bytes")


def check_made(curve: str, signature: bytes, message: bytes, public_key: bytes) -> None:
    """Check what a signer just made, on any curve. Corrupt when it is not this key's."""
    if curve == SECP256K1:
        check_signature(signature, message, public_key)
        return
    if curve == BIP340:
        check_schnorr(signature, message, public_key)
        return
    if len(signature) != EDWARDS_SIGNATURE_BYTES:
        raise Corrupt("the signer made no signature")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Corrupt("the signer signed with another key") from error
