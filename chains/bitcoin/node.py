"""Typed questions to one node: Bitcoin Core's method names, parameters and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from chains.base import BlockRef
from chains.bitcoin.hashes import sha256_twice
from chains.bitcoin.params import COIN, SUPPLY_MAX
from chains.bitcoin.tx import OutPoint, parse_tx
from chains.rpc import RpcCall, RpcClient, RpcCounters, RpcError, required
from core.errors import Refused, Unavailable

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEADER_BYTES = 80
_OUT_OF_RANGE = -8
_UNKNOWN = -5


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header whose hash was checked against its bytes."""

    height: int
    hash: str
    parent_hash: str
    time_s: int


@dataclass(frozen=True, slots=True)
class MadeCoin:
    """A coin, and the height of the block that made it."""

    script: bytes
    amount: int
    height: int
    is_coinbase: bool


class BitcoinNode:
    """One node of a network."""

    def __init__(self, client: RpcClient) -> None:
        self.client = client

    @property
    def counters(self) -> RpcCounters:
        """Return the client's counters."""
        return self.client.counters

    def height(self) -> int:
        """Return the height of the node's best block."""
        answer = self.client.read("getblockcount")
        if type(answer) is not int or answer < 0:
            raise self._malformed("getblockcount")
        return answer

    def block_hash(self, height: int) -> str | None:
        """Return the hash at a height of the node's best chain, None above it."""
        answer = self.client.ask("getblockhash", height)
        if isinstance(answer, RpcError) and answer.code == _OUT_OF_RANGE:
            return None
        return self._hash(answer, "getblockhash")

    def header_at(self, height: int) -> Header | None:
        """Return the proven header at a height, None above the node's best block."""
        found = self.block_hash(height)
        if found is None:
            return None
        answer = self.client.ask("getblockheader", found, False)  # noqa: FBT003
        return self._header(height, found, answer)

    def hashes(self, low: int, high: int) -> list[str]:
        """Return the hashes from one height to another. Unavailable: it is above the best block."""
        calls = [RpcCall("getblockhash", (height,)) for height in range(low, high + 1)]
        return [self._hash(answer, "getblockhash") for answer in self.client.ask_many(calls)]

    def headers(self, low: int, high: int) -> list[Header]:
        """Return the proven headers from one height to another, as the node has them now."""
        names = self.hashes(low, high)
        calls = [RpcCall("getblockheader", (name, False)) for name in names]
        answers = self.client.ask_many(calls)
        return [
            self._header(height, name, answer)
            for height, (name, answer) in enumerate(zip(names, answers, strict=True), low)
        ]

    def raw_block(self, block_hash: str) -> bytes:
        """Return the bytes of a block, unproven."""
        return self._bytes(self.client.read("getblock", block_hash, 0), "getblock")

    def waiting(self) -> list[str]:
        """Return the ids of the transactions in the node's pool."""
        answer = self.client.read("getrawmempool")
        if not isinstance(answer, list):
            raise self._malformed("getrawmempool")
        return [self._hash(one, "getrawmempool") for one in answer]

    def transactions(self, tx_ids: Sequence[str]) -> dict[str, bytes]:
        """Return those of these transactions that the node has; each proves itself by its id."""
        calls = [RpcCall("getrawtransaction", (tx_id,)) for tx_id in tx_ids]
        found = {}
        for tx_id, answer in zip(tx_ids, self.client.ask_many(calls), strict=True):
            if isinstance(answer, RpcError) and answer.code == _UNKNOWN:
                continue
            found[tx_id] = self._transaction(tx_id, required(answer, "getrawtransaction"))
        return found

    def unspent(self, scripts: Sequence[bytes]) -> tuple[BlockRef, list[MadeCoin]]:
        """Return the unspent coins of these scripts at the node's best block, unproven.

        Unavailable: it is at it for somebody else.
        """
        asked = [f"raw({script.hex()})" for script in scripts]
        answer = _mapping(self.client.read("scantxoutset", "start", asked))
        coins, tip = answer.get("unspents"), self._hash(answer.get("bestblock"), "scantxoutset")
        height = answer.get("height")
        if answer.get("success") is not True or not isinstance(coins, list):
            raise self._malformed("scantxoutset")
        if type(height) is not int:
            raise self._malformed("scantxoutset")
        return BlockRef(height, tip), [self._made(_mapping(coin)) for coin in coins]

    def used_coins(self, block_hash: str) -> list[MadeCoin]:
        """Return the coins that a block uses up, unproven."""
        found = []
        answer = _mapping(self.client.read("getblock", block_hash, 3))
        for tx in _sequence(answer.get("tx")):
            for one in _sequence(_mapping(tx).get("vin")):
                spent = _mapping(one)
                if "coinbase" in spent:
                    continue
                coin = _mapping(spent.get("prevout"))
                script = _mapping(coin.get("scriptPubKey")).get("hex")
                found.append(
                    self._made(
                        {
                            "scriptPubKey": script,
                            "amount": coin.get("value"),
                            "height": coin.get("height"),
                            "coinbase": coin.get("generated"),
                        }
                    )
                )
        return found

    def spent_coins(self, outpoints: Sequence[OutPoint], at: BlockRef) -> frozenset[OutPoint]:
        """Return those that a transaction in a block or in the node's pool spends.

        Unavailable: the node does not have the block on its best chain, or has never seen a coin
        (a node without an index of transactions has not seen any that is spent).
        """
        if self.block_hash(at.height) != at.hash:
            raise Unavailable(f"unknown_block: {at.height}")
        calls = [RpcCall("gettxout", (one.tx_id, one.index, True)) for one in outpoints]
        answers = self.client.ask_many(calls)
        gone = []
        for outpoint, answer in zip(outpoints, answers, strict=True):
            if isinstance(answer, RpcError):
                required(answer, "gettxout")
            if answer is None:
                gone.append(outpoint)
            elif not isinstance(answer, dict):
                raise self._malformed("gettxout")
        for outpoint in gone:
            if outpoint.index >= len(parse_tx(self.transaction(outpoint.tx_id)).outputs):
                raise Unavailable(f"unknown_coin: {outpoint.text}")
        return frozenset(gone)

    def block_of(self, tx_id: str) -> tuple[bool, BlockRef | None]:
        """Return whether the node knows a transaction, and the block of its best chain that has it.

        A transaction whose block was left is known and in no block.
        """
        answer = self.client.ask("getrawtransaction", tx_id, True)  # noqa: FBT003
        if isinstance(answer, RpcError) and answer.code == _UNKNOWN:
            return False, None
        fields = required(answer, "getrawtransaction")
        if not isinstance(fields, dict) or fields.get("txid") != tx_id:
            raise self._malformed("getrawtransaction")
        confirmations = fields.get("confirmations", 0)
        if type(confirmations) is not int:
            raise self._malformed("getrawtransaction")
        if confirmations < 1:
            return True, None
        block_hash = fields.get("blockhash")
        header = self.client.read("getblockheader", block_hash)
        height = header.get("height") if isinstance(header, dict) else None
        if type(height) is not int or self.block_hash(height) != block_hash:
            raise self._malformed("getblockheader")
        return True, BlockRef(height, str(block_hash))

    def transaction(self, tx_id: str) -> bytes:
        """Return a whole transaction, which proves itself by its hash."""
        return self._transaction(tx_id, self.client.read("getrawtransaction", tx_id))

    def _transaction(self, tx_id: str, answer: object) -> bytes:
        raw = self._bytes(answer, "getrawtransaction")
        try:
            tx = parse_tx(raw)
        except Refused as refused:
            raise self._malformed("getrawtransaction") from refused
        if tx.tx_id != tx_id:
            raise self._malformed("getrawtransaction")
        return raw

    def _header(self, height: int, name: str, answer: object) -> Header:
        raw = self._bytes(required(answer, "getblockheader"), "getblockheader")
        if len(raw) != _HEADER_BYTES or sha256_twice(raw)[::-1].hex() != name:
            raise self._malformed("getblockheader")
        time_s = int.from_bytes(raw[68:72], "little")
        return Header(height, name, raw[4:36][::-1].hex(), time_s)

    def _made(self, fields: Mapping[str, object]) -> MadeCoin:
        height, is_coinbase = fields.get("height"), fields.get("coinbase")
        if type(height) is not int or type(is_coinbase) is not bool:
            raise self._malformed("a coin")
        script = self._bytes(fields.get("scriptPubKey"), "a coin's script")
        return MadeCoin(script, self._amount(fields.get("amount")), height, is_coinbase)

    def _amount(self, answer: object) -> int:
        """Return an amount that a node writes in whole coins; exact, no binary fraction."""
        if type(answer) is int:
            answer = Decimal(answer)
        if not isinstance(answer, Decimal) or not 0 <= answer <= SUPPLY_MAX // COIN:
            raise self._malformed("an amount")
        units = answer * COIN
        if units != units.to_integral_value():
            raise self._malformed("an amount")
        return int(units)

    def _hash(self, answer: object, what: str) -> str:
        answer = required(answer, what)
        if not isinstance(answer, str) or _HASH.fullmatch(answer) is None:
            raise self._malformed(what)
        return answer

    def _bytes(self, answer: object, what: str) -> bytes:
        if not isinstance(answer, str):
            raise self._malformed(what)
        try:
            return bytes.fromhex(answer)
        except ValueError as error:
            raise self._malformed(what) from error

    def _malformed(self, what: str) -> Unavailable:
        self.counters.incomplete += 1
        return Unavailable(f"node_answer_malformed: {what}")


def _mapping(answer: object) -> Mapping[str, object]:
    if not isinstance(answer, dict):
        raise Unavailable("node_answer_malformed: no object")
    return answer


def _sequence(answer: object) -> Sequence[object]:
    if not isinstance(answer, list):
        raise Unavailable("node_answer_malformed: no list")
    return answer
