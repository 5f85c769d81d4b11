"""The independent decoder: what a payload does, read from its bytes alone.

It knows exactly two things to do with money, a plain transfer of the native coin and `transfer`
of a token, both in a type-2 transaction without access list, and refuses everything else: other
types, contract creation, other selectors (approve, setApprovalForAll, execTransaction, …),
longer or shorter call data, non-canonical or trailing bytes. Own code over chains.evm.rlp; the
builder uses libraries.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_hash.auto import keccak

from chains.base import NATIVE, Decoded, Effect, FeeRate
from chains.evm import rlp
from chains.evm.address import checksum
from chains.evm.erc20 import read_transfer_call
from chains.evm.params import PLAIN_TRANSFER_GAS, EvmParams
from core.errors import Reason, Refused

_TYPE = b"\x02"
_FIELDS = 9
_PAYLOAD_MAX = 512


@dataclass(frozen=True, slots=True)
class Fields:
    """The nine fields of an unsigned type-2 transaction."""

    chain_number: int
    nonce: int
    tip_rate: int
    max_rate: int
    gas: int
    to: bytes
    value: int
    data: bytes


def read_fields(payload: bytes) -> Fields:
    """Read an unsigned type-2 transaction. Refused: undecodable."""
    if len(payload) > _PAYLOAD_MAX or payload[:1] != _TYPE:
        raise _refusal("only a short type-2 transaction is understood")
    items = rlp.decode(payload[1:])
    if isinstance(items, bytes) or len(items) != _FIELDS:
        raise _refusal("a type-2 transaction has nine unsigned fields")
    access_list = items[8]
    if isinstance(access_list, bytes) or len(access_list):
        raise _refusal("an access list is never used")
    to = rlp.decode_bytes(items[5])
    if len(to) != 20:
        raise _refusal("a contract creation is never signed")
    return Fields(
        chain_number=_number(items[0], 64),
        nonce=_number(items[1], 64),
        tip_rate=_number(items[2], 256),
        max_rate=_number(items[3], 256),
        gas=_number(items[4], 64),
        to=to,
        value=_number(items[6], 256),
        data=rlp.decode_bytes(items[7]),
    )


def effect_of(fields: Fields) -> Effect:
    """Map the call to the one movement it makes. Refused: undecodable."""
    if not fields.data:
        return Effect(NATIVE, checksum(fields.to), fields.value)
    call = read_transfer_call(fields.data)
    if call is None:
        raise _refusal("call data is not exactly transfer(address,uint256)")
    if fields.value:
        raise _refusal("a token transfer carries no native coin")
    destination, amount = call
    return Effect(checksum(fields.to), checksum(destination), amount)


def decode(payload: bytes, params: EvmParams) -> Decoded:
    """Read a payload. Refused: undecodable (also another chain id), fee_above_cap (rate or gas)."""
    fields = read_fields(payload)
    effect = effect_of(fields)
    if fields.chain_number != params.chain_number:
        raise _refusal(f"chain id {fields.chain_number} is not {params.chain_number}")
    if fields.tip_rate > fields.max_rate:
        raise _refusal("the tip is above the highest rate")
    if fields.gas < PLAIN_TRANSFER_GAS:
        raise _refusal("the gas can never suffice")
    if fields.max_rate > params.fee_cap or fields.gas > params.gas_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{fields.gas} gas at {fields.max_rate} wei")
    return Decoded(
        network=params.network,
        nonce=fields.nonce,
        effects=(effect,),
        fee_max=fields.gas * fields.max_rate,
        digest=keccak(payload),
    )


def rate_of(payload: bytes) -> FeeRate:
    """Return the rate a payload carries. Refused: undecodable."""
    fields = read_fields(payload)
    return FeeRate(max_rate=fields.max_rate, tip_rate=fields.tip_rate)


def signed_bytes(payload: bytes, *, parity: int, r: int, s: int) -> bytes:
    """Return the transaction as the network takes it: the payload's items and the signature."""
    items = rlp.decode(payload[1:])
    assert not isinstance(items, bytes)
    return _TYPE + rlp.encode([*items, *map(rlp.encode_int, (parity, r, s))])


def _number(item: rlp.Item, bits: int) -> int:
    number = rlp.decode_int(item)
    if number >> bits:
        raise _refusal(f"a number exceeds {bits} bits")
    return number


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, detail)
