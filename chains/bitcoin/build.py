"""The builder: from an intent and chosen coins to the payload that the decoder judges.

It writes its bytes itself and shares with the decoder neither reader nor writer; only addresses
are common. Source: BIP-174.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import NATIVE, SpendIntent, SpendKind, UnsignedTx
from chains.bitcoin.address import script_of
from chains.bitcoin.params import BitcoinParams
from chains.bitcoin.psbt import PSBT_BYTES_MAX
from core.errors import Reason, Refused
from core.money import require_int

_DUST = {22: 294, 34: 330, 25: 546, 23: 540}
"""Least amount by length of script. Source: Bitcoin Core at its default dust rate."""


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin that was chosen to be spent, with the whole transaction that made it."""

    tx_id: str
    index: int
    amount: int
    previous: bytes


def build(
    intent: SpendIntent,
    params: BitcoinParams,
    *,
    coins: Sequence[Coin],
    change_address: str,
    rate: int,
) -> UnsignedTx:
    """Build the one transaction of an intent; its inputs stand in the order of the coins.

    What the coins hold above amount and fee goes back to change_address, or to the fee where it
    would be dust. A cancellation pays everything back to the intent's source.

    Refused: intent_mismatch, zero_amount, invalid_address, wrong_network, forbidden_destination,
    exceeds_available, fee_above_cap, too_large.
    """
    _check(intent, params, coins)
    destination = script_of(intent.destination, params.place)
    change = script_of(change_address, params.place)
    outputs = [] if intent.kind is SpendKind.CANCELLATION else [(intent.amount, destination)]
    if intent.kind is SpendKind.CANCELLATION:
        change = destination
    held = sum(require_int(coin.amount) for coin in coins)
    with_change = _size(len(coins), [*outputs, (0, change)]) * require_int(rate, "rate")
    rest = held - intent.amount - with_change
    if rest >= _DUST[len(change)]:
        outputs.append((rest, change))
    outputs.sort()
    fee = held - sum(amount for amount, _ in outputs)
    least = _size(len(coins), outputs) * rate
    if not outputs or fee < least:
        raise Refused(Reason.EXCEEDS_AVAILABLE, f"the coins hold {held}, the fee is {least}")
    if fee > intent.fee_max or fee > params.fee_cap * _size(len(coins), outputs):
        raise Refused(Reason.FEE_ABOVE_CAP, f"the transaction costs {fee}")
    raw = _transaction(coins, outputs)
    digest = hashlib.sha256(hashlib.sha256(raw).digest()).digest()
    payload = _wrapped(raw, coins, outputs)
    if len(payload) > PSBT_BYTES_MAX:
        raise Refused(Reason.TOO_LARGE, "the coins come from too large transactions; choose fewer")
    return UnsignedTx(params.chain, intent.source, 0, payload, digest, fee)


def _check(intent: SpendIntent, params: BitcoinParams, coins: Sequence[Coin]) -> None:
    if (intent.chain, intent.network) != (params.chain, params.network):
        raise Refused(Reason.INTENT_MISMATCH, "the intent names another network")
    if intent.asset_key != NATIVE:
        raise Refused(Reason.INTENT_MISMATCH, "there is one asset on this chain")
    if intent.kind is SpendKind.BATCH:
        raise Refused(Reason.INTENT_MISMATCH, "there are no batches here yet")
    if intent.kind is SpendKind.CANCELLATION:
        if intent.amount or intent.destination != intent.source:
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation pays nothing but to its sender")
    elif require_int(intent.amount) == 0:
        raise Refused(Reason.ZERO_AMOUNT, "nothing would be moved")
    if not coins or len({(coin.tx_id, coin.index) for coin in coins}) != len(coins):
        raise Refused(Reason.EXCEEDS_AVAILABLE, "coins are chosen, each of them once")


def _size(inputs: int, outputs: Sequence[tuple[int, bytes]]) -> int:
    """Return the virtual bytes once signed, at most. Source: BIP-141."""
    plain = 8 + len(_count(inputs)) + 41 * inputs + len(_count(len(outputs)))
    plain += sum(9 + len(script) for _, script in outputs)
    return plain + (2 + 108 * inputs + 3) // 4


def _transaction(coins: Sequence[Coin], outputs: Sequence[tuple[int, bytes]]) -> bytes:
    parts = [struct.pack("<I", 2), _count(len(coins))]
    for coin in coins:
        name = bytes.fromhex(coin.tx_id)[::-1]
        parts.append(name + struct.pack("<IBI", coin.index, 0, 0xFFFFFFFD))
    parts.append(_count(len(outputs)))
    for amount, script in outputs:
        parts.append(struct.pack("<QB", amount, len(script)) + script)
    parts.append(struct.pack("<I", 0))
    return b"".join(parts)


def _wrapped(raw: bytes, coins: Sequence[Coin], outputs: Sequence[tuple[int, bytes]]) -> bytes:
    maps = [b"\x01\x00" + _count(len(raw)) + raw]
    maps += [b"\x01\x00" + _count(len(coin.previous)) + coin.previous for coin in coins]
    maps += [b"" for _ in outputs]
    return b"psbt\xff" + b"".join(one + b"\x00" for one in maps)


def _count(number: int) -> bytes:
    if number < 253:
        return struct.pack("<B", number)
    if number < 1 << 16:
        return struct.pack("<BH", 253, number)
    return struct.pack("<BI", 254, number)
