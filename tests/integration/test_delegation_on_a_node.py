"""S09: an authorisation that the guard signed holds on a real node, for that delegate only."""

from __future__ import annotations

import time

from eth_account import Account

from custody.keys.guard import sign_once
from infra.devnet.nodes import AnvilNode
from tests.support.evm import FIRST, GWEI
from tests.unit.custody.keys.conftest import shelf_in_memory
from tests.unit.custody.keys.evmroom import DELEGATE, DEPOSIT, NUMBER, THIEF, room_of


def carried(node: AnvilNode, address: str, signature: bytes) -> str:
    """Have a stranger carry an authorisation for an address; return the sender's own code after."""
    stranger = Account.from_key(FIRST.secret_hex)
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    authorisation = {
        "chainId": NUMBER, "address": address, "nonce": 0, "yParity": signature[64], "r": r, "s": s
    }  # fmt: skip
    signed = stranger.sign_transaction(
        {
            "type": 4,
            "chainId": NUMBER,
            "nonce": int(node.call("eth_getTransactionCount", stranger.address, "latest"), 16),
            "to": stranger.address,
            "value": 0,
            "gas": 200_000,
            "maxFeePerGas": 100 * GWEI,
            "maxPriorityFeePerGas": GWEI,
            "authorizationList": [authorisation],
        }
    )
    sent = node.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
    for _ in range(1_000):
        if node.call("eth_getTransactionReceipt", sent) is not None:
            break
        time.sleep(0.005)
    room = room_of(shelf_in_memory())
    return str(node.call("eth_getCode", room.address(DEPOSIT), "latest"))


def test_S09_our_account_runs_the_delegate_of_the_roster_and_nobody_elses(
    anvil: AnvilNode,
) -> None:
    room = room_of(shelf_in_memory())
    signature = sign_once(room.guard, room.delegating())
    assert carried(anvil, THIEF, signature) == "0x"
    assert carried(anvil, DELEGATE, signature) == "0xef0100" + DELEGATE[2:].lower()
