"""Local networks of a development setup, each behind the same few verbs.

Whoever builds a setup, funds a wallet or plays a demo asks these and need not know which kind of
node answers. Never for a network with value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from solders.keypair import Keypair

from infra.devnet.coin_money import Miner
from infra.devnet.coin_nodes import CoreNode, start_core
from infra.devnet.deploy import Contract, Deployer
from infra.devnet.nodes import AnvilNode, RpcRefused, call
from infra.devnet.solidity import artifacts
from infra.devnet.surfpool import start_surfpool
from infra.devnet.surfpool_front import Front
from infra.devnet.surfpool_tokens import Token, create_token, create_token_2022

NATIVE = "native"
TICKETS_EACH = 3
"""Accounts for tickets that each own wallet gets: so many of its payments are under way."""
OUTSIDER = 7
"""Which of the node's own accounts stands for somebody outside."""


class DevNetwork(Protocol):
    """A running local network with money that is free for everybody."""

    chain: str
    """Name under which the chain is configured."""
    is_slow: bool
    """Blocks come so rarely that payments wait for them, and pay more to be taken earlier."""

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
    is_slow: bool = False
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
    is_slow: bool = True
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
        # To somebody else: the same block as before would be the one that was just left.
        self.node.mine(depth + 1, to=self.outsider())
        return True

    def place_of(self, tx_id: str) -> str:
        """Return height and hash of the block with a transaction."""
        try:
            found = self.node.call("getrawtransaction", tx_id, True)  # noqa: FBT003
        except RpcRefused:  # replaced by another one
            return ""
        if not found.get("blockhash"):
            return ""
        return (
            f"{self.node.call('getblockheader', found['blockhash'])['height']} {found['blockhash']}"
        )


@dataclass(slots=True)
class SlotNetwork:
    """A network of accounts and slots, whose transactions use up tickets."""

    front: Front
    chain: str = "devsol"
    is_slow: bool = False
    _tokens: dict[str, Token] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return where the node answers as the real network would."""
        return self.front.url

    def facts(self) -> dict[str, object]:
        """Return the first block's hash and where to begin."""
        return {
            "node_urls": [self.front.url],
            "chain_number": 0,
            "genesis_hash": str(self.front.node.call("getGenesisHash")),
            "start_height": self.front.pass_slots(),
        }

    def list_token(self, kind: str, name: str, symbol: str, scale: int) -> str:  # noqa: ARG002
        """Make a mint, of the newer token program when the kind says so, and return it."""
        make = create_token_2022 if kind == "token-2022" else create_token
        token = make(self.front.node, decimals=scale)
        self._tokens[token.key] = token
        self.mine()
        return token.key

    def furnish(self, wallets: Mapping[str, str]) -> dict[str, object]:
        """Open the token accounts of own wallets, and two accounts for each one's tickets."""
        for token in self._tokens.values():
            token.open(*wallets.values())
        made = [
            self.front.node.create_nonce(address)
            for address in wallets.values()
            for _ in range(TICKETS_EACH)
        ]
        self.mine()
        return {"tickets": made}

    def pay(self, to: str, amount: int, key: str = NATIVE) -> str:
        """Pay from the network's faucet; tokens are minted to it first."""
        if key == NATIVE:
            return self.front.node.pay(to, amount)
        return self._tokens[key].pay(to, amount)

    def outsider(self) -> str:
        """Return a fresh address that is nobody's here."""
        return str(Keypair().pubkey())

    def mine(self, blocks: int = 1) -> None:
        """Let slots pass."""
        self.front.pass_slots(blocks)

    def reorganise(self, depth: int) -> bool:  # noqa: ARG002
        """Do nothing: only what is final is looked at."""
        return False

    def place_of(self, tx_id: str) -> str:
        """Return the slot of a transaction, and its block's hash."""
        options = {"encoding": "json", "maxSupportedTransactionVersion": 0}
        found = call(self.front.url, "getTransaction", tx_id, options)
        if found is None:
            return ""
        block = call(self.front.url, "getBlock", found["slot"], options)
        return f"{found['slot']} {block['blockhash']}"


@contextlib.contextmanager
def other_networks() -> Iterator[list[DevNetwork]]:
    """Run one network of every kind but the first, as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        core = stack.enter_context(start_core())
        slots = stack.enter_context(start_surfpool(manual=True))
        yield [CoreNetwork(core), SlotNetwork(stack.enter_context(Front(slots)))]
