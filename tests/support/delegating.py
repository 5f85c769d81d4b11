"""An account of a local node begins to run a contract's code (EIP-7702), as its key allows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import rlp  # type: ignore[import-untyped]
from eth_account import Account
from eth_hash.auto import keccak

from chains.base import NATIVE, SpendIntent, SpendKind, UnsignedTx
from custody.keys.authority import Standing
from custody.keys.guard import SignRequest
from custody.keys.mandate import Mandate
from custody.keys.roster import Delegate
from custody.keys.signers import KeyRef
from custody.wallets.inventory import HOT
from infra.devnet.nodes import AnvilNode
from tests.support.evm import GWEI, SECOND, DevKey

if TYPE_CHECKING:
    from tests.support.threats import Scene

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


def delegate_hot(scene: Scene, code: str) -> str:
    """Have the signer let the hot wallet run a contract's code, under a roster that names it.

    The way of an operator: officers list the contract, a mandate lets the authorisation be signed,
    and a stranger carries it. Before the wallet's lane is opened, since it takes nonce 0.
    """
    house, chain = scene.house, scene.chain
    traits, roster = chain.traits, house.platform.roster
    mandate = Mandate(
        mandate_id="test-delegation", kind=SpendKind.DELEGATION, chain=traits.chain,
        network=traits.network, destinations=(code,), destination_accounts=(), caps=(),
        fee_max=0, fee_window_max=0, valid_from_ns=0, valid_until_ns=1 << 62,
    )  # fmt: skip
    house.pin(
        delegates=(*roster.delegates, Delegate(traits.chain, code)),
        mandates=(*roster.mandates, mandate),
    )
    number, hot = int(scene.node.call("eth_chainId"), 16), house.own_address(HOT)
    payload = b"\x05" + bytes(rlp.encode([number, bytes.fromhex(code[2:]), 0]))
    spend = SpendIntent(
        spend_id="sp_delegation", kind=SpendKind.DELEGATION, cause_id="delegation",
        chain=traits.chain, network=traits.network, asset_key=NATIVE, source=hot,
        destination=code, amount=0, fee_max=0,
    )  # fmt: skip
    unsigned = UnsignedTx(traits.chain, hot, 0, payload, bytes(keccak(payload)), 0)
    request = SignRequest(spend, Standing(mandate.mandate_id), unsigned, KeyRef(HOT, 0))
    (signature,) = house.platform.signer.sign([request])
    assert isinstance(signature, bytes), signature
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    carry(
        scene.node,
        {"chainId": number, "address": code, "nonce": 0, "yParity": signature[64], "r": r, "s": s},
        carrier=SECOND,
    )
    assert chain.delegate_of(hot, chain.head()) == code
    return hot
