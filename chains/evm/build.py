"""The builder: one type-2 transaction for one intent, by library code (rlp, eth-account).

The decoder (chains.evm.decode) shares nothing with it. Source: EIP-1559, EIP-2718.
"""

from __future__ import annotations

from chains.base import NATIVE, FeeRate, SpendIntent, SpendKind, UnsignedTx, check_batch
from chains.evm.address import checksum, raw_address
from chains.evm.batch_call import BATCH_GAS_MAX, item_gas_of, needed_gas, pay_call
from chains.evm.erc20 import transfer_call
from chains.evm.params import EvmParams
from core.errors import Corrupt, Reason, Refused
from core.money import require_int

TRANSACTION_TYPE = 2
NONCE_LIMIT = (1 << 64) - 1


def call_of(intent: SpendIntent) -> tuple[bytes, int, bytes]:
    """Return (to, value, data) that carry out an intent."""
    destination = raw_address(intent.destination)
    if intent.kind is SpendKind.BATCH:
        return destination, 0, pay_call(intent)
    if intent.asset_key == NATIVE:
        return destination, intent.amount, b""
    return raw_address(intent.asset_key), 0, transfer_call(destination, intent.amount)


def check_intent(intent: SpendIntent, params: EvmParams) -> None:
    """Refuse an intent of another network or of nothing.

    Refused: intent_mismatch, zero_amount, …
    """
    if intent.chain != params.chain or intent.network != params.network:
        raise Refused(Reason.INTENT_MISMATCH, "the intent names another network")
    if require_int(intent.amount) >= 1 << 256:
        raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "an amount fits 256 bits")
    if intent.kind is SpendKind.DELEGATION:
        raise Refused(Reason.INTENT_MISMATCH, "a delegation is no transaction")
    if intent.kind is SpendKind.CANCELLATION:
        if (intent.asset_key, intent.amount) != (NATIVE, 0) or intent.destination != intent.source:
            raise Refused(Reason.INTENT_MISMATCH, "a cancellation pays nothing to its own sender")
    elif intent.amount == 0:
        raise Refused(Reason.ZERO_AMOUNT, "nothing would be moved")
    if intent.kind is SpendKind.BATCH:
        check_batch(intent)


def _gas_cap(intent: SpendIntent, units: int, params: EvmParams) -> int:
    if intent.kind is not SpendKind.BATCH:
        return params.gas_cap
    if units < needed_gas(len(intent.items), item_gas_of(intent)):
        raise Refused(Reason.MALFORMED, f"{units} gas do not suffice for every item")
    return BATCH_GAS_MAX


def build(
    intent: SpendIntent, params: EvmParams, *, nonce: int, rate: FeeRate, units: int
) -> UnsignedTx:
    """Build the one transaction of an intent.

    Refused: fee_above_cap, intent_mismatch, invalid_address.
    """
    check_intent(intent, params)
    if not 0 <= require_int(nonce, "nonce") < NONCE_LIMIT:
        raise Refused(Reason.MALFORMED, "a nonce fits 64 bits")
    if not 0 <= rate.tip_rate <= rate.max_rate:
        raise Refused(Reason.MALFORMED, "the tip is part of the highest rate")
    fee_max = require_int(units, "units") * rate.max_rate
    gas_cap = _gas_cap(intent, units, params)
    if rate.max_rate > params.fee_cap or units > gas_cap or fee_max > intent.fee_max:
        raise Refused(Reason.FEE_ABOVE_CAP, f"the transaction may cost {fee_max}")
    to, value, data = call_of(intent)
    payload, digest = serialise(params.chain_number, nonce, rate, units, to, value, data)
    sender = checksum(raw_address(intent.source))
    return UnsignedTx(params.chain, sender, nonce, payload, digest, fee_max)


def serialise(
    chain_number: int, nonce: int, rate: FeeRate, units: int, to: bytes, value: int, data: bytes
) -> tuple[bytes, bytes]:
    """Return an unsigned type-2 transaction and its digest, on which two libraries agree."""
    # Imported here: together they cost half a second that a reader never needs.
    import rlp  # type: ignore[import-untyped]
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from eth_hash.auto import keccak

    fees = [rate.tip_rate, rate.max_rate, units]
    items: list[object] = [chain_number, nonce, *fees, to, value, data, []]
    payload = bytes((TRANSACTION_TYPE,)) + bytes(rlp.encode(items))
    digest = keccak(payload)
    second = TypedTransaction.from_dict(
        {
            "type": TRANSACTION_TYPE,
            "chainId": chain_number,
            "nonce": nonce,
            "maxPriorityFeePerGas": rate.tip_rate,
            "maxFeePerGas": rate.max_rate,
            "gas": units,
            "to": to,
            "value": value,
            "data": data,
            "accessList": (),
        }
    ).hash()
    if digest != second:
        raise Corrupt("two libraries hash one transaction differently")
    return payload, digest
