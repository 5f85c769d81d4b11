"""The independent decoder: what a payload does, read from its bytes alone.

It knows exactly two things to do with money, a plain transfer of the native coin and `transfer`
of a token, in a type-2 transaction without access list or in one of a contract wallet
(chains.evm.wallet_payload), an account's call of its own payer, which does many of them
(chains.evm.batch_payload), and the authorisations of chains.evm.delegation_payload. It refuses
everything else: other types, contract creation, other selectors, longer or shorter call data,
non-canonical or trailing bytes, messages that are no transaction. Own code over chains.evm.rlp;
the builder uses libraries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from eth_hash.auto import keccak

from chains.base import Decoded, FeeRate
from chains.evm import batch_payload, delegation_payload, relay_payload, rlp, wallet_payload
from chains.evm.address import raw_address
from chains.evm.batch_call import BATCH_GAS_MAX
from chains.evm.judged_calls import check_network, effect_of
from chains.evm.params import PLAIN_TRANSFER_GAS, EvmParams
from core.errors import Reason, Refused

_TYPE = b"\x02"
_LIST = b"\xc0"
_FIELDS = 9
_OLD_FIELDS = 6
_JSON_MAX = 1 << 16
_PAYLOAD_MAX = 512
_BATCH_MAX = batch_payload.PAYLOAD_MAX


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


def read_fields(payload: bytes, *, size_max: int = _PAYLOAD_MAX) -> Fields:
    """Read an unsigned type-2 transaction. Refused: undecodable."""
    if len(payload) > max(size_max, _BATCH_MAX) or payload[:1] != _TYPE:
        raise _refusal("only a short type-2 transaction is understood")
    items = rlp.decode(payload[1:])
    if isinstance(items, bytes) or len(items) != _FIELDS:
        raise _refusal("a type-2 transaction has nine unsigned fields")
    access_list = items[8]
    if isinstance(access_list, bytes) or len(access_list):
        raise _refusal("an access list is never used")
    to, data = rlp.decode_bytes(items[5]), rlp.decode_bytes(items[7])
    if len(payload) > size_max and data[:4] != batch_payload.PAY_SELECTOR:
        raise _refusal("only short type-2 transactions and batches are understood")
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
        data=data,
    )


def decode(payload: bytes, params: EvmParams, *, sender: str) -> Decoded:
    """Read a payload of any kind.

    Refused: undecodable, wrong_network, missing_network, delegate_call, approval_call,
    owner_change, unknown_call, extra_effect, intent_mismatch (of another contract wallet),
    fee_above_cap (rate or gas).
    """
    if payload.startswith(wallet_payload.PREFIX):
        return wallet_payload.decode_wallet(payload, params, sender=sender)
    if payload.startswith(delegation_payload.PREFIX):
        return delegation_payload.decode_delegation(payload, params)
    if payload.startswith(relay_payload.PREFIX):
        return _decode_relay(payload, params)
    if payload[:1] >= _LIST:
        _refuse_type_0(payload, params)
    if payload[:1] == b"{":
        _refuse_typed_data(payload)
    return _decode_type_2(payload, params, sender=raw_address(sender))


def _decode_type_2(payload: bytes, params: EvmParams, *, sender: bytes) -> Decoded:
    fields = read_fields(payload)
    if batch_payload.is_batch_call(sender, fields.to, fields.data):
        call = batch_payload.read_pay_call(fields.data)
        batch_payload.check_gas(call, fields.gas, fields.value, params)
        outside = _decode_outside(payload, fields, params, gas_max=BATCH_GAS_MAX)
        return replace(outside, effects=call.effects, is_batch=True, runs_own_code=True)
    outside = _decode_outside(payload, fields, params)
    return replace(outside, effects=(effect_of(fields.to, fields.value, fields.data),))


def _decode_relay(payload: bytes, params: EvmParams) -> Decoded:
    wallet_nonce, transaction = relay_payload.read_relay_payload(payload)
    fields = read_relayed(transaction)
    if fields.value:
        raise _refusal("a relayer gives a wallet nothing")
    outer = _decode_outside(transaction, fields, params)
    return relay_payload.decode_relay(outer, wallet_nonce, fields.to, fields.data, params)


def read_relayed(transaction: bytes) -> Fields:
    """Read a relayer's type-2 transaction, which may be longer. Refused: undecodable."""
    return read_fields(transaction, size_max=relay_payload.TRANSACTION_MAX)


def transaction_in(payload: bytes) -> bytes:
    """Return the unsigned type-2 transaction of a payload. Refused: undecodable (there is none)."""
    if payload.startswith(relay_payload.PREFIX):
        _, transaction = relay_payload.read_relay_payload(payload)
        read_relayed(transaction)
        return transaction
    read_fields(payload)
    return payload


def _decode_outside(
    payload: bytes, fields: Fields, params: EvmParams, *, gas_max: int | None = None
) -> Decoded:
    """Read what a type-2 transaction costs and where it holds."""
    if fields.tip_rate > fields.max_rate:
        raise _refusal("the tip is above the highest rate")
    if fields.gas < PLAIN_TRANSFER_GAS:
        raise _refusal("the gas can never suffice")
    check_network(fields.chain_number, params.chain_number)
    if fields.max_rate > params.fee_cap or fields.gas > (gas_max or params.gas_cap):
        raise Refused(Reason.FEE_ABOVE_CAP, f"{fields.gas} gas at {fields.max_rate} wei")
    return Decoded(
        network=params.network,
        nonce=fields.nonce,
        effects=(),
        fee_max=fields.gas * fields.max_rate,
        digest=keccak(payload),
    )


def rate_of(payload: bytes) -> FeeRate:
    """Return the rate a payload carries, nothing where its sender pays none.

    Refused: undecodable.
    """
    if payload.startswith((wallet_payload.PREFIX, delegation_payload.PREFIX)):
        return FeeRate(0, 0)
    if payload.startswith(relay_payload.PREFIX):
        fields = read_relayed(relay_payload.read_relay_payload(payload)[1])
    else:
        fields = read_fields(payload)
    return FeeRate(max_rate=fields.max_rate, tip_rate=fields.tip_rate)


def _refuse_type_0(payload: bytes, params: EvmParams) -> None:
    """Say of an old transaction what it lacks: EIP-155's chain number, or it is another's."""
    items = rlp.decode(payload) if len(payload) <= _PAYLOAD_MAX else b""
    if isinstance(items, list) and len(items) == _OLD_FIELDS:
        raise Refused(Reason.MISSING_NETWORK, "a transaction before EIP-155 holds everywhere")
    if isinstance(items, list) and len(items) == _FIELDS and items[7:] == [b"", b""]:
        check_network(rlp.decode_int(items[6]), params.chain_number)
    raise _refusal("only transactions of type 2 are understood")


def _refuse_typed_data(payload: bytes) -> None:
    """Say of typed data (EIP-712, as JSON) whether it would let somebody take tokens."""
    try:
        page = json.loads(payload[:_JSON_MAX])
        primary = str(page["primaryType"]) if isinstance(page, dict) else ""
    except (ValueError, KeyError, RecursionError):
        primary = ""
    if primary.startswith("Permit"):
        raise Refused(Reason.APPROVAL_CALL, f"typed data of type {primary[:64]!a}")
    raise _refusal("typed data is never signed")


def _number(item: rlp.Item, bits: int) -> int:
    number = rlp.decode_int(item)
    if number >> bits:
        raise _refusal(f"a number exceeds {bits} bits")
    return number


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, detail)
