"""Signers behind Vault. Which one a chain gets is decided by its curve.

secp256k1: transit has no such keys (hashicorp/vault#4594), so a seed lies sealed by transit, with
its wallet as associated data, and is opened once into this process's memory: `VaultSigner`.

ed25519: transit signs, and the private key never leaves it: `TransitSigner`. One *derived* key per
account: Vault makes the key of each index itself by HKDF over a context, and tells its public half
with every signature. Against one stored key per address this needs no right to create keys at the
signer, no object per deposit address, one backup per account; what falls with it is one account, as
with a BIP-44 account. The version is pinned: a rotated key would have other addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from chains.base import ChainTraits
from core.errors import Corrupt, Reason, Refused
from custody.keys.signers.base import (
    ACCOUNT_NUMBERS,
    CHECK_DIGEST,
    ED25519,
    KEYS_AT_ONCE,
    KeyRef,
    check_key_range,
    check_made,
    check_message,
)
from custody.keys.signers.pins import PinnedKeys
from custody.keys.signers.sealed import SealedBox, open_seed
from custody.keys.signers.seeded import SeededSigner, place_of
from custody.keys.signers.vault_session import VaultSession
from custody.keys.signers.vault_transit import Made, TransitKey, sign_derived

KEY_VERSION = 1
"""Accounts' signing keys are never rotated in place: their versions are other keys."""
_WALLET = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)


class VaultSigner(SeededSigner):
    """Keys of one chain under one seed that Vault opened. May sign for main networks."""

    @classmethod
    def open(cls, path: Path, wallet: str, box: SealedBox, traits: ChainTraits) -> VaultSigner:
        """Open a wallet's seed; afterwards Vault is not asked. Errors as open_seed."""
        return cls(open_seed(path, wallet, box), traits)


class TransitSigner:
    """Keys of one chain that Vault signs with. Refused at once: unknown_chain (another curve)."""

    def __init__(
        self,
        session: VaultSession,
        wallet: str,
        pins: PinnedKeys,
        traits: ChainTraits,
        *,
        mount: str = "transit",
    ) -> None:
        if traits.curve != ED25519:
            raise Refused(Reason.UNKNOWN_CHAIN, f"Vault has no signing keys on {traits.curve}")
        self._session = session
        self._pins = pins
        self._traits = traits
        self._keys = {name: account_key(wallet, name, mount=mount) for name in ACCOUNT_NUMBERS}

    @property
    def curve(self) -> str:
        """Return ed25519."""
        return ED25519

    def network_allowed(self, traits: ChainTraits) -> bool:
        """Return whether the network has these keys' curve and path, and is main as theirs is."""
        return place_of(traits) == place_of(self._traits)

    def account_xpub(self, account: str) -> str:
        """Refused: unknown_key, always: this curve has no public derivation."""
        raise Refused(Reason.UNKNOWN_KEY, f"{account!r} has no extended public key on {ED25519}")

    def public_key(self, key: KeyRef) -> bytes:
        """Return 32 bytes: the pinned ones, or at the first time those that just signed.

        Unavailable, Refused, Corrupt as VaultSession.call.
        """
        pinned = self._pins.get(key)
        if pinned is not None:
            return pinned
        self.make_keys(key.account, key.index, 1)
        learned = self._pins.get(key)
        assert learned is not None
        return learned

    def sign(self, key: KeyRef, message: bytes) -> bytes:
        """Return the 64 bytes of RFC 8032, verified against the pinned key.

        Refused: malformed, unknown_key. Unavailable, Refused, Corrupt as VaultSession.call; Corrupt
        also when another key signed.
        """
        (signature,) = self.sign_many([(key, message)])
        return signature

    def sign_many(self, jobs: Iterable[tuple[KeyRef, bytes]]) -> list[bytes]:
        """Return a signature for each, in their order: one request for each account.

        Errors as sign; then none is returned.
        """
        jobs = list(jobs)
        for _, message in jobs:
            check_message(ED25519, message)
        expected = [self.public_key(key) for key, _ in jobs]
        signatures = [b""] * len(jobs)
        for account in dict.fromkeys(key.account for key, _ in jobs):
            numbers = [n for n, (key, _) in enumerate(jobs) if key.account == account]
            for first in range(0, len(numbers), KEYS_AT_ONCE):
                some = numbers[first : first + KEYS_AT_ONCE]
                made = self._ask(account, [jobs[n] for n in some])
                for n, one in zip(some, made, strict=True):
                    signatures[n] = _checked(one, *jobs[n], expected[n])
        return signatures

    def make_keys(self, account: str, first: int, count: int) -> None:
        """Learn and pin the public keys of a range in one call: each proves itself by signing."""
        check_key_range(account, first, count)
        keys = [KeyRef(account, index) for index in range(first, first + count)]
        unknown = [key for key in keys if self._pins.get(key) is None]
        if not unknown:
            return
        seen = {}
        made = self._ask(account, [(key, CHECK_DIGEST) for key in unknown])
        for key, one in zip(unknown, made, strict=True):
            check_made(ED25519, one.signature, CHECK_DIGEST, one.public_key)
            seen[key] = one.public_key
        if len(set(seen.values())) != len(seen):
            raise Corrupt("Vault gave one key for two addresses")
        self._pins.pin(seen)

    def check(self) -> None:
        """Sign a constant with the key of the hot wallet."""
        self.sign(KeyRef("hot", 0), CHECK_DIGEST)

    def close(self) -> None:
        """Forget the token and let go of the connections."""
        self._session.close()

    def _ask(self, account: str, items: list[tuple[KeyRef, bytes]]) -> list[Made]:
        contexts = [(context_of(self._traits, key), message) for key, message in items]
        made = sign_derived(self._session, self._keys[account], KEY_VERSION, contexts)
        if any(one.version != KEY_VERSION for one in made):
            raise Corrupt("Vault signed with another version of the key than it was told to")
        return made

    def __repr__(self) -> str:
        return "<TransitSigner hidden>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a signer is not pickled or copied")


def _checked(made: Made, key: KeyRef, message: bytes, expected: bytes) -> bytes:
    if made.public_key != expected:
        raise Corrupt(f"Vault has another key for {key} than before")
    check_made(ED25519, made.signature, message, expected)
    return made.signature


def account_key(wallet: str, account: str, *, mount: str = "transit") -> TransitKey:
    """Return where the signing key of a wallet's account lies. Refused: malformed."""
    if not _WALLET.fullmatch(wallet):
        raise Refused(Reason.MALFORMED, "a wallet is named in Vault by 1..64 of a-z 0-9 -")
    return TransitKey(f"{wallet}-{account}", mount)


def context_of(traits: ChainTraits, key: KeyRef) -> str:
    """Return what Vault derives one address's key from."""
    return f"strongroom/{traits.purpose}/{traits.coin_type}/{key.account}/{key.index}"
