"""Builds what a Safe's owners sign and what a relayer sends, by libraries (eth-abi, eth-account).

The decoders (chains.evm.wallet_payload, relay_payload) share nothing with it but the byte format of
the payload. What an owner signs is EIP-712 typed data; gas is never refunded and never zero, so
that an inner call that fails uses the wallet's nonce up and its signatures with it: with zero a
failed execution reverts as a whole and the signatures stay good. Source: EIP-712; Safe 1.5.0,
Safe.sol execTransaction, OwnerManager.sol; MultiSendCallOnly.sol.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from chains.base import NATIVE, Effect, UnsignedTx
from chains.evm.address import checksum, raw_address
from chains.evm.erc20 import transfer_call
from chains.evm.params import EvmParams
from chains.evm.wallet_payload import (
    CALL,
    CALLS_MAX,
    DELEGATE_CALL,
    WalletTransaction,
    encode_wallet_payload,
    wallet_digest,
)
from chains.multisig import OWNERS, WalletState, changes_owners
from chains.typed_data import typed_data_digest
from core.errors import Corrupt, Reason, Refused
from core.money import require_int

ZERO = "0x" + "00" * 20
_FIRST = "0x" + "00" * 19 + "01"
TYPES: dict[str, list[dict[str, str]]] = {
    "EIP712Domain": [
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "SafeTx": [
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "data", "type": "bytes"},
        {"name": "operation", "type": "uint8"},
        {"name": "safeTxGas", "type": "uint256"},
        {"name": "baseGas", "type": "uint256"},
        {"name": "gasPrice", "type": "uint256"},
        {"name": "gasToken", "type": "address"},
        {"name": "refundReceiver", "type": "address"},
        {"name": "nonce", "type": "uint256"},
    ],
}
EXECUTE = (
    "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
)
Call = tuple[bytes, int, bytes]


def calls_of(wallet: str, effects: Sequence[Effect], state: WalletState) -> list[Call]:
    """Return (to, value, data) for each effect, in order.

    Refused: zero_amount, not_an_owner, intent_mismatch, too_large.
    """
    if not 1 <= len(effects) <= CALLS_MAX:
        raise Refused(Reason.TOO_LARGE, f"a wallet's transaction has 1..{CALLS_MAX} effects")
    return [_call(wallet, effect, state, alone=len(effects) == 1) for effect in effects]


def build_payload(
    params: EvmParams,
    wallet: str,
    effects: Sequence[Effect],
    *,
    nonce: int,
    units: int,
    state: WalletState,
) -> UnsignedTx:
    """Build a Safe's transaction; several effects travel in the pinned MultiSendCallOnly.

    Refused: as calls_of, fee_above_cap, malformed (the network has no MultiSendCallOnly).
    """
    calls = calls_of(wallet, effects, state)
    if not 0 < units <= params.gas_cap:
        raise Refused(Reason.FEE_ABOVE_CAP, f"{units} gas inside a wallet's transaction")
    (to, value, data), operation = calls[0], CALL
    if len(calls) > 1:
        to, value, data = raw_address(multisend_of(params)), 0, _multisend(calls)
        operation = DELEGATE_CALL
    zero = bytes(20)
    read = WalletTransaction(
        chain_number=params.chain_number,
        safe=raw_address(wallet),
        to=to,
        value=value,
        data=data,
        operation=operation,
        safe_tx_gas=units,
        base_gas=0,
        gas_price=0,
        gas_token=zero,
        refund_receiver=zero,
        nonce=require_int(nonce, "nonce"),
    )
    digest = typed_data_digest(document_of(read))
    if digest != wallet_digest(read):
        raise Corrupt("two libraries hash one wallet transaction differently")
    payload = encode_wallet_payload(read)
    return UnsignedTx(params.chain, checksum(raw_address(wallet)), nonce, payload, digest, 0)


def document_of(read: WalletTransaction) -> str:
    """Return the typed data that an owner's device shows; numbers are decimal strings."""
    message = {
        "to": checksum(read.to),
        "value": str(read.value),
        "data": "0x" + read.data.hex(),
        "operation": read.operation,
        "safeTxGas": str(read.safe_tx_gas),
        "baseGas": str(read.base_gas),
        "gasPrice": str(read.gas_price),
        "gasToken": checksum(read.gas_token),
        "refundReceiver": checksum(read.refund_receiver),
        "nonce": str(read.nonce),
    }
    page = {
        "types": TYPES,
        "primaryType": "SafeTx",
        "domain": {"chainId": read.chain_number, "verifyingContract": checksum(read.safe)},
        "message": message,
    }
    return json.dumps(page, separators=(",", ":"))


def execute_call(read: WalletTransaction, signatures: Sequence[bytes]) -> bytes:
    """Return the call data of execTransaction; signatures r ‖ s ‖ v (27 or 28), in their order."""
    return _abi(
        EXECUTE,
        checksum(read.to),
        read.value,
        read.data,
        read.operation,
        read.safe_tx_gas,
        read.base_gas,
        read.gas_price,
        checksum(read.gas_token),
        checksum(read.refund_receiver),
        b"".join(signatures),
    )


def multisend_of(params: EvmParams) -> str:
    """Return one pinned MultiSendCallOnly, always the same. Refused: malformed."""
    if not params.multisends:
        raise Refused(Reason.MALFORMED, "the network has no MultiSendCallOnly")
    return max(params.multisends)


def _call(wallet: str, effect: Effect, state: WalletState, *, alone: bool) -> Call:
    own = raw_address(wallet)
    if changes_owners(effect.asset_key):
        if not alone:
            raise Refused(Reason.OWNER_CHANGE, "a change of owners stands alone")
        return own, 0, _owners_call(wallet, effect, state)
    destination = raw_address(effect.destination)
    if destination == own:
        if not alone or (effect.asset_key, effect.amount) != (NATIVE, 0):
            raise Refused(Reason.INTENT_MISMATCH, "a wallet pays itself nothing, and that alone")
        return own, 0, b""
    if require_int(effect.amount) <= 0:
        raise Refused(Reason.ZERO_AMOUNT, "nothing would be moved")
    if effect.asset_key == NATIVE:
        return destination, effect.amount, b""
    return raw_address(effect.asset_key), 0, transfer_call(destination, effect.amount)


def _owners_call(wallet: str, effect: Effect, state: WalletState) -> bytes:
    gone, new = effect.asset_key.removeprefix(OWNERS).removeprefix("-"), effect.destination
    if not gone:
        if new == wallet:
            return _abi("changeThreshold(uint256)", effect.amount)
        return _abi("addOwnerWithThreshold(address,uint256)", new, effect.amount)
    if gone not in state.owners:
        raise Refused(Reason.NOT_AN_OWNER, gone)
    place = state.owners.index(gone)
    before = state.owners[place - 1] if place else _FIRST
    if new == wallet:
        return _abi("removeOwner(address,address,uint256)", before, gone, effect.amount)
    if effect.amount:
        raise Refused(Reason.INTENT_MISMATCH, "who takes a place leaves the threshold as it is")
    return _abi("swapOwner(address,address,address)", before, gone, new)


def _multisend(calls: Sequence[Call]) -> bytes:
    packed = b"".join(
        bytes((CALL,)) + to + value.to_bytes(32, "big") + len(data).to_bytes(32, "big") + data
        for to, value, data in calls
    )
    return _abi("multiSend(bytes)", packed)


def _abi(signature: str, *values: Any) -> bytes:
    from eth_abi.abi import encode
    from eth_hash.auto import keccak

    types = signature[signature.index("(") + 1 : -1].split(",")
    return bytes(keccak(signature.encode())[:4]) + bytes(encode(types, values))
