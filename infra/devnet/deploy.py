"""Deploys and calls contracts on a local node, paid by the node's own unlocked accounts.

For development, demo and tests only: it holds no keys, and a network with value would refuse it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from infra.devnet.nodes import AnvilNode
from infra.devnet.solidity import Artifact, artifacts

INCLUSION_TIMEOUT_S = 10
SPARE_GAS = 50_000


class TransactionFailed(Exception):
    """A transaction was included and reverted; carries its receipt."""

    def __init__(self, receipt: dict[str, Any]) -> None:
        super().__init__(f"{receipt['transactionHash']} reverted")
        self.receipt = receipt


def mines_at_once(node: AnvilNode) -> bool:
    """Return whether the node makes a block for every transaction."""
    return node.call("anvil_getAutomine") is True


def submit(node: AnvilNode, transaction: dict[str, Any], gas: int | None = None) -> str:
    """Send a transaction from an unlocked account and return its hash.

    RpcRefused when it would revert, unless gas is given: then it is included and reverts there.
    The estimate is doubled, because it is the least with which the outermost call succeeds, and
    an inner one whose failure is caught may run out of it.

    A node that mines at once does so a moment after it has answered: wait for that, so that
    whoever asks next sees the effect.
    """
    if gas is None:
        gas = 2 * int(node.call("eth_estimateGas", transaction), 16) + SPARE_GAS
    sent = str(node.call("eth_sendTransaction", {**transaction, "gas": hex(gas)}))
    deadline = time.monotonic() + INCLUSION_TIMEOUT_S
    while mines_at_once(node) and node.call("eth_getTransactionReceipt", sent) is None:
        assert time.monotonic() < deadline, f"{sent} was not included"
        time.sleep(0.001)
    return sent


def _types(items: list[dict[str, Any]]) -> list[str]:
    return [str(item["type"]) for item in items]


@dataclass(frozen=True, slots=True)
class Contract:
    """A deployed contract: `ask` reads, `send` writes."""

    node: AnvilNode = field(repr=False)
    artifact: Artifact = field(repr=False)
    address: str
    """With its mixed-case checksum."""
    creator: str

    def data(self, function: str, *arguments: object) -> str:
        """Return the call data of function(arguments) as 0x-prefixed hex."""
        entry = self._entry(function, len(arguments))
        types = _types(entry["inputs"])
        selector = keccak(text=f"{function}({','.join(types)})")[:4]
        return "0x" + (selector + encode(types, arguments)).hex()

    def ask(self, function: str, *arguments: object, block: str = "latest") -> Any:
        """Return what a view function answers: its value, or a tuple when there are several."""
        entry = self._entry(function, len(arguments))
        data = self.data(function, *arguments)
        call = {"from": self.creator, "to": self.address, "data": data}
        answer = bytes.fromhex(self.node.call("eth_call", call, block)[2:])
        values = decode(_types(entry["outputs"]), answer)
        return values[0] if len(values) == 1 else values

    def send(
        self,
        function: str,
        *arguments: object,
        sender: str | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> str:
        """Submit a transaction from an unlocked account and return its hash.

        RpcRefused when it would revert, unless gas is given: then it is included and reverts there.
        """
        transaction = {
            "from": sender or self.creator,
            "to": self.address,
            "data": self.data(function, *arguments),
            "value": hex(value),
        }
        return submit(self.node, transaction, gas)

    def _entry(self, function: str, count: int) -> dict[str, Any]:
        for entry in self.artifact.abi:
            if entry.get("name") == function and len(entry["inputs"]) == count:
                return entry
        raise KeyError(f"{self.artifact.name} has no {function} of {count} arguments")


class Deployer:
    """Puts compiled contracts on a node."""

    def __init__(self, node: AnvilNode, compiled: Mapping[str, Artifact] | None = None) -> None:
        self.node = node
        self.accounts = [to_checksum_address(a) for a in node.call("eth_accounts")]
        self._compiled = artifacts() if compiled is None else compiled

    def deploy(
        self, name: str, *arguments: object, sender: str | None = None, value: int = 0
    ) -> Contract:
        """Deploy a contract by its name; on a node that does not mine by itself, mine a block."""
        artifact = self._compiled[name]
        creator = sender or self.accounts[0]
        constructors = [entry for entry in artifact.abi if entry["type"] == "constructor"]
        types = _types(constructors[0]["inputs"]) if constructors else []
        code = artifact.bytecode + encode(types, arguments).hex()
        transaction = {"from": creator, "data": code, "value": hex(value)}
        sent = submit(self.node, transaction)
        if not mines_at_once(self.node):
            self.node.mine()
        address = to_checksum_address(self.receipt(sent)["contractAddress"])
        return Contract(node=self.node, artifact=artifact, address=address, creator=creator)

    def pay(self, to: str, wei: int, *, sender: str | None = None, gas: int | None = None) -> str:
        """Send native coin from an unlocked account and return the transaction's hash."""
        transaction = {"from": sender or self.accounts[0], "to": to, "value": hex(wei)}
        return submit(self.node, transaction, gas)

    def receipt(self, transaction: str) -> dict[str, Any]:
        """Return the receipt of an included transaction; TransactionFailed when it reverted."""
        receipt: dict[str, Any] | None = self.node.call("eth_getTransactionReceipt", transaction)
        assert receipt is not None, f"{transaction} is not in a block"
        if int(receipt["status"], 16) != 1:
            raise TransactionFailed(receipt)
        return receipt
