"""Public keys of accounts that have no public derivation, each with the signer's word for it.

Ed25519 has no extended public keys, and neither have keys that were made inside a token. So the
signer makes them ahead of their use (custody.wallets.key_stock keeps them), and says of each

canonical message strongroom/issued-key, version 1
    chain s · network s · curve s · account s · key_index i · public_key b

signed by its attestation key (custody.keys.attestation). Whoever takes a key from a table believes
it only as far as this proof goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from chains.base import ChainTraits
from core.errors import Reason, Refused
from custody.keys import canonical
from custody.keys.attestation import AttestationKey, check_proof
from custody.keys.signers.base import KeyRef, Signer

TAG = "strongroom/issued-key"
VERSION = 1


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A public key that exists in the signer, and the signer's word for it."""

    account: str
    index: int
    public_key: bytes
    proof: bytes


def encode(traits: ChainTraits, account: str, index: int, public_key: bytes) -> bytes:
    """Return the bytes that are signed. Refused: malformed."""
    fields = (traits.chain, traits.network, traits.curve, account, index, public_key)
    return canonical.encode(TAG, VERSION, fields)


def make_issued(
    traits: ChainTraits, signer: Signer, key: AttestationKey, account: str, first: int, count: int
) -> list[IssuedKey]:
    """Make keys where they must be made, and say what they are; runs in the signer.

    Refused: unknown_key, too_large, main_network. Unavailable: the keys cannot be reached.
    """
    if not signer.network_allowed(traits):
        raise Refused(Reason.MAIN_NETWORK, "this signer has no business on that network")
    signer.make_keys(account, first, count)
    made = []
    for index in range(first, first + count):
        public_key = signer.public_key(KeyRef(account, index))
        proof = key.sign(encode(traits, account, index, public_key))
        made.append(IssuedKey(account, index, public_key, proof))
    return made


def check_issued(attestation_key: bytes, traits: ChainTraits, issued: IssuedKey) -> None:
    """Return when the signer said this of a key. Refused: bad_attestation."""
    try:
        message = encode(traits, issued.account, issued.index, issued.public_key)
    except Refused as refused:
        raise Refused(Reason.BAD_ATTESTATION, "what it says cannot be said") from refused
    check_proof(attestation_key, message, issued.proof)
