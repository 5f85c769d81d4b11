"""Decoding what owners sign without their descriptor: the payload brings the script, hashed.

What a wallet's coins pay to is the hash of its script (or a taproot key made with it), so a told
script is proven by the sender's address alone. Whether its keys are the roster's owners is the
judge's business, who has the descriptor (chains.bitcoin.treasury).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chains.base import NATIVE, Decoded, Effect, Input
from chains.bitcoin.address import address_of_script, is_unspendable, script_of
from chains.bitcoin.decode import WEIGHT_MAX, dust_limit
from chains.bitcoin.hashes import sha256
from chains.bitcoin.params import SUPPLY_MAX, BitcoinParams
from chains.bitcoin.psbt_fields import IN_LEAF, IN_SCRIPT, Fields, Parts, of_kind, one_of_kind
from chains.bitcoin.sighash import ALL, DEFAULT, WitnessV0
from chains.bitcoin.tapscript import (
    LEAF_VERSION,
    NOBODYS_KEY,
    control_block,
    leaf_hash,
    output_script,
    script_digest,
    tweaked,
)
from chains.bitcoin.treasury import check_policy, proven, signed_size, witness_weight
from chains.bitcoin.tx import TxOut, undecodable, write_blob
from core.errors import Reason, Refused

_CHECK_MULTI_SIG = b"\xae"


@dataclass(frozen=True, slots=True)
class OwnersScript:
    """A script that several keys satisfy, as its bytes say."""

    script: bytes
    threshold: int
    keys: tuple[bytes, ...]
    """In the script's order; of a taproot script their x coordinates."""
    is_taproot: bool


def may_be_owned(sender_script: bytes) -> bool:
    """Tell whether coins of this script may be several owners'."""
    return len(sender_script) == 34 and sender_script[:2] in (b"\x00\x20", b"\x51\x20")


def is_owned(parts: Parts, sender_script: bytes) -> bool:
    """Tell whether a payload is one that several owners sign."""
    if len(sender_script) == 34 and sender_script.startswith(b"\x00\x20"):
        return True
    return any(True for _ in of_kind(parts.inputs[0], IN_LEAF))


def decode_owned(
    parts: Parts, params: BitcoinParams, *, sender: str, height: Callable[[], int]
) -> Decoded:
    """Read a payload: all inputs with their digests, all outputs as effects, change included.

    height is asked only for a transaction that is locked to one. Refused: undecodable,
    foreign_input (a coin that is not the sender's), unproven_amount, extra_effect,
    forbidden_destination, below_minimum, fee_above_cap, too_large.
    """
    paid_to = script_of(sender, params.place)
    outpoints = [one.outpoint for one in parts.tx.inputs]
    if len(set(outpoints)) != len(outpoints):
        raise undecodable("a coin is spent twice")
    coins = tuple(
        proven(outpoint, fields, paid_to)
        for outpoint, fields in zip(outpoints, parts.inputs, strict=True)
    )
    (script,) = {_script(fields, paid_to) for fields in parts.inputs}
    check_policy(parts.tx, height)
    effects = tuple(_effect(output, params) for output in parts.tx.outputs)
    held = sum(coin.amount for coin in coins)
    fee = held - sum(output.amount for output in parts.tx.outputs)
    if held > SUPPLY_MAX:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "the coins exceed all that can exist")
    if fee < 0:
        raise Refused(Reason.UNPROVEN_AMOUNT, "more is paid than the coins are proven to hold")
    weight = witness_weight(
        script.script, script.threshold, len(script.keys), is_taproot=script.is_taproot
    )
    size = signed_size(parts.tx, weight)
    if size * 4 > WEIGHT_MAX:
        raise Refused(Reason.TOO_LARGE, "heavier than nodes relay")
    if fee > params.fee_cap * size:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{fee} for {size} bytes; at most {params.fee_cap}")
    inputs = tuple(
        Input(outpoint.text, sender, coin.amount, digest)
        for outpoint, coin, digest in zip(
            outpoints, coins, _digests(parts, coins, script), strict=True
        )
    )
    return Decoded(
        network=params.network,
        nonce=0,
        effects=effects,
        fee_max=fee,
        digest=parts.tx.tx_hash,
        inputs=inputs,
        source_is_contract=True,
    )


def _script(fields: Fields, paid_to: bytes) -> OwnersScript:
    """Return the script that a coin is told to have, proven by what it pays to."""
    told = one_of_kind(fields, IN_SCRIPT)
    if told is not None and b"\x00\x20" + sha256(told) == paid_to:
        return read_owners_script(told, is_taproot=False)
    for proof, leaf in of_kind(fields, IN_LEAF):
        script, version = leaf[:-1], leaf[-1:]
        made = output_script(tweaked(NOBODYS_KEY, leaf_hash(script)).key)
        if version == bytes((LEAF_VERSION,)) and made == paid_to and proof == control_block(script):
            return read_owners_script(script, is_taproot=True)
    raise Refused(Reason.FOREIGN_INPUT, "the script of a coin is missing, or it is another one")


def read_owners_script(script: bytes, *, is_taproot: bool) -> OwnersScript:
    """Read M of N keys in the one form that is written here. Refused: undecodable."""
    if len(script) < 36:
        raise undecodable("a script of another form")
    if is_taproot:
        owners, tail = divmod(len(script), 34)
        threshold = script[-2] - 0x50 if tail == 2 else 0
    else:
        owners, tail = divmod(len(script) - 3, 34)
        threshold = script[0] - 0x50 if not tail else 0
    if not 1 <= threshold <= owners <= 16:
        raise undecodable("a script of another form")
    if is_taproot:
        keys = [script[at + 1 : at + 33] for at in range(0, 34 * owners, 34)]
        made = b"".join(
            write_blob(key) + (b"\xba" if number else b"\xac") for number, key in enumerate(keys)
        )
        made += bytes((0x50 + threshold, 0x9C))
    else:
        keys = [script[at + 1 : at + 34] for at in range(1, 1 + 34 * owners, 34)]
        made = bytes((0x50 + threshold,)) + b"".join(map(write_blob, sorted(keys)))
        made += bytes((0x50 + owners,)) + _CHECK_MULTI_SIG
    if made != script:
        raise undecodable("a script of another form")
    return OwnersScript(script, threshold, tuple(keys), is_taproot)


def _digests(parts: Parts, coins: tuple[TxOut, ...], script: OwnersScript) -> tuple[bytes, ...]:
    if script.is_taproot:
        return tuple(
            script_digest(parts.tx, coins, index, script=script.script, scope=DEFAULT)
            for index in range(len(coins))
        )
    hasher = WitnessV0(parts.tx)
    return tuple(
        hasher.digest(index, script.script, amount=coin.amount, scope=ALL)
        for index, coin in enumerate(coins)
    )


def _effect(output: TxOut, params: BitcoinParams) -> Effect:
    address = address_of_script(output.script, params.place)
    if address is None:
        raise Refused(Reason.EXTRA_EFFECT, "an output pays to no address")
    if is_unspendable(output.script):
        raise Refused(Reason.FORBIDDEN_DESTINATION, address)
    if output.amount < dust_limit(output.script):
        raise Refused(Reason.BELOW_MINIMUM, f"{output.amount} is dust")
    return Effect(NATIVE, address, output.amount)
