"""Attestations: the signer's word that an address is ours, and whose.

canonical message strongroom/address, version 1
    chain s · network s · address s · account s · key_index i · customer_no s ("" for own wallets)

signed with Ed25519 (RFC 8032) by the signer's attestation key. The key's public half stands in the
roster, so whoever has the roster can check an address before paying to it; what a row, an answer or
a proxy says proves nothing. The signer attests only to what it derived itself from the private
side, and to one owner per key for ever.

The key is a file of its own beside the seed and does not come from it: keys inside a token have no
seed to derive from, one key serves every chain and backend, and it can be replaced without moving
any money. Whoever loses it makes another, enters it into the next roster and attests anew.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from chains.base import ChainTraits
from core.entropy import Entropy
from core.errors import Corrupt, Reason, Refused
from core.ids import ChainId, CustomerNo
from custody.keys import canonical
from custody.keys.secret import Secret
from custody.keys.signers.base import KeyRef, Signer, wallet_of
from custody.keys.signers.keystore import KdfCost, create_keystore, fresh_seed, open_keystore

DEPOSITS = "deposits"
"""The account of customers' deposit addresses; every other account name is an own wallet."""
ADDRESS_TAG = "strongroom/address"
ADDRESS_VERSION = 1
VERIFIED_MAX = 16_384
"""Proofs that are remembered as good: a list of addresses is shown again and again."""
KEY_TAG = b"strongroom/attestation-key/v1"


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """What an attestation says: this address of this network is this key's and this customer's.

    customer_no: None for an own wallet.
    """

    chain: ChainId
    network: str
    address: str
    account: str
    key_index: int
    customer_no: CustomerNo | None


class Network(Protocol):
    """The part of a chain that turns a key into an address."""

    @property
    def traits(self) -> ChainTraits:
        """Return the chain's facts."""
        ...

    def address_of(self, public_key: bytes) -> str:
        """Return the canonical address of a key."""
        ...


class Owners(Protocol):
    """The signer's own memory of whose each key is."""

    def claim(self, key: KeyRef, customer_no: CustomerNo) -> None:
        """Note a key's owner, durably, before it is attested.

        Refused: exists_with_other_content, when it is somebody else's.
        """
        ...


def encode(claim: AddressClaim) -> bytes:
    """Return the bytes that are signed. Refused: malformed."""
    owner = "" if claim.customer_no is None else str(int(claim.customer_no))
    fields = (claim.chain, claim.network, claim.address, claim.account, claim.key_index, owner)
    return canonical.encode(ADDRESS_TAG, ADDRESS_VERSION, fields)


def check_attestation(public_key: bytes, claim: AddressClaim, signature: bytes | None) -> None:
    """Return when the key behind a public key attested exactly this. Refused: bad_attestation."""
    try:
        message = encode(claim)
    except Refused as refused:
        raise Refused(Reason.BAD_ATTESTATION, "what it says cannot be said") from refused
    check_proof(public_key, message, signature)


def check_proof(public_key: bytes, message: bytes, signature: bytes | None) -> None:
    """Return when a message has the attestation key's signature. Refused: bad_attestation."""
    if signature is None:
        raise Refused(Reason.BAD_ATTESTATION, "nothing attests to it")
    try:
        _verify(public_key, message, signature)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Refused(Reason.BAD_ATTESTATION, "the signer did not attest to this") from error


@lru_cache(VERIFIED_MAX)
def _verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Verify; what verified once is known to, and what did not is tried again."""
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)


def check_document(
    document: Mapping[str, object], *, public_key: str, chain: ChainId, customer_no: CustomerNo
) -> str:
    """Return the address of an answer of the API that says what the signer attested to.

    Nothing in the answer is believed: the chain and the customer are those who ask, and the key is
    known from elsewhere (64 hex digits). Refused: bad_attestation.
    """
    address, account, network, index, signature = (
        document.get(name) for name in ("address", "account", "network", "key_index", "attestation")
    )
    is_typed = isinstance(address, str) and isinstance(account, str) and isinstance(network, str)
    if not (is_typed and type(index) is int and isinstance(signature, str)):
        raise Refused(Reason.BAD_ATTESTATION, "the answer carries no attestation")
    if account != DEPOSITS:
        raise Refused(Reason.BAD_ATTESTATION, "the answer is no deposit address")
    try:
        key, proof = bytes.fromhex(public_key), bytes.fromhex(signature)
    except ValueError as error:
        raise Refused(Reason.BAD_ATTESTATION, "a key and a signature are hex digits") from error
    claim = AddressClaim(chain, str(network), str(address), DEPOSITS, index, customer_no)
    check_attestation(key, claim, proof)
    return str(address)


class AttestationKey:
    """The signer's Ed25519 key for messages of our own domains; never for anything on a chain."""

    __slots__ = ("_key", "public_key")

    def __init__(self, secret: Secret) -> None:
        # Hashed under a tag of its own: a seed that is given by mistake betrays no key of a chain.
        self._key = Ed25519PrivateKey.from_private_bytes(
            hmac.digest(KEY_TAG, secret.reveal(), "sha256")
        )
        self.public_key = self._key.public_key().public_bytes_raw()

    @classmethod
    def create(
        cls, path: Path, passphrase: Secret, *, entropy: Entropy, cost: KdfCost | None = None
    ) -> AttestationKey:
        """Make a key and write it into a keystore. Refused: as create_keystore."""
        secret = fresh_seed(entropy)
        create_keystore(path, passphrase, secret, entropy=entropy, cost=cost)
        return cls(secret)

    @classmethod
    def open(cls, path: Path, passphrase: Secret) -> AttestationKey:
        """Open a key's keystore. Refused: as open_keystore."""
        return cls(open_keystore(path, passphrase))

    def sign(self, message: bytes) -> bytes:
        """Sign a canonical message, verified after making. Corrupt when it does not verify."""
        signature = self._key.sign(message)
        try:
            check_proof(self.public_key, message, signature)
        except Refused as refused:
            raise Corrupt("the attestation key made a signature that does not verify") from refused
        return signature

    def __repr__(self) -> str:
        return f"<AttestationKey {self.public_key.hex()[:16]}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an attestation key is not pickled or copied")


def attest_address(
    claim: AddressClaim,
    *,
    chain: Network,
    signer: Signer,
    key: AttestationKey,
    owners: Owners,
) -> bytes:
    """Return the attestation of an address that this signer's own key derives to.

    Refused: unknown_chain (not this chain), wrong_network, unknown_key (no such key, or it is
    another address's), malformed (a deposit address without customer, an own wallet with one),
    exists_with_other_content (the key was attested to somebody else).
    """
    traits = chain.traits
    if claim.chain != traits.chain:
        raise Refused(Reason.UNKNOWN_CHAIN, claim.chain)
    if claim.network != traits.network:
        raise Refused(Reason.WRONG_NETWORK, claim.network)
    if not signer.network_allowed(traits):
        raise Refused(Reason.MAIN_NETWORK, "this signer has no business on that network")
    message, ref = encode(claim), KeyRef(claim.account, claim.key_index)
    if (wallet_of(ref.account) == DEPOSITS) != (claim.customer_no is not None):
        raise Refused(Reason.MALFORMED, "deposit addresses have an owner, own wallets have none")
    if chain.address_of(signer.public_key(ref)) != claim.address:
        raise Refused(Reason.UNKNOWN_KEY, f"{claim.account}/{claim.key_index} is another address")
    if claim.customer_no is not None:
        owners.claim(ref, claim.customer_no)
    return key.sign(message)
