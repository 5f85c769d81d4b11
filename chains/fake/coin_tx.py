"""Transactions of the fake chain where it spends coins: values, encoding, and the way back.

    payload   = version 1 | kind 4 | network (u8 length, text)
                | count u16 x (transaction 32 | output u32 | owner 20 | amount u256)
                | count u8 x (to 20 | amount u256)
    digest    = sha256(tag, payload, input u32), one for each input
    raw       = payload | (r 32 | s 32 | recovery id 1), one for each input
    tx id     = sha256(tag, payload)

What the coins have more than the outputs is the fee; there is no nonce.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import Coin, FeeRate
from chains.fake import address
from chains.fake.tx import SIGNATURE_SIZE, VERSION, checked
from core.errors import Reason, Refused

KIND_COINS = 4
INPUTS_MAX = 500
OUTPUTS_MAX = 100
UNITS_BASE = 10
UNITS_INPUT = 7
UNITS_OUTPUT = 3
_COIN_SIZE = 32 + 4 + 20 + 32
_OUTPUT_SIZE = 20 + 32


@dataclass(frozen=True, slots=True)
class CoinTx:
    """What an unsigned transaction says: coins it uses up, and whom it pays how much."""

    network: str
    inputs: tuple[Coin, ...]
    outputs: tuple[tuple[str, int], ...]

    @property
    def fee(self) -> int:
        """Return what is left to the miner, in native units."""
        spent = sum(coin.amount for coin in self.inputs)
        return spent - sum(amount for _, amount in self.outputs)

    @property
    def rate(self) -> int:
        """Return the fee of one unit of its space."""
        return self.fee // units_of(len(self.inputs), len(self.outputs))


@dataclass(frozen=True, slots=True)
class SignedCoinTx:
    """A transaction together with its name, as a node takes it in."""

    tx_id: str
    tx: CoinTx
    raw: bytes


def units_of(inputs: int, outputs: int) -> int:
    """Return the units that a transaction takes."""
    return UNITS_BASE + inputs * UNITS_INPUT + outputs * UNITS_OUTPUT


def is_coins(payload: bytes) -> bool:
    """Return whether a payload is of this kind."""
    return payload[1:2] == bytes((KIND_COINS,))


def encode(tx: CoinTx) -> bytes:
    """Write the canonical payload. Raises OverflowError for numbers wider than their field."""
    network = tx.network.encode("ascii")
    rows = [bytes((VERSION, KIND_COINS, len(network))), network]
    rows.append(len(tx.inputs).to_bytes(2, "big"))
    for coin in tx.inputs:
        name, _, position = coin.outpoint.partition(":")
        rows += [
            bytes.fromhex(name), int(position).to_bytes(4, "big"),
            address.to_body(coin.owner, tx.network), coin.amount.to_bytes(32, "big"),
        ]  # fmt: skip
    rows.append(len(tx.outputs).to_bytes(1, "big"))
    for to, amount in tx.outputs:
        rows += [address.to_body(to, tx.network), amount.to_bytes(32, "big")]
    return b"".join(rows)


def read(payload: bytes) -> CoinTx:
    """Read an unsigned payload, all of it. Refused: undecodable."""
    tx, size = _read(payload)
    if size != len(payload):
        raise _undecodable(f"{len(payload)} bytes instead of {size}")
    return tx


def read_signed(raw: bytes) -> SignedCoinTx:
    """Read signed bytes as a node does. Refused: undecodable, bad_signature."""
    tx, size = _read(raw)
    payload, signatures = raw[:size], raw[size:]
    return SignedCoinTx(id_of(payload), tx, payload + check_signatures(payload, tx, signatures))


def check_signatures(payload: bytes, tx: CoinTx, signatures: bytes) -> bytes:
    """Return the signatures of a transaction, one for each input. Refused: bad_signature."""
    if len(signatures) != SIGNATURE_SIZE * len(tx.inputs):
        raise Refused(Reason.BAD_SIGNATURE, "one signature for each input")
    for index, coin in enumerate(tx.inputs):
        one = signatures[index * SIGNATURE_SIZE : (index + 1) * SIGNATURE_SIZE]
        checked(one, input_digest(payload, index), signer=coin.owner, network=tx.network)
    return signatures


def input_digest(payload: bytes, index: int) -> bytes:
    """Return the 32 bytes that the owner of one input signs."""
    tagged = b"strongroom/fake/coin/v1" + payload + index.to_bytes(4, "big")
    return hashlib.sha256(tagged).digest()


def id_of(payload: bytes) -> str:
    """Return the transaction's name, which no signature changes."""
    return hashlib.sha256(b"strongroom/fake/coins/v1" + payload).hexdigest()


def rate_of(payload: bytes) -> FeeRate:
    """Return the rate that a payload pays; all of it goes to the miner. Refused: undecodable."""
    rate = read(payload).rate
    return FeeRate(max_rate=rate, tip_rate=rate)


def _read(raw: bytes) -> tuple[CoinTx, int]:
    if raw[:2] != bytes((VERSION, KIND_COINS)) or len(raw) < 3:
        raise _undecodable("unknown version or kind of transaction")
    at = 3 + raw[2]
    network = raw[3:at]
    if not network or not network.isascii() or not network.decode().isprintable():
        raise _undecodable("the network is not printable text")
    name = network.decode()
    count, at = int.from_bytes(raw[at : at + 2], "big"), at + 2
    rows, at = _rows(raw, at, count, _COIN_SIZE, INPUTS_MAX)
    inputs = tuple(
        Coin(
            f"{row[:32].hex()}:{int.from_bytes(row[32:36], 'big')}",
            address.to_text(row[36:56], name), int.from_bytes(row[56:], "big"),
        )
        for row in rows
    )  # fmt: skip
    count, at = int.from_bytes(raw[at : at + 1], "big"), at + 1
    rows, at = _rows(raw, at, count, _OUTPUT_SIZE, OUTPUTS_MAX)
    outputs = tuple(
        (address.to_text(row[:20], name), int.from_bytes(row[20:], "big")) for row in rows
    )
    tx = CoinTx(name, inputs, outputs)
    if len({coin.outpoint for coin in inputs}) != len(inputs) or tx.fee < 0:
        raise _undecodable("a coin is spent twice, or more is paid than there is")
    return tx, at


def _rows(raw: bytes, at: int, count: int, size: int, most: int) -> tuple[Sequence[bytes], int]:
    end = at + count * size
    if not 1 <= count <= most or len(raw) < end:
        raise _undecodable(f"{count} rows of {size} bytes")
    return [raw[start : start + size] for start in range(at, end, size)], end


def _undecodable(why: str) -> Refused:
    return Refused(Reason.UNDECODABLE, why)
