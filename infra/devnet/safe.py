"""Safe's contracts on a local node, from the artifacts of Safe's own package, and wallets of them.

The contracts land where they stand on every public network: the factory that puts contracts at
addresses of their code alone is written onto the node, and what it makes is compared with the
address that CREATE2 predicts. Source: EIP-1014; Safe 1.5.0, SafeProxyFactory.sol; the artifacts of
@safe-global/safe-smart-account; safe-singleton-factory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from infra.devnet.deploy import Contract, Deployer, mines_at_once, submit
from infra.devnet.nodes import AnvilNode, NodesNotInstalled
from infra.devnet.solidity import Artifact

PACKAGE = Path(__file__).resolve().parent / "node_modules/@safe-global/safe-smart-account"
_ARTIFACTS = PACKAGE / "build/artifacts/contracts"
_FILES = {
    "SafeL2": "SafeL2.sol/SafeL2.json",
    "SafeProxyFactory": "proxies/SafeProxyFactory.sol/SafeProxyFactory.json",
    "CompatibilityFallbackHandler": (
        "handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler.json"
    ),
    "MultiSendCallOnly": "libraries/MultiSendCallOnly.sol/MultiSendCallOnly.json",
}
FACTORY = "0x914d7Fec6aaC8cd542e72Bca78B30650d45643d7"
_FACTORY_CODE = (
    "0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
"""Calls CREATE2 with the first word as salt and the rest as code, and answers the address."""
ZERO = "0x" + "00" * 20
_SALT = bytes(32)


def safe_artifacts() -> dict[str, Artifact]:
    """Return the four contracts. NodesNotInstalled: the package is not there."""
    found = {}
    for name, file in _FILES.items():
        try:
            page = json.loads((_ARTIFACTS / file).read_text("utf-8"))
        except FileNotFoundError as error:
            raise NodesNotInstalled("Safe's package is not installed: run `make devnet`") from error
        found[name] = Artifact(name, file, page["abi"], page["bytecode"])
    return found


def predicted(deployer: str, salt: bytes, code: bytes) -> str:
    """Return the address of a contract that CREATE2 makes. Source: EIP-1014."""
    preimage = b"\xff" + bytes.fromhex(deployer[2:]) + salt + keccak(code)
    return to_checksum_address(keccak(preimage)[12:])


@dataclass(frozen=True, slots=True)
class SafeContracts:
    """The four contracts on one node."""

    node: AnvilNode
    singleton: Contract
    factory: Contract
    handler: Contract
    multisend: Contract

    def wallet(self, owners: Sequence[str], threshold: int, *, salt: int = 0) -> Contract:
        """Create a wallet, at the address predicted before, and return it."""
        settings = (list(owners), threshold, ZERO, b"", self.handler.address, ZERO, 0, ZERO)
        setup = self.singleton.data("setup", *settings)
        address = self.address_of(setup, salt)
        arguments = (self.singleton.address, bytes.fromhex(setup[2:]), salt)
        self.factory.send("createProxyWithNonce", *arguments)
        if not mines_at_once(self.node):
            self.node.mine()
        made = Contract(self.node, self.singleton.artifact, address, self.singleton.creator)
        if [*made.ask("getOwners")] != [one.lower() for one in owners]:
            raise RuntimeError(f"no wallet of these owners at the predicted {address}")
        return made

    def address_of(self, setup: str, salt: int) -> str:
        """Return where a wallet with these settings will stand."""
        mixed = keccak(keccak(bytes.fromhex(setup[2:])) + salt.to_bytes(32, "big"))
        code: bytes = self.factory.ask("proxyCreationCode")
        code += encode(["address"], [self.singleton.address])
        return predicted(self.factory.address, mixed, code)


def deploy_safe(deployer: Deployer) -> SafeContracts:
    """Put Safe's contracts where they stand everywhere; what is there already stays."""
    node, compiled = deployer.node, safe_artifacts()
    if node.call("eth_getCode", FACTORY, "latest") == "0x":
        node.call("anvil_setCode", FACTORY, _FACTORY_CODE)
    made = {name: _deploy(deployer, artifact) for name, artifact in compiled.items()}
    return SafeContracts(
        node=node,
        singleton=made["SafeL2"],
        factory=made["SafeProxyFactory"],
        handler=made["CompatibilityFallbackHandler"],
        multisend=made["MultiSendCallOnly"],
    )


def _deploy(deployer: Deployer, artifact: Artifact) -> Contract:
    node, creator = deployer.node, deployer.accounts[0]
    code = bytes.fromhex(artifact.bytecode[2:])
    address = predicted(FACTORY, _SALT, code)
    if node.call("eth_getCode", address, "latest") == "0x":
        call: dict[str, Any] = {
            "from": creator, "to": FACTORY, "data": "0x" + (_SALT + code).hex(),
        }  # fmt: skip
        submit(node, call)
        if not mines_at_once(node):
            node.mine()
    if node.call("eth_getCode", address, "latest") == "0x":
        raise RuntimeError(f"{artifact.name} did not land at {address}")
    return Contract(node, artifact, address, creator)
