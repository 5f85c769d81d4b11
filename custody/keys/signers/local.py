"""A signer whose seed lies in this process: development, tests, demos; never a main network."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from coincurve import PrivateKey

from chains.base import ChainTraits
from core.errors import Corrupt, Reason, Refused
from custody.keys.derivation import (
    HARDENED,
    AccountKeys,
    PublicNode,
    fingerprint,
    format_xpub,
    hmac_sha512,
)
from custody.keys.secret import Secret
from custody.keys.signers.base import (
    ACCOUNTS,
    CHECK_DIGEST,
    KeyRef,
    check_digest,
    check_key_range,
    check_signature,
)
from custody.keys.signers.keystore import open_keystore

CURVE = "secp256k1"
PURPOSE = 44
KEY_CACHE = 4_096
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
        digest = hmac_sha512(MASTER_KEY, seed.reveal())
        return cls(_private_key(digest[:32]), digest[32:], 0, None, 0)

    @property
    def public_key(self) -> bytes:
        """Return the compressed public key."""
        return bytes(self._key.public_key.format())

    def child(self, index: int) -> PrivateNode:
        """Return a child, hardened from 2^31 on. Refused: unknown_key (invalid by BIP-32)."""
        if index >= HARDENED:
            message = b"\0" + self._key.secret + index.to_bytes(4, "big")
        else:
            message = self.public_key + index.to_bytes(4, "big")
        digest = hmac_sha512(self.chain_code, message)
        key = _tweaked(self._key, digest[:32])
        if key is None:
            raise Refused(Reason.UNKNOWN_KEY, f"child {index} is invalid by BIP-32")
        return PrivateNode(key, digest[32:], self.depth + 1, self.public_key, index)

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

    def __repr__(self) -> str:
        return "<private node hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a private key is not pickled or copied")


class LocalSigner:
    """Keys of one chain under one seed.

    Refused at once: main_network, unknown_chain (another curve).
    """

    def __init__(self, seed: Secret, traits: ChainTraits) -> None:
        if traits.is_main_network:
            raise Refused(Reason.MAIN_NETWORK, "a local seed never signs for a main network")
        if traits.curve != CURVE:
            raise Refused(Reason.UNKNOWN_CHAIN, f"this signer has no keys on {traits.curve}")
        self._coin_type = traits.coin_type
        coin = PrivateNode.master(seed).child(HARDENED + PURPOSE).child(HARDENED + self._coin_type)
        self._accounts = {name: coin.child(HARDENED + n) for name, n in ACCOUNTS.items()}
        self._external = {name: node.child(0) for name, node in self._accounts.items()}
        self._public = {name: AccountKeys(self.account_xpub(name)) for name in ACCOUNTS}
        self._expected = lru_cache(KEY_CACHE)(self._derive_public)

    @classmethod
    def open(cls, path: Path, passphrase: Secret, traits: ChainTraits) -> LocalSigner:
        """Open a keystore file. Refused: as open_keystore, and main_network."""
        return cls(open_keystore(path, passphrase), traits)

    @property
    def curve(self) -> str:
        """Return secp256k1."""
        return CURVE

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Return whether the network is no main network and of these keys' coin type."""
        return (
            not traits.is_main_network
            and traits.curve == CURVE
            and traits.coin_type == self._coin_type
        )

    def account_xpub(self, account: str) -> str:
        """Return an account's extended public key. Refused: unknown_key."""
        if account not in self._accounts:
            raise Refused(Reason.UNKNOWN_KEY, f"no account {account!r}")
        return format_xpub(self._accounts[account].public())

    def public_key(self, key: KeyRef) -> bytes:
        """Return 33 bytes; the private and the public road led to the same ones.

        Refused: unknown_key.
        """
        public_key: bytes = self._expected(key)
        return public_key

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return r ‖ s ‖ recovery id over exactly 32 bytes. Refused: malformed, unknown_key."""
        check_digest(message)
        expected = self.public_key(key)
        signature = self._external[key.account].child(key.index).sign(message)
        check_signature(signature, message, expected)
        return signature

    def make_keys(self, account: str, first: int, count: int) -> None:
        """Check the numbers; every key of a seed exists already."""
        check_key_range(account, first, count)

    def check(self) -> None:
        """Sign a constant with the key of the hot wallet."""
        self.sign(KeyRef("hot", 0), CHECK_DIGEST)

    def close(self) -> None:
        """Forget the accounts' keys."""
        self._accounts.clear()
        self._external.clear()

    def _derive_public(self, key: KeyRef) -> bytes:
        public_key = self._public[key.account].public_key(key.index)
        if self._external[key.account].child(key.index).public_key != public_key:
            raise Corrupt(f"private and public derivation disagree about {key}")
        return public_key

    def __repr__(self) -> str:
        return "<LocalSigner hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a signer is not pickled or copied")


def _private_key(secret: bytes) -> PrivateKey:
    key = _tweaked(None, secret)
    if key is None:
        raise Refused(Reason.UNKNOWN_KEY, "this seed has no valid master key; take another")
    return key


def _tweaked(key: PrivateKey | None, scalar: bytes) -> PrivateKey | None:
    # No error leaves this frame, so that no traceback holds key material.
    try:
        return PrivateKey(scalar) if key is None else key.add(scalar)
    except ValueError:
        return None
