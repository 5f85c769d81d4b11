"""The two kinds of coins that one key spends: what is signed of them, and by what they are known.

A chain is opened with one of them, for all of its own addresses: the hash of a key in a version-0
witness program (BIP-84), or a taproot key that commits to no script (BIP-86). The signer's keys are
the same points; under taproot they sign as the tweaked key that the address has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import coincurve

from chains.bitcoin.address import is_own_kind, script_of_key, taproot_script_of_key
from chains.bitcoin.params import BitcoinParams
from chains.bitcoin.sighash import ALL, DEFAULT, TaprootKeyPath, WitnessV0
from chains.bitcoin.signature import SIGNATURE_BYTES, recover, strict_encoding
from chains.bitcoin.tx import Tx, TxOut
from core.errors import Reason, Refused

ECDSA_CURVE = "secp256k1"
TAPROOT_CURVE = "bip340"
TAPROOT_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class OwnKind:
    """One kind of own coin."""

    purpose: int
    """First step of its keys' paths. Sources: BIP-84, BIP-86."""
    curve: str
    """How its keys sign (ChainTraits.curve)."""
    script_of_key: Callable[[bytes], bytes]
    """Script that pays to a compressed public key. Refused: malformed."""
    owns: Callable[[bytes], bool]
    """Whether a script is of this kind."""
    scope: int
    """What every signature covers: all inputs and outputs, in this kind's number."""
    witness_weight: int
    """Most that one input's witness weighs."""
    signature_bytes: int
    """Of one signature as signers make it."""
    digests: Callable[[Tx, Sequence[TxOut]], tuple[bytes, ...]]
    """The 32 bytes that each input's signature signs, for the coins that they spend."""
    witness: Callable[[bytes, bytes, bytes], tuple[bytes, ...]]
    """Witness of (signature, digest, script). Refused: bad_signature."""


def _key_hash_digests(tx: Tx, coins: Sequence[TxOut]) -> tuple[bytes, ...]:
    hasher = WitnessV0(tx)
    return tuple(
        hasher.key_digest(index, key_hash=coin.script[2:], amount=coin.amount)
        for index, coin in enumerate(coins)
    )


def _key_hash_witness(signature: bytes, digest: bytes, script: bytes) -> tuple[bytes, ...]:
    public_key = recover(digest, signature)
    if script_of_key(public_key) != script:
        raise Refused(Reason.BAD_SIGNATURE, "the coin belongs to another key")
    return strict_encoding(signature) + bytes((ALL,)), public_key


def _taproot_digests(tx: Tx, coins: Sequence[TxOut]) -> tuple[bytes, ...]:
    hasher = TaprootKeyPath(tx, coins)
    return tuple(hasher.digest(index) for index in range(len(coins)))


def _taproot_witness(signature: bytes, digest: bytes, script: bytes) -> tuple[bytes, ...]:
    try:
        is_valid = coincurve.PublicKeyXOnly(script[2:]).verify(signature, digest)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise Refused(Reason.BAD_SIGNATURE, "the coin belongs to another key")
    return (signature,)


def _is_taproot(script: bytes) -> bool:
    return len(script) == 34 and script.startswith(b"\x51\x20")


KEY_HASH = OwnKind(
    purpose=84,
    curve=ECDSA_CURVE,
    script_of_key=script_of_key,
    owns=is_own_kind,
    scope=ALL,
    witness_weight=1 + 1 + 72 + 1 + 33,
    signature_bytes=SIGNATURE_BYTES,
    digests=_key_hash_digests,
    witness=_key_hash_witness,
)
"""Low s, so a signature has at most 71 bytes, and its scope."""
TAPROOT_KEY = OwnKind(
    purpose=86,
    curve=TAPROOT_CURVE,
    script_of_key=taproot_script_of_key,
    owns=_is_taproot,
    scope=DEFAULT,
    witness_weight=1 + 1 + 64,
    signature_bytes=TAPROOT_SIGNATURE_BYTES,
    digests=_taproot_digests,
    witness=_taproot_witness,
)
KINDS = {kind.purpose: kind for kind in (KEY_HASH, TAPROOT_KEY)}


def kind_of(params: BitcoinParams) -> OwnKind:
    """Return the kind of coins that a chain's own addresses have."""
    return KINDS[params.purpose]


def control_of(params: BitcoinParams) -> str:
    """Return the scheme that proves control of a chain's own addresses; empty: none yet."""
    return f"bip322{params.place.human_part}" if kind_of(params) is KEY_HASH else ""
