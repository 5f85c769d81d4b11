"""Payloads of contract wallets and delegations, made by libraries: what a builder would hand over.

Nothing here is shared with the code that judges them (chains.evm.wallet_payload, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_abi.abi import encode as abi_encode
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

MULTI_SEND = "0x9641d764fc13c8B624c04430C7356C1C7C8102e2"
ZERO = "0x" + "00" * 20
NUMBERS = {"value", "operation", "safeTxGas", "baseGas", "gasPrice", "nonce"}
TYPES = {
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


def raw(address: str) -> bytes:
    """Return the 20 bytes of an address."""
    return bytes.fromhex(address.removeprefix("0x"))


def call(signature: str, *values: Any) -> bytes:
    """Return call data by the library."""
    inside = signature[signature.index("(") + 1 : -1]
    types = inside.split(",") if inside else []
    return bytes(keccak(signature.encode())[:4] + abi_encode(types, values))


@dataclass(frozen=True, slots=True)
class SafeTx:
    """A Safe's transaction in the order of the payload; addresses as text."""

    chain_id: int
    safe: str
    to: str
    value: int = 0
    data: bytes = b""
    operation: int = 0
    safe_tx_gas: int = 0
    base_gas: int = 0
    gas_price: int = 0
    gas_token: str = ZERO
    refund_receiver: str = ZERO
    nonce: int = 0

    def with_(self, **changes: Any) -> SafeTx:
        """Return another one."""
        return replace(self, **changes)

    def payload(self) -> bytes:
        """Write the canonical message by hand."""
        tag = b"strongroom/contract-wallet-transaction"
        out = bytes([len(tag)]) + tag + b"\x00\x01\x00\x0c"
        for value in astuple(self):
            if isinstance(value, int):
                kind, body = b"i", value.to_bytes((value.bit_length() + 7) // 8, "big")
            else:
                kind, body = b"b", raw(value) if isinstance(value, str) else value
            out += kind + len(body).to_bytes(4, "big") + body
        return out

    def digest(self) -> bytes:
        """Return the EIP-712 hash as eth-account makes it."""
        names = [field["name"] for field in TYPES["SafeTx"]]
        message = dict(zip(names, astuple(self)[2:], strict=True))
        signable = encode_typed_data(
            full_message={
                "types": TYPES,
                "primaryType": "SafeTx",
                "domain": {"chainId": self.chain_id, "verifyingContract": self.safe},
                "message": message,
            }
        )
        return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


def inner(to: str, value: int = 0, data: bytes = b"", *, operation: int = 0) -> bytes:
    """Return one packed call of a multisend."""
    size = len(data).to_bytes(32, "big")
    return bytes([operation]) + raw(to) + value.to_bytes(32, "big") + size + data


def multi_send(calls: Sequence[bytes]) -> bytes:
    """Return the call data of multiSend(bytes)."""
    return call("multiSend(bytes)", b"".join(calls))


def delegation(chain_id: int, delegate: str, nonce: int) -> bytes:
    """Return the payload of an EIP-7702 authorisation."""
    return b"\x05" + bytes(rlp.encode([chain_id, raw(delegate), nonce]))
