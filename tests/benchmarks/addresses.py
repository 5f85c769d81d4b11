"""Deposit addresses from an account's public key, beside bip-utils; the floor is a point sum."""

from __future__ import annotations

import contextlib

import coincurve
from bip_utils import (  # type: ignore[import-untyped]
    Bip32Slip10Secp256k1,
    EthAddrEncoder,
)

from chains.evm.address import checksum, from_public_key
from custody.keys.derivation import AccountKeys
from tests.benchmarks.measure import Contest

XPUB = (
    "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4Ze"
    "ZXYVUhLv1VMrjPC7PW6V"
)
"""The account of BIP-84's first test vector would be a zpub; this is BIP-44's of the same words."""
COUNT = 2_000


def contests(_stack: contextlib.ExitStack) -> list[Contest]:
    """Return the contest over the same indexes of the same account."""
    keys = AccountKeys(XPUB)
    external = Bip32Slip10Secp256k1.FromExtendedKey(XPUB).ChildKey(0)

    def ours() -> int:
        for index in range(COUNT):
            checksum(from_public_key(keys.public_key(index)))
        return COUNT

    def peer() -> int:
        for index in range(COUNT):
            child = external.ChildKey(index).PublicKey()
            EthAddrEncoder.EncodeKey(child.KeyObject())
        return COUNT

    def floor() -> int:
        point = coincurve.PublicKey(keys.public_key(0))
        for index in range(COUNT):
            point.add((index + 1).to_bytes(32, "big")).format()
        return COUNT

    for index in (0, 1, 999):
        child = external.ChildKey(index).PublicKey()
        assert EthAddrEncoder.EncodeKey(child.KeyObject()) == checksum(
            from_public_key(keys.public_key(index))
        )
    return [
        Contest(
            "addresses", "EVM addresses", ours, peer, "bip-utils", floor, "point addition",
            ">= 10 x bip-utils once native",
        )
    ]  # fmt: skip
