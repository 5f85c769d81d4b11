"""Coins, keys and payloads of a test network, with a writer of partially signed transactions.

The writer is the tests' own and writes what it is told, also what no reader may accept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from btclib.script.engine import verify_transaction
from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import tx as library
from btclib.tx.tx_out import TxOut as LibraryTxOut

from chains.base import NATIVE, SpendIntent, SpendKind, UnsignedTx
from chains.base import Coin as SeamCoin
from chains.bitcoin.address import script_of
from chains.bitcoin.build import Coin
from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.decode import VERSION, read_spend
from chains.bitcoin.hashes import sha256_twice
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.params import COIN, NETWORKS, BitcoinParams
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut
from chains.rpc import TIMEOUT_MS, NodeSet, RpcClient
from core.ids import ChainId
from custody.keys.second import base58check_decode, base58check_encode
from custody.keys.secret import Secret
from custody.keys.signers import KeyRef, LocalSigner

CHAIN = ChainId("coins")
LOCAL = NETWORKS["regtest"]
PARAMS = BitcoinParams(CHAIN, "regtest", fee_floor=1, fee_cap=200, reorg_limit=100)
SEED = bytes(range(64))
STRANGER = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
"""The program of BIP-173's examples: nobody's key here."""
FEE = 10_000
HOT = KeyRef("hot", 0)
CHANGE = KeyRef("hot", 5)


def open_chain(
    *urls: str, params: BitcoinParams = PARAMS, quorum: int = 1, timeout_ms: int = TIMEOUT_MS
) -> BitcoinChain:
    """Return the chain on some nodes; without any on one that never answers."""
    addresses = urls or ("http://127.0.0.1:9",)
    clients = [RpcClient(url, attempts=1, timeout_ms=timeout_ms) for url in addresses]
    nodes = tuple(map(BitcoinNode, clients))
    return BitcoinChain(params, NodeSet(nodes, quorum))


OFFLINE = open_chain()


def open_signer(seed: bytes = SEED) -> LocalSigner:
    """Return the keys of a seed on the test network."""
    return LocalSigner(Secret(seed), OFFLINE.traits)


SIGNER = open_signer()


def address_of(key: KeyRef) -> str:
    """Return the address of a key of SIGNER."""
    return OFFLINE.address_of(SIGNER.public_key(key))


def descriptor_of(account: str) -> str:
    """Return what tells a node to look for an account's addresses, from its xpub alone."""
    # The node wants the test network's version in front; the rest of the text is the same key.
    body = base58check_decode(SIGNER.account_xpub(account))
    assert body is not None
    return f"wpkh({base58check_encode(bytes.fromhex('043587cf') + body[4:])}/0/*)"


def funding(address: str, *amounts: int, salt: int = 0) -> Tx:
    """Return a transaction that pays these amounts to an address, one output each."""
    source = TxIn(OutPoint(sha256_twice(salt.to_bytes(8, "little")), 0), 0xFFFFFFFF)
    script = script_of(address, LOCAL)
    tx = Tx(2, (source,), tuple(TxOut(amount, script) for amount in amounts), 0)
    return tx.signed(((b"\x01" * 71, b"\x02" * 33),))


def coin_of(tx: Tx, index: int = 0) -> Coin:
    """Return an output of a transaction as a coin to spend."""
    return Coin(tx.tx_id, index, tx.outputs[index].amount, tx.serialise())


def named(coins: Sequence[Coin], owner: str = "") -> tuple[SeamCoin, ...]:
    """Return coins as custody names them; whose they are, by default the hot wallet's."""
    return tuple(
        SeamCoin(f"{coin.tx_id}:{coin.index}", owner or address_of(HOT), coin.amount)
        for coin in coins
    )


def intent_of(destination: str, amount: int, **changes: object) -> SpendIntent:
    """Return an intent of the hot wallet."""
    intent = SpendIntent(
        spend_id="spend-1",
        kind=SpendKind.WITHDRAWAL,
        cause_id="withdrawal-1",
        chain=CHAIN,
        network=PARAMS.network,
        asset_key=NATIVE,
        source=address_of(HOT),
        destination=destination,
        amount=amount,
        fee_max=100_000,
    )
    return replace(intent, **changes)  # type: ignore[arg-type]


Pair = tuple[bytes, bytes]
"""A whole key, its type in front, and a value."""


@dataclass(frozen=True, slots=True)
class DraftInput:
    """One input as it will be written."""

    tx_id: str
    index: int
    previous: bytes | None
    output: bytes | None = None
    scope: int | None = None
    sequence: int = 0xFFFFFFFD
    script: bytes = b""
    more: tuple[Pair, ...] = ()

    def pairs(self) -> list[Pair]:
        """Return the fields of its map."""
        found: list[Pair] = []
        if self.previous is not None:
            found.append((b"\x00", self.previous))
        if self.output is not None:
            found.append((b"\x01", self.output))
        if self.scope is not None:
            found.append((b"\x03", struct.pack("<I", self.scope)))
        return [*found, *self.more]


@dataclass(frozen=True, slots=True)
class DraftOutput:
    """One output as it will be written."""

    amount: int
    script: bytes
    more: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that a payload says, to be changed one thing at a time."""

    inputs: tuple[DraftInput, ...]
    outputs: tuple[DraftOutput, ...]
    version: int = VERSION
    locktime: int = 0
    magic: bytes = b"psbt\xff"
    more: tuple[Pair, ...] = ()
    raw: bytes | None = None
    """The unsigned transaction, where it is not to be written from the rest."""
    edit: Callable[[bytes], bytes] = bytes
    """What is done to the finished bytes."""

    def changed(self, **changes: object) -> Self:
        """Return the same draft with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def with_input(self, number: int, **changes: object) -> Self:
        """Return the same draft with one input changed."""
        inputs = list(self.inputs)
        inputs[number] = replace(inputs[number], **changes)  # type: ignore[arg-type]
        return self.changed(inputs=tuple(inputs))

    def with_output(self, number: int, **changes: object) -> Self:
        """Return the same draft with one output changed."""
        outputs = list(self.outputs)
        outputs[number] = replace(outputs[number], **changes)  # type: ignore[arg-type]
        return self.changed(outputs=tuple(outputs))

    def transaction(self) -> bytes:
        """Return the unsigned transaction."""
        if self.raw is not None:
            return self.raw
        parts = [struct.pack("<I", self.version), compact(len(self.inputs))]
        for one in self.inputs:
            outpoint = bytes.fromhex(one.tx_id)[::-1] + struct.pack("<I", one.index)
            script = compact(len(one.script)) + one.script
            parts.append(outpoint + script + struct.pack("<I", one.sequence))
        parts.append(compact(len(self.outputs)))
        for output in self.outputs:
            script = compact(len(output.script)) + output.script
            parts.append(struct.pack("<Q", output.amount) + script)
        return b"".join([*parts, struct.pack("<I", self.locktime)])

    def payload(self) -> bytes:
        """Return the bytes that a signer is asked to judge."""
        maps = [[(b"\x00", self.transaction()), *self.more]]
        maps += [one.pairs() for one in self.inputs]
        maps += [list(output.more) for output in self.outputs]
        return self.edit(self.magic + b"".join(map(write_map, maps)))

    def unsigned(self, sender: str | None = None) -> UnsignedTx:
        """Return what a builder would hand over with this payload."""
        held = sum(_amount(one) for one in self.inputs)
        return UnsignedTx(
            chain=CHAIN,
            sender=sender or address_of(HOT),
            nonce=0,
            payload=self.payload(),
            digest=sha256_twice(self.transaction()),
            fee_max=held - sum(output.amount for output in self.outputs),
        )


def draft_of(coins: Sequence[Coin], *outputs: tuple[str, int]) -> Draft:
    """Return an honest draft that spends coins to addresses."""
    return Draft(
        tuple(DraftInput(coin.tx_id, coin.index, coin.previous) for coin in coins),
        tuple(DraftOutput(amount, script_of(address, LOCAL)) for address, amount in outputs),
    )


def compact(number: int) -> bytes:
    """Return a count as the network writes it."""
    if number < 253:
        return bytes((number,))
    return struct.pack("<BH", 253, number) if number < 1 << 16 else struct.pack("<BI", 254, number)


def write_map(pairs: Sequence[Pair]) -> bytes:
    """Return one map of a partially signed transaction."""
    blobs = [blob for pair in pairs for blob in pair]
    return b"".join(compact(len(blob)) + blob for blob in blobs) + b"\x00"


def sign_all(unsigned: UnsignedTx, *keys: KeyRef, signer: LocalSigner = SIGNER) -> bytes:
    """Return one signature per input, in their order."""
    decoded = OFFLINE.decode(unsigned.payload, sender=unsigned.sender)
    pairs = zip(keys, decoded.inputs, strict=True)
    return b"".join(signer.sign(key, one.digest) for key, one in pairs)


def check_by_library(payload: bytes, raw: bytes) -> None:
    """Run every input's script in the second library's engine; it raises unless all hold."""
    coins = read_spend(payload).coins
    outputs = [LibraryTxOut(coin.amount, ScriptPubKey(coin.script)) for coin in coins]
    verify_transaction(outputs, library.Tx.parse(raw))


def _amount(one: DraftInput) -> int:
    """Return what the coin of an input holds, 0 where nothing says it."""
    if one.previous is None:
        return 0
    outputs = library.Tx.parse(one.previous).vout
    return outputs[one.index].value if one.index < len(outputs) else 0


@dataclass(frozen=True, slots=True)
class Wallet:
    """Three coins of the hot wallet, an honest withdrawal over two of them."""

    coins: tuple[Coin, ...] = field(
        default_factory=lambda: (
            coin_of(funding(address_of(HOT), 3 * COIN, COIN, salt=1)),
            coin_of(funding(address_of(HOT), COIN, 2 * COIN, salt=2), 1),
            coin_of(funding(address_of(HOT), 7 * COIN, salt=3)),
        )
    )

    def intent(self, **changes: object) -> SpendIntent:
        """Return the withdrawal of four coins to a stranger."""
        return intent_of(STRANGER, 4 * COIN, **changes)

    def draft(self) -> Draft:
        """Return the transaction that carries it out: 3 + 2 in, 4 to the stranger, change."""
        change = COIN - FEE
        return draft_of(self.coins[:2], (STRANGER, 4 * COIN), (address_of(CHANGE), change))
