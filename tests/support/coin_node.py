"""A node of a network that spends coins, answering the real client over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx

from chains.bitcoin.chain import BitcoinChain
from chains.bitcoin.hashes import sha256_twice
from chains.bitcoin.node import BitcoinNode
from chains.bitcoin.params import BitcoinParams
from chains.rpc import NodeSet, RpcClient
from tests.support.bitcoin import LOCAL, PARAMS

GENESIS_TIME_S = 1_700_000_000
SPACING_S = 600


@dataclass(slots=True)
class CoinNode:
    """What one node has. Answers as Bitcoin Core does, errors included."""

    height: int = 200
    salt: int = 0
    """Nodes with another salt are on another branch."""
    genesis: str = LOCAL.genesis_hash
    missing: set[str] = field(default_factory=set)
    """Coins that are spent here, or that were never seen."""
    transactions: dict[str, str] = field(default_factory=dict)
    mined: dict[str, int] = field(default_factory=dict)
    """Heights of transactions that are in a block."""
    is_silent: bool = False

    def headers(self) -> list[bytes]:
        """Return the 80 bytes of every block but the first, whose hash is the network's pin."""
        parent, found = bytes.fromhex(self.genesis)[::-1], []
        for height in range(1, self.height + 1):
            time_s = GENESIS_TIME_S + SPACING_S * height
            numbers = time_s.to_bytes(4, "little") + self.salt.to_bytes(8, "little")
            found.append((2).to_bytes(4, "little") + parent + bytes(32) + numbers)
            parent = sha256_twice(found[-1])
        return found

    def block_hash(self, height: int) -> str:
        """Return the hash of the block at a height."""
        if height == 0:
            return self.genesis
        return sha256_twice(self.headers()[height - 1])[::-1].hex()

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one HTTP request."""
        if self.is_silent:
            raise httpx.ConnectError("refused")
        asked = json.loads(request.content)
        if isinstance(asked, list):
            return httpx.Response(200, json=[self._answer(one) for one in asked])
        return httpx.Response(200, json=self._answer(asked))

    def _answer(self, asked: dict[str, object]) -> dict[str, object]:
        params = asked["params"]
        assert isinstance(params, list)
        result = getattr(self, f"_{asked['method']}")(*params)
        if isinstance(result, tuple):
            code, message = result
            return {"id": asked["id"], "error": {"code": code, "message": message}}
        return {"id": asked["id"], "result": result}

    def _getblockcount(self) -> object:
        return self.height

    def _getblockhash(self, height: int) -> object:
        if not 0 <= height <= self.height:
            return -8, "Block height out of range"
        return self.block_hash(height)

    def _getblockheader(self, block_hash: str, verbose: object = True) -> object:
        headers = [(sha256_twice(one)[::-1].hex(), one.hex()) for one in self.headers()]
        for number, (name, raw) in enumerate(headers, 1):
            if name == block_hash:
                return {"hash": name, "height": number} if verbose else raw
        return -5, "Block not found"

    def _gettxout(self, tx_id: str, index: int, _: object) -> object:
        if f"{tx_id}:{index}" in self.missing:
            return None
        return {"bestblock": self.block_hash(self.height), "confirmations": 1, "value": 1.5}

    def _getrawtransaction(self, tx_id: str, verbose: object = False) -> object:
        found = self.transactions.get(tx_id)
        if found is None:
            return -5, "No such mempool or blockchain transaction"
        if not verbose:
            return found
        if tx_id not in self.mined:
            return {"txid": tx_id, "hex": found}
        height = self.mined[tx_id]
        confirmations = self.height - height + 1
        place = {"blockhash": self.block_hash(height), "confirmations": confirmations}
        return {"txid": tx_id, "hex": found, **place}


def chain_on(
    *nodes: CoinNode, quorum: int | None = None, params: BitcoinParams = PARAMS
) -> BitcoinChain:
    """Return the chain as these nodes show it; by default a majority of them decides."""
    clients = tuple(
        BitcoinNode(
            RpcClient("http://node", attempts=1, transport=httpx.MockTransport(node.handle))
        )
        for node in nodes
    )
    return BitcoinChain(params, NodeSet(clients, quorum or len(nodes) // 2 + 1))
