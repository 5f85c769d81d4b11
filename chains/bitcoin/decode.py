"""The independent decoder: what a payload does, read from its bytes alone.

A payload is a partially signed transaction (BIP-174, version 0) without signatures. Each input is a
coin of the chain's own kind (chains.bitcoin.kinds), which one key spends; its amount is what the
whole transaction it comes from says, whose hash the input names, never what somebody claims
(otherwise two signatures over wrong amounts combine to one transaction whose fee nobody saw). Every
signature covers every input and output. Whose coins and whose change they are, the guard finds out
with its own keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chains.base import NATIVE, Decoded, Effect, FeeRate, Input
from chains.bitcoin.address import address_of_script, is_unspendable
from chains.bitcoin.kinds import KEY_HASH, OwnKind, kind_of
from chains.bitcoin.params import SUPPLY_MAX, BitcoinParams
from chains.bitcoin.psbt import Psbt, PsbtInput, read_psbt
from chains.bitcoin.tx import OutPoint, Tx, TxIn, TxOut, undecodable
from core.errors import Reason, Refused

VERSION = 2
SEQUENCE = 0xFFFFFFFD
"""Replaceable by a higher fee, no lock in time relative to the coin. Sources: BIP-125, BIP-68."""
LOCK_IS_TIME = 500_000_000
"""A lock below is a height, from here on a time."""
WEIGHT_MAX = 400_000
"""Nodes relay nothing heavier."""

_MARK_WEIGHT = 2
_DUST_RATE = 3
"""Relay policy's price of a byte where it asks whether a coin is worth its spending."""
_SPEND_BYTES_WITNESS = 32 + 4 + 1 + 107 // 4 + 4
_SPEND_BYTES_OLD = 32 + 4 + 1 + 107 + 4


@dataclass(frozen=True, slots=True)
class Spend:
    """A transaction whose coins are proven."""

    tx: Tx
    coins: tuple[TxOut, ...]
    """What each input spends, in the inputs' order."""
    kind: OwnKind = KEY_HASH
    """Of what kind they all are."""

    @property
    def fee(self) -> int:
        """Return what the outputs leave of the coins; never negative."""
        paid = sum(coin.amount for coin in self.coins)
        return paid - sum(output.amount for output in self.tx.outputs)

    @property
    def size(self) -> int:
        """Return the virtual bytes of the signed transaction at their most."""
        weight = 4 * len(self.tx.stripped) + _MARK_WEIGHT
        weight += self.kind.witness_weight * len(self.coins)
        return -(-weight // 4)


def read_spend(payload: bytes, kind: OwnKind = KEY_HASH) -> Spend:
    """Read a payload and prove the amounts of its coins, which are all of this kind.

    Refused: too_large, unknown_version, undecodable, amount_out_of_range, unproven_amount,
    foreign_input, signature_scope.
    """
    psbt = read_psbt(payload)
    outpoints = [one.outpoint for one in psbt.tx.inputs]
    if len(set(outpoints)) != len(outpoints):
        raise undecodable("a coin is spent twice")
    spend = Spend(psbt.tx, _proven(psbt, kind), kind)
    if sum(coin.amount for coin in spend.coins) > SUPPLY_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the coins exceed all that can exist")
    if spend.fee < 0:
        raise Refused(Reason.UNPROVEN_AMOUNT, "more is paid than the coins are proven to hold")
    if spend.size * 4 > WEIGHT_MAX:
        raise Refused(Reason.TOO_LARGE, "heavier than nodes relay")
    return spend


def decode(payload: bytes, params: BitcoinParams, *, height: Callable[[], int]) -> Decoded:
    """Read a payload: all inputs with their digests, all outputs as effects, change included.

    height is asked only for a transaction that is locked to one. Refused: as read_spend, and
    extra_effect (an output to no address, such as OP_RETURN), forbidden_destination,
    below_minimum (dust), fee_above_cap (the rate).
    """
    spend = read_spend(payload, kind_of(params))
    _check_policy(spend.tx, height)
    effects = tuple(_effect(output, params) for output in spend.tx.outputs)
    if spend.fee > params.fee_cap * spend.size:
        raise Refused(
            Reason.FEE_ABOVE_CAP, f"{spend.fee} for {spend.size} bytes; at most {params.fee_cap}"
        )
    return Decoded(
        network=params.network,
        nonce=0,
        effects=effects,
        fee_max=spend.fee,
        digest=spend.tx.tx_hash,
        inputs=_inputs(spend, params),
    )


def rate_of(payload: bytes, kind: OwnKind = KEY_HASH) -> FeeRate:
    """Return the rate a payload pays, rounded up: whoever replaces it pays more than all of it.

    Refused: as read_spend.
    """
    spend = read_spend(payload, kind)
    rate = -(-spend.fee // spend.size)
    return FeeRate(max_rate=rate, tip_rate=rate)


def digests_of(spend: Spend) -> tuple[bytes, ...]:
    """Return the 32 bytes that each input's signature signs. Sources: BIP-143, BIP-341."""
    return spend.kind.digests(spend.tx, spend.coins)


def dust_limit(script: bytes) -> int:
    """Return the least amount that nodes relay to a script: less would not pay for its spending.

    Source: Bitcoin Core, policy/policy.cpp, GetDustThreshold at 3 native units per byte.
    """
    size = len(TxOut(0, script).serialise())
    is_witness = script[:1] in (b"\x00", b"\x51") and len(script) in (22, 34)
    return _DUST_RATE * (size + (_SPEND_BYTES_WITNESS if is_witness else _SPEND_BYTES_OLD))


def _proven(psbt: Psbt, kind: OwnKind) -> tuple[TxOut, ...]:
    told: Sequence[tuple[TxIn, PsbtInput]] = tuple(zip(psbt.tx.inputs, psbt.inputs, strict=True))
    coins = tuple(_coin(spent.outpoint, one) for spent, one in told)
    for coin, (_, one) in zip(coins, told, strict=True):
        if not kind.owns(coin.script):
            raise Refused(Reason.FOREIGN_INPUT, "a coin of another kind than our own ones")
        if one.scope not in (None, kind.scope):
            raise Refused(Reason.SIGNATURE_SCOPE, f"a signature of scope {one.scope:#x}")
    return coins


def _coin(outpoint: OutPoint, told: PsbtInput) -> TxOut:
    if told.previous is None:
        raise _unproven(outpoint, "the transaction it comes from is missing")
    if told.previous.tx_hash != outpoint.tx_hash:
        raise _unproven(outpoint, "it comes from another transaction")
    if outpoint.index >= len(told.previous.outputs):
        raise _unproven(outpoint, "its transaction has no such output")
    coin = told.previous.outputs[outpoint.index]
    if told.output not in (None, coin):
        raise _unproven(outpoint, "it is not what it is claimed to be")
    return coin


def _check_policy(tx: Tx, height: Callable[[], int]) -> None:
    if tx.version != VERSION:
        raise undecodable(f"version {tx.version} is never built")
    if any(one.sequence != SEQUENCE for one in tx.inputs):
        raise undecodable("every input says that the transaction may be replaced, and no more")
    if tx.locktime >= LOCK_IS_TIME:
        raise undecodable("locked to a time")
    if tx.locktime and tx.locktime > height():
        raise undecodable(f"locked until height {tx.locktime}")


def _effect(output: TxOut, params: BitcoinParams) -> Effect:
    address = address_of_script(output.script, params.place)
    if address is None:
        raise Refused(Reason.EXTRA_EFFECT, "an output pays to no address")
    if is_unspendable(output.script):
        raise Refused(Reason.FORBIDDEN_DESTINATION, address)
    if output.amount < dust_limit(output.script):
        raise Refused(Reason.BELOW_MINIMUM, f"{output.amount} is dust")
    return Effect(NATIVE, address, output.amount)


def _inputs(spend: Spend, params: BitcoinParams) -> tuple[Input, ...]:
    found = []
    parts = zip(spend.tx.inputs, spend.coins, digests_of(spend), strict=True)
    for spent, coin, digest in parts:
        owner = address_of_script(coin.script, params.place)
        assert owner is not None, "a coin of the own kind has an address"
        found.append(Input(spent.outpoint.text, owner, coin.amount, digest))
    return tuple(found)


def _unproven(outpoint: OutPoint, detail: str) -> Refused:
    return Refused(Reason.UNPROVEN_AMOUNT, f"{outpoint.text}: {detail}")
