"""Typed questions to one node: Bitcoin Core's method names, parameters and shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chains.base import BlockRef
from chains.bitcoin.hashes import sha256_twice
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
        answer = required(answer, "getblockhash")
        if not isinstance(answer, str) or _HASH.fullmatch(answer) is None:
            raise self._malformed("getblockhash")
        return answer

    def header_at(self, height: int) -> Header | None:
        """Return the proven header at a height, None above the node's best block."""
        found = self.block_hash(height)
        if found is None:
            return None
        answer = self.client.read("getblockheader", found, False)  # noqa: FBT003
        raw = self._bytes(answer, "getblockheader")
        if len(raw) != _HEADER_BYTES or sha256_twice(raw)[::-1].hex() != found:
            raise self._malformed("getblockheader")
        time_s = int.from_bytes(raw[68:72], "little")
        return Header(height, found, raw[4:36][::-1].hex(), time_s)

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
        raw = self._bytes(self.client.read("getrawtransaction", tx_id), "getrawtransaction")
        try:
            tx = parse_tx(raw)
        except Refused as refused:
            raise self._malformed("getrawtransaction") from refused
        if tx.tx_id != tx_id:
            raise self._malformed("getrawtransaction")
        return raw

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
