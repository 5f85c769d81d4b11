"""An account of a local node begins to run a contract's code (EIP-7702), as its key allows."""

from __future__ import annotations

import time

from eth_account import Account

from infra.devnet.nodes import AnvilNode
from tests.support.evm import GWEI, DevKey

NO_DELEGATE = "0x" + "00" * 20
"""The address under which an account stops running code."""


def carry(node: AnvilNode, authorisation: dict[str, object], *, carrier: DevKey) -> str:
    """Have a stranger send a signed authorisation; return the transaction's hash once included."""
    stranger = Account.from_key(carrier.secret_hex)
    number = int(node.call("eth_chainId"), 16)
    signed = stranger.sign_transaction(
        {
            "type": 4,
            "chainId": number,
            "nonce": int(node.call("eth_getTransactionCount", stranger.address, "pending"), 16),
            "to": stranger.address,
            "value": 0,
            "gas": 200_000,
            "maxFeePerGas": 100 * GWEI,
            "maxPriorityFeePerGas": GWEI,
            "authorizationList": [authorisation],
        }
    )
    sent = str(node.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))
    if node.call("anvil_getAutomine") is not True:
        node.mine()
    for _ in range(1_000):
        if node.call("eth_getTransactionReceipt", sent) is not None:
            return sent
        time.sleep(0.005)
    raise AssertionError(f"{sent} was not included")


def delegate(node: AnvilNode, key: DevKey, to: str, *, carrier: DevKey) -> str:
    """Let an account run the code at an address; return the account."""
    account = Account.from_key(key.secret_hex)
    nonce = int(node.call("eth_getTransactionCount", account.address, "pending"), 16)
    number = int(node.call("eth_chainId"), 16)
    signed = account.sign_authorization({"chainId": number, "address": to, "nonce": nonce})
    carry(
        node,
        {
            "chainId": number, "address": to, "nonce": nonce,
            "yParity": signed.y_parity, "r": signed.r, "s": signed.s,
        },
        carrier=carrier,
    )  # fmt: skip
    return str(account.address)
