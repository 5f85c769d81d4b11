"""A batch as a call: what an account of ours asks the code it runs (contracts/src/BatchPayer.sol).

The account calls itself: `pay(token, itemGas, (to, amount)[])`, token zero for native coin. Each
item has its own bound of gas and fails alone. Built by a library, read by chains.evm.batch_payload.
"""

from __future__ import annotations

from chains.base import NATIVE, SpendIntent
from chains.evm.address import raw_address

ITEM_GAS_NATIVE = 60_000
"""A new account costs 36,600 of it; the rest is for a recipient's own code."""
ITEM_GAS_TOKEN = 130_000
"""Twice what the dearest of the usual tokens takes for a new holder."""
_FIXED_GAS = 52_000
_AROUND_ITEM_GAS = 7_000
BATCH_GAS_MAX = 1 << 24
"""Source: EIP-7825, the most that one transaction may use."""
_SELECTOR = bytes.fromhex("0183e56a")
_ZERO = bytes(20)


def needed_gas(count: int, item_gas: int) -> int:
    """Return the gas with which every item gets its own bound, whatever the others use.

    Intrinsic gas and call data, the loop and its events, and what the last call must leave behind
    (EIP-150: a 64th).
    """
    return _FIXED_GAS + count * (item_gas + _AROUND_ITEM_GAS) + item_gas // 63


def item_gas_of(intent: SpendIntent) -> int:
    """Return the bound of one payment of a batch."""
    return ITEM_GAS_NATIVE if intent.asset_key == NATIVE else ITEM_GAS_TOKEN


def pay_call(intent: SpendIntent) -> bytes:
    """Return the call data of a batch."""
    from eth_abi.abi import encode  # a reader never needs it

    token = _ZERO if intent.asset_key == NATIVE else raw_address(intent.asset_key)
    items = [(raw_address(one.destination), one.amount) for one in intent.items]
    types = ["address", "uint256", "(address,uint256)[]"]
    return _SELECTOR + bytes(encode(types, [token, item_gas_of(intent), items]))
