"""Addresses from an account's public key, and signatures of a transaction's inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from bip_utils import Bip32Slip10Secp256k1, P2WPKHAddrEncoder  # type: ignore[import-untyped]
from coincurve import PrivateKey

from chains.bitcoin.address import address_of_script, script_of_key
from chains.bitcoin.hashes import hash160
from chains.bitcoin.params import NETWORKS
from chains.bitcoin.sighash import ALL, WitnessV0
from chains.bitcoin.signature import strict_encoding
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut
from custody.keys.derivation import AccountKeys
from tests.benchmarks.addresses import XPUB
from tests.benchmarks.measure import Contest, Row, measure

ADDRESSES, INPUTS = 2_000, 500
OF_PEER_TENTHS = 25
OF_LIBRARY_PERCENT = 80


def rows() -> Iterator[Row]:
    """Yield the rows of keys."""
    yield _addresses()
    yield _signatures()


def _addresses() -> Row:
    network = NETWORKS["regtest"]
    keys = AccountKeys(XPUB)
    external = Bip32Slip10Secp256k1.FromExtendedKey(XPUB).ChildKey(0)

    def ours() -> int:
        for index in range(ADDRESSES):
            _own(keys, index)
        return ADDRESSES

    def _own(keys: AccountKeys, index: int) -> str:
        address = address_of_script(script_of_key(keys.public_key(index)), network)
        assert address is not None
        return address

    def theirs(index: int) -> str:
        child = external.ChildKey(index).PublicKey().KeyObject()
        return str(P2WPKHAddrEncoder.EncodeKey(child, hrp=network.human_part, wit_ver=0))

    def peer() -> int:
        for index in range(ADDRESSES):
            theirs(index)
        return ADDRESSES

    def floor() -> int:
        for index in range(ADDRESSES):
            keys.public_key(index)
        return ADDRESSES

    for index in (0, 1, 2, ADDRESSES - 1):
        assert _own(keys, index) == theirs(index)
    row = measure(
        Contest(
            "bitcoin, addresses from an xpub", "addresses, checked keys, in Python", ours,
            peer, "bip-utils", floor, "the public key alone",
        )
    )  # fmt: skip
    assert row.peer is not None
    met = 10 * row.ours >= OF_PEER_TENTHS * row.peer
    return replace(row, goal=f"{'met' if met else 'MISSED'}: >= {OF_PEER_TENTHS / 10} x bip-utils")


def _signatures() -> Row:
    dice = random.Random(3)
    keys = [PrivateKey(dice.randbytes(32)) for _ in range(INPUTS)]
    hashes = [hash160(key.public_key.format()) for key in keys]
    inputs = tuple(TxIn(OutPoint(dice.randbytes(32), n), 0xFFFFFFFD) for n in range(INPUTS))
    outputs = tuple(TxOut(10_000, b"\x00\x14" + dice.randbytes(20)) for _ in range(2))
    tx = Tx(2, inputs, outputs, 0)
    ours, floor = _signing(tx, keys, hashes)
    row = measure(
        Contest(
            "bitcoin, signing", f"inputs of a transaction of {INPUTS}", ours, None, "", floor,
            "libsecp256k1 alone, same digests",
        )
    )  # fmt: skip
    assert row.floor is not None
    share = 100 * row.ours // row.floor
    met = share >= OF_LIBRARY_PERCENT
    verdict = f"{'met' if met else 'MISSED'}: >= {OF_LIBRARY_PERCENT} % of the library; {share} %"
    return replace(row, goal=verdict)


def _signing(
    tx: Tx, keys: list[PrivateKey], hashes: list[bytes]
) -> tuple[Callable[[], int], Callable[[], int]]:
    digests = [
        WitnessV0(tx).key_digest(number, key_hash=key_hash, amount=50_000)
        for number, key_hash in enumerate(hashes)
    ]

    def ours() -> int:
        of_tx = WitnessV0(replace(tx))  # nothing hashed before
        witnesses = []
        for number, key in enumerate(keys):
            digest = of_tx.key_digest(number, key_hash=hashes[number], amount=50_000)
            signature = strict_encoding(key.sign_recoverable(digest, hasher=None))
            witnesses.append((signature + bytes((ALL,)), hashes[number]))
        assert tx.signed(tuple(witnesses)).witnesses
        return len(witnesses)

    def floor() -> int:
        for digest, key in zip(digests, keys, strict=True):
            key.sign_recoverable(digest, hasher=None)
        return len(digests)

    return ours, floor
