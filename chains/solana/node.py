"""One node: the questions that a reader asks, and their answers as checked values."""

from __future__ import annotations

from chains.rpc import RpcClient, RpcCounters, RpcError, required
from chains.solana.accounts import FINALIZED, MalformedAnswer, items, number
from chains.solana.address import decode58
from chains.solana.blocks import Contents, Header, IncompleteBlock, Told, read_contents, read_told
from chains.solana.wire import VERSION_NEWEST
from core.errors import Unavailable

_NO_BLOCK = frozenset({-32007, -32009})
"""The slot was skipped, or its block is lost. Source: rpc custom errors."""
_NOT_YET = frozenset({-32004, -32014})
_UNKNOWN_VERSION = -32015
_WALK_MAX = 64
"""Blocks that a node may leave out of a list before we stop asking."""


class SolanaNode:
    """One node. Thread-safe as its client is."""

    def __init__(self, client: RpcClient) -> None:
        self.client = client

    @property
    def counters(self) -> RpcCounters:
        """Return what it did so far."""
        return self.client.counters

    def genesis_hash(self) -> str:
        """Return the hash of the network's first block."""
        answer = self.client.read("getGenesisHash")
        if not isinstance(answer, str) or decode58(answer, 32) is None:
            raise MalformedAnswer("malformed_answer: the genesis hash")
        return answer

    def final_slot(self) -> int:
        """Return the newest slot that the network has finalized; it has a block."""
        return number(self.client.read("getSlot", {"commitment": FINALIZED}), "slot")

    def header_at(self, slot: int) -> Header | None:
        """Return a slot's header, None while the node has not finalized it.

        Unavailable: incomplete_block (it lacks a block that a later one is built on).
        """
        answer = self._block(slot, "none")
        if not isinstance(answer, RpcError):
            return None if answer is None else read_told(slot, answer).header()
        if answer.code in _NOT_YET:
            return None
        if answer.code not in _NO_BLOCK:
            required(answer, "getBlock")
        above = self._next_block(slot)
        return None if above is None else above.skipped(slot)

    def contents(self, header: Header) -> Contents:
        """Return what the block of a header holds.

        Unavailable: the node has another block there or none, unreadable_transaction.
        """
        answer = self._block(header.slot, "full")
        if isinstance(answer, RpcError) and answer.code == _UNKNOWN_VERSION:
            raise Unavailable(f"unknown_version: {answer.message}")
        found = read_contents(header.slot, required(answer, "getBlock"))
        if found.hash != header.hash:
            raise IncompleteBlock(f"slot {header.slot} has {found.hash}, not {header.hash}")
        return found

    def _block(self, slot: int, details: str) -> object:
        options = {
            "encoding": "base64",
            "transactionDetails": details,
            "rewards": False,
            "commitment": FINALIZED,
            "maxSupportedTransactionVersion": VERSION_NEWEST,
        }
        return self.client.ask("getBlock", slot, options)

    def _next_block(self, slot: int) -> Told | None:
        """Return the first block above a slot that has none, None while none is final."""
        answer = self.client.read("getBlocksWithLimit", slot + 1, 1, {"commitment": FINALIZED})
        found = items(answer, "blocks", most=1)
        if not found:
            return None
        above = number(found[0], "slot")
        for _ in range(_WALK_MAX):
            if above <= slot:
                break
            told = read_told(above, required(self._block(above, "none"), "getBlock"))
            if told.parent_slot < slot:
                return told
            above = told.parent_slot
        self.counters.incomplete += 1
        raise IncompleteBlock(f"slot {slot} has a block that this node does not have")
