"""Blocks of 2 000 outputs each, mined by a real node on a network of its own, and kept in a file.

Two shapes: twenty payments to a hundred, as platforms pay, and a thousand payments with change, as
people pay. Scripts are drawn from a seed in the shares in which they are paid to; one in a hundred
is watched.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chains.bitcoin.hashes import sha256
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut
from infra.devnet.coin_nodes import MATURITY, MINER, MINER_WITNESS, CoreNode, start_core

OUTPUTS = 2_000
SHAPES = {"20 payments to 100": 100, "1,000 payments to 2": 2}
WATCHED_EVERY = 100
FEE = 10_000
SEED = 6

_SIZE = struct.Struct("<I")
_MINER_SCRIPT = b"\x00\x20" + sha256(MINER_WITNESS)


@dataclass(frozen=True, slots=True)
class Mined:
    """A block as the node gives it."""

    height: int
    hash: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Mine:
    """Blocks of one shape and the scripts in them that are watched."""

    blocks: tuple[Mined, ...]
    watched: tuple[bytes, ...]

    @property
    def outputs(self) -> int:
        """Return how many outputs all blocks have, those of the first transactions included."""
        return len(self.blocks) * (OUTPUTS + 2)

    def write(self, path: Path) -> None:
        """Write the blocks for a reader in another process: 4 bytes of size before each."""
        path.write_bytes(b"".join(_SIZE.pack(len(one.raw)) + one.raw for one in self.blocks))


def mined(per_payment: int, blocks: int) -> Mine:
    """Have a node mine blocks of payments to so many outputs each."""
    dice = random.Random(f"{SEED} {per_payment}")
    payments = OUTPUTS // per_payment
    watched: list[bytes] = []
    found = []
    with start_core() as node:
        coins = _coins(node, payments * blocks)
        for _ in range(blocks):
            txs = []
            for _ in range(payments):
                coin, amount = next(coins)
                each = (amount - FEE) // per_payment
                outputs = tuple(TxOut(each, script_of(dice)) for _ in range(per_payment))
                watched += (one.script for one in outputs if not dice.randrange(WATCHED_EVERY))
                txs.append(_spent(coin, outputs).serialise().hex())
            found.append(_block(node, node.call("generateblock", MINER, txs)["hash"]))
    return Mine(tuple(found), tuple(watched))


def script_of(dice: random.Random) -> bytes:
    """Return an output script: of a key's hash, taproot, the two old kinds, or a script's hash."""
    kind, program = dice.random(), dice.randbytes(32)
    if kind < 0.6:
        return b"\x00\x14" + program[:20]
    if kind < 0.8:
        return b"\x51\x20" + program
    if kind < 0.9:
        return b"\x76\xa9\x14" + program[:20] + b"\x88\xac"
    if kind < 0.97:
        return b"\xa9\x14" + program[:20] + b"\x87"
    return b"\x00\x20" + program


def watched_scripts(count: int) -> Iterator[bytes]:
    """Yield so many scripts that nothing in the blocks pays to."""
    dice = random.Random(SEED)
    for _ in range(count):
        yield b"\x00\x14" + dice.randbytes(20)


def _coins(node: CoreNode, count: int) -> Iterator[tuple[OutPoint, int]]:
    """Yield coins that everybody may spend: what was mined, split as often as needed."""
    per_tx = 500
    hashes = node.mine(count // per_tx + 1)
    node.mine(MATURITY)
    for block_hash in hashes:
        tx_id, amount = _reward(node, block_hash)
        each = (amount - 10 * FEE) // per_tx
        split = _spent(_outpoint(tx_id, 0), (TxOut(each, _MINER_SCRIPT),) * per_tx)
        node.call("generateblock", MINER, [split.serialise().hex()])
        for index in range(per_tx):
            yield OutPoint(split.tx_hash, index), each


def _reward(node: CoreNode, block_hash: str) -> tuple[str, int]:
    tx = node.call("getblock", block_hash, 2)["tx"][0]
    return tx["txid"], round(tx["vout"][0]["value"] * 10**8)


def _outpoint(tx_id: str, index: int) -> OutPoint:
    return OutPoint(bytes.fromhex(tx_id)[::-1], index)


def _spent(coin: OutPoint, outputs: tuple[TxOut, ...]) -> Tx:
    return Tx(2, (TxIn(coin, 0xFFFFFFFD),), outputs, 0, ((MINER_WITNESS,),))


def _block(node: CoreNode, block_hash: str) -> Mined:
    height = node.call("getblockheader", block_hash)["height"]
    return Mined(height, block_hash, bytes.fromhex(node.call("getblock", block_hash, 0)))
