"""What every signer does once a seed lies open in this process, and only in its memory.

secp256k1: m/purpose'/coin'/account'/0/index (BIP-32, BIP-44), so that an account's extended public
key derives addresses. ed25519: m/purpose'/coin'/account'/0'/index' (SLIP-0010), all hardened.
Purpose and coin come from the chain's traits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, Protocol

from chains.base import ChainTraits
from core.errors import Corrupt, Reason, Refused, Unavailable
from custody.keys.bip32 import PrivateNode
from custody.keys.derivation import HARDENED, AccountKeys, format_xpub
from custody.keys.secret import Secret
from custody.keys.signers.base import (
    ACCOUNT_NUMBERS,
    BIP340,
    CHECK_DIGEST,
    ED25519,
    SECP256K1,
    KeyRef,
    check_key_range,
    check_made,
    check_message,
)
from custody.keys.slip10 import EdwardsNode

KEY_CACHE = 4_096


class Keys(Protocol):
    """The keys of all accounts on one curve."""

    def account_xpub(self, account: str) -> str:
        """Return an account's extended public key. Refused: unknown_key."""
        ...

    def public_key(self, key: KeyRef) -> bytes:
        """Return a public key by all roads there are. Corrupt when they disagree."""
        ...

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return what the private key makes, not yet verified."""
        ...


@dataclass(frozen=True, slots=True)
class _Account:
    """One account on secp256k1: the parent of its private keys, and its public road."""

    external: PrivateNode
    public: AccountKeys


class SecpKeys:
    """Accounts of BIP-44 on secp256k1."""

    def __init__(self, seed: Secret, purpose: int, coin_type: int) -> None:
        self._coin = PrivateNode.master(seed).child(HARDENED + purpose).child(HARDENED + coin_type)
        self._accounts: dict[str, _Account] = {}

    def account_xpub(self, account: str) -> str:
        """Return an account's extended public key. Refused: unknown_key."""
        return self._account(account).public.xpub

    def public_key(self, key: KeyRef) -> bytes:
        """Return 33 bytes by the private and the public road. Corrupt when they disagree."""
        account = self._account(key.account)
        public_key = account.public.public_key(key.index)
        if account.external.child(key.index).public_key != public_key:
            raise Corrupt(f"private and public derivation disagree about {key}")
        return public_key

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return r ‖ s ‖ recovery id."""
        return self._account(key.account).external.child(key.index).sign(message)

    def _account(self, account: str) -> _Account:
        found = self._accounts.get(account)
        if found is None:
            node = self._coin.child(HARDENED + _number(account))
            found = _Account(node.child(0), AccountKeys(format_xpub(node.public())))
            self._accounts[account] = found
        return found


class TaprootKeys(SecpKeys):
    """The same accounts where addresses are taproot keys (BIP-86)."""

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return the 64 bytes of BIP-340, made by the tweaked key."""
        return self._account(key.account).external.child(key.index).sign_tweaked(message)


class EdwardsKeys:
    """Accounts of SLIP-0010 on Ed25519."""

    def __init__(self, seed: Secret, purpose: int, coin_type: int) -> None:
        self._coin = EdwardsNode.master(seed).child(HARDENED + purpose).child(HARDENED + coin_type)
        self._external: dict[str, EdwardsNode] = {}

    def account_xpub(self, account: str) -> str:
        """Refused: unknown_key, always: this curve has no public derivation."""
        raise Refused(Reason.UNKNOWN_KEY, f"{account!r} has no extended public key on {ED25519}")

    def public_key(self, key: KeyRef) -> bytes:
        """Return 32 bytes."""
        return self._child(key).public_key

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return the 64 bytes of RFC 8032."""
        return self._child(key).sign(message)

    def _child(self, key: KeyRef) -> EdwardsNode:
        found = self._external.get(key.account)
        if found is None:
            found = self._coin.child(HARDENED + _number(key.account)).child(HARDENED)
            self._external[key.account] = found
        return found.child(HARDENED + key.index)


_KEYS: dict[str, Callable[[Secret, int, int], Keys]] = {
    SECP256K1: SecpKeys,
    ED25519: EdwardsKeys,
    BIP340: TaprootKeys,
}


class SeededSigner:
    """Keys of one chain under one seed. Refused at once: unknown_chain (another curve)."""

    def __init__(self, seed: Secret, traits: ChainTraits) -> None:
        if traits.curve not in _KEYS:
            raise Refused(Reason.UNKNOWN_CHAIN, f"this signer has no keys on {traits.curve}")
        self._traits = traits
        self._keys: Keys | None = _KEYS[traits.curve](seed, traits.purpose, traits.coin_type)
        self._expected = lru_cache(KEY_CACHE)(lambda key: self._open().public_key(key))

    @property
    def curve(self) -> str:
        """Return the curve of the chain."""
        return self._traits.curve

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Return whether the network has these keys' curve and path, and is main as theirs is."""
        return place_of(traits) == place_of(self._traits)

    def account_xpub(self, account: str) -> str:
        """Return an account's extended public key. Refused: unknown_key."""
        return self._open().account_xpub(account)

    def public_key(self, key: KeyRef) -> bytes:
        """Return 33 or 32 bytes; where there is a public road it led to the same ones.

        Refused: unknown_key. Unavailable once closed.
        """
        self._open()
        public_key: bytes = self._expected(key)
        return public_key

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return a verified signature. Refused: malformed, unknown_key. Corrupt: it was wrong."""
        check_message(self.curve, message)
        expected = self.public_key(key)
        signature = self._open().sign(key, message)
        check_made(self.curve, signature, message, expected)
        return signature

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        """Return a signature for each job, in their order. Refused as sign."""
        return [self.sign(key, message) for key, message in jobs]

    def make_keys(self, account: str, first: int, count: int) -> None:
        """Check the numbers; every key of a seed exists already."""
        check_key_range(account, first, count)

    def check(self) -> None:
        """Sign a constant with the key of the hot wallet."""
        self.sign(KeyRef("hot", 0), CHECK_DIGEST)

    def close(self) -> None:
        """Forget the keys: from now on everything is Unavailable."""
        self._keys = None
        self._expected.cache_clear()

    def _open(self) -> Keys:
        if self._keys is None:
            raise Unavailable("this signer was closed")
        return self._keys

    def __repr__(self) -> str:
        return f"<{type(self).__name__} hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a signer is not pickled or copied")


def place_of(traits: ChainTraits) -> tuple[str, int, int, bool]:
    """Return what two networks share whose keys are the same."""
    return traits.curve, traits.purpose, traits.coin_type, traits.is_main_network


def _number(account: str) -> int:
    if account not in ACCOUNT_NUMBERS:
        raise Refused(Reason.UNKNOWN_KEY, f"no account {account!r}")
    return ACCOUNT_NUMBERS[account]
