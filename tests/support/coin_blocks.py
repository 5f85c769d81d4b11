"""Blocks of a test network: written by the tests' own hand, with the little work that it takes."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from chains.bitcoin.hashes import sha256_twice
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, write_count

EASY_BITS = 0x207FFFFF
NO_COIN = OutPoint(bytes(32), 0xFFFFFFFF)
SUBSIDY = 50 * 10**8


@dataclass(frozen=True, slots=True)
class Written:
    """A block as bytes and the hash that names it."""

    raw: bytes
    hash: str
    height: int


def height_push(height: int) -> bytes:
    """Return what the first transaction of a block begins with (BIP-34)."""
    if height <= 16:
        return bytes((0x50 + height,)) + b"\x00"
    size = height.bit_length() // 8 + 1
    return bytes((size,)) + height.to_bytes(size, "little")


def coinbase(height: int, *outputs: TxOut) -> Tx:
    """Return the first transaction of a block."""
    paid = outputs or (TxOut(SUBSIDY, b"\x51"),)
    source = TxIn(NO_COIN, 0xFFFFFFFF, height_push(height))
    return Tx(2, (source,), paid, 0).signed(((bytes(32),),))


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the merkle root."""
    level = list(hashes)
    while len(level) > 1:
        level += level[-1:] if len(level) % 2 else []
        level = [
            sha256_twice(left + right) for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return level[0]


def sealed(
    body: bytes, root: bytes, *, height: int, bits: int = EASY_BITS, parent: bytes = bytes(32),
    enough: bool = True,
) -> Written:  # fmt: skip
    """Return a block around these bytes; without `enough` its work is one that falls short."""
    for nonce in range(1000):
        header = (
            struct.pack("<I", 0x20000000) + parent + root
            + struct.pack("<III", 1_700_000_000 + height, bits, nonce)
        )  # fmt: skip
        digest = sha256_twice(header)
        if (digest[31] < 0x7F) == enough:
            return Written(header + body, digest[::-1].hex(), height)
    raise AssertionError("half of all numbers are enough")


def block_of(height: int, txs: Sequence[Tx], *, parent: bytes = bytes(32)) -> Written:
    """Return a block with a coinbase and these transactions."""
    every = [coinbase(height), *txs]
    body = write_count(len(every)) + b"".join(tx.serialise() for tx in every)
    return sealed(body, root_of([tx.tx_hash for tx in every]), height=height, parent=parent)


def random_tx(dice: random.Random) -> Tx:
    """Return a transaction of any shape that a block may hold."""
    inputs = tuple(
        TxIn(
            OutPoint(dice.randbytes(32), dice.randrange(1 << 32)),
            dice.randrange(1 << 32),
            dice.randbytes(dice.choice((0, 23, 107, 253, 300))),
        )
        for _ in range(dice.choice((1, 1, 2, 3, 254)))
    )
    outputs = tuple(
        TxOut(dice.randrange(10**9), dice.randbytes(dice.choice((0, 1, 22, 25, 34, 252, 253, 600))))
        for _ in range(dice.choice((1, 2, 3, 260)))
    )
    tx = Tx(dice.choice((1, 2, 3, 0xFFFFFFFF)), inputs, outputs, dice.randrange(1 << 32))
    if dice.random() < 0.3:
        return tx
    witnesses = [
        tuple(dice.randbytes(dice.choice((0, 33, 72, 260))) for _ in range(dice.randrange(4)))
        for _ in inputs
    ]
    witnesses[0] = (b"\x01", *witnesses[0])
    return tx.signed(tuple(witnesses))
