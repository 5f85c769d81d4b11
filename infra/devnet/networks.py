"""Local networks of a development setup, each behind the same few verbs.

Whoever builds a setup, funds a wallet or plays a demo asks these and need not know which kind of
node answers. Never for a network with value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from infra.devnet.coin_money import Miner
from infra.devnet.coin_nodes import CoreNode, start_core
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode
from infra.devnet.solidity import artifacts

NATIVE = "native"
OUTSIDER = 7
"""Which of the node's own accounts stands for somebody outside."""


class DevNetwork(Protocol):
    """A running local network with money that is free for everybody."""

    chain: str
    """Name under which the chain is configured."""

    @property
    def url(self) -> str:
        """Return where the node answers."""
        ...

    def facts(self) -> dict[str, object]:
        """Return the settings of the chain that only the running node knows."""
        ...

    def list_token(self, kind: str, name: str, symbol: str, scale: int) -> str:
        """Make a token and return its asset key."""
        ...

    def furnish(self, wallets: Mapping[str, str]) -> dict[str, object]:
        """Make what own wallets need on the chain, by address; return what to set because of it."""
        ...

    def pay(self, to: str, amount: int, key: str = NATIVE) -> str:
        """Pay somebody in minor units; return the transaction's id. Waits for no block."""
        ...

    def outsider(self) -> str:
        """Return an address that is nobody's here."""
        ...

    def mine(self, blocks: int = 1) -> None:
        """Make blocks, where they do not come by themselves."""
        ...

    def reorganise(self, depth: int) -> bool:
        """Replace the newest blocks by a longer branch, which may hold the same transactions.

        False: blocks are never replaced here.
        """
        ...

    def place_of(self, tx_id: str) -> str:
        """Return height and hash of the block with a transaction; empty while there is none."""
        ...


@dataclass(slots=True)
class AnvilNetwork:
    """A network of accounts and contracts."""

    node: AnvilNode
    chain: str = "devnet"
    deployer: Deployer = field(init=False)

    def __post_init__(self) -> None:
        self.deployer = Deployer(self.node)

    @property
    def url(self) -> str:
        """Return where the node answers."""
        return self.node.url

    def facts(self) -> dict[str, object]:
        """Return number, first block, and where to begin."""
        first = self.node.call("eth_getBlockByNumber", "0x0", False)  # noqa: FBT003
        return {
            "node_urls": [self.node.url],
            "chain_number": int(self.node.call("eth_chainId"), 16),
            "genesis_hash": str(first["hash"]),
            "start_height": self.node.height() + 1,
        }

    def list_token(self, kind: str, name: str, symbol: str, scale: int) -> str:
        """Deploy a contract and return its address."""
        return self.deployer.deploy(kind, name, symbol, scale).address

    def furnish(self, wallets: Mapping[str, str]) -> dict[str, object]:  # noqa: ARG002
        """Do nothing: an account needs nothing before it is paid."""
        return {}

    def pay(self, to: str, amount: int, key: str = NATIVE) -> str:
        """Pay from the node's own accounts; tokens are minted."""
        if key == NATIVE:
            return self.deployer.pay(to, amount)
        contract = Contract(self.node, artifacts()["DemoToken"], key, self.deployer.accounts[0])
        return contract.send("mint", to, amount)

    def outsider(self) -> str:
        """Return one of the node's own accounts."""
        return self.deployer.accounts[OUTSIDER]

    def mine(self, blocks: int = 1) -> None:
        """Make blocks."""
        self.node.mine(blocks)

    def reorganise(self, depth: int) -> bool:
        """Replace the newest blocks by empty ones, and make one more."""
        self.node.reorg(depth)
        self.node.mine()
        return True

    def place_of(self, tx_id: str) -> str:
        """Return height and hash of the block with a transaction."""
        receipt = self.node.call("eth_getTransactionReceipt", tx_id)
        return f"{int(receipt['blockNumber'], 16)} {receipt['blockHash']}" if receipt else ""


@dataclass(slots=True)
class CoreNetwork:
    """A network of coins."""

    node: CoreNode
    chain: str = "devcoin"
    miner: Miner = field(init=False)

    def __post_init__(self) -> None:
        self.miner = Miner(self.node)

    @property
    def url(self) -> str:
        """Return where the node answers, with this run's name and password in it."""
        return self.node.url

    def facts(self) -> dict[str, object]:
        """Return the first block and where to begin."""
        return {
            "node_urls": [self.node.url],
            "chain_number": 0,
            "genesis_hash": str(self.node.call("getblockhash", 0)),
            "start_height": self.node.height() + 1,
        }

    def list_token(self, kind: str, name: str, symbol: str, scale: int) -> str:
        """Refuse: there is one asset here."""
        raise NotImplementedError(f"{kind} {name} {symbol} {scale}: there is one asset here")

    def furnish(self, wallets: Mapping[str, str]) -> dict[str, object]:  # noqa: ARG002
        """Do nothing: an address needs nothing before it is paid."""
        return {}

    def pay(self, to: str, amount: int, key: str = NATIVE) -> str:
        """Pay from what was mined for everybody."""
        assert key == NATIVE, key
        return self.miner.pay(to, amount)

    def outsider(self) -> str:
        """Return the program of BIP-173's examples: nobody's key here."""
        return "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"

    def mine(self, blocks: int = 1) -> None:
        """Make blocks."""
        self.node.mine(blocks)

    def reorganise(self, depth: int) -> bool:
        """Leave the newest blocks and make one more than they were; what they held waits again."""
        height = self.node.height()
        self.node.call("invalidateblock", self.node.call("getblockhash", height - depth + 1))
        self.node.mine(depth + 1)
        return True

    def place_of(self, tx_id: str) -> str:
        """Return height and hash of the block with a transaction."""
        found = self.node.call("getrawtransaction", tx_id, True)  # noqa: FBT003
        if not found.get("blockhash"):
            return ""
        return (
            f"{self.node.call('getblockheader', found['blockhash'])['height']} {found['blockhash']}"
        )


@contextlib.contextmanager
def other_networks() -> Iterator[list[DevNetwork]]:
    """Run one network of every kind but the first, as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        yield [CoreNetwork(stack.enter_context(start_core()))]
